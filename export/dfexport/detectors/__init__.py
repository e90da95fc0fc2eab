"""Architectures, one file each.

A module here offers two functions, and the registry needs nothing else of it:

- ``shapes(**options)``: published state-dict key → shape, what seeded weights are made from;
- ``build(state, **options)``: the network in eval mode, loaded strictly from that state dict. It maps a float32
  waveform ``(batch, window_samples)`` to float32 logits ``(batch, 2)``: spoof, bona fide.
"""
