"""Our XLS-R encoder against fairseq's own, on random sizes; run by the environment that ``run.sh`` makes.

torchaudio is stubbed: fairseq imports it and the encoder never calls it.
"""

import argparse
import sys
import types

import numpy as np
import torch

TOLERANCE = 1e-4
SAMPLES = 16_000


def fairseq_encoder(config, seed):
    """A ``Wav2Vec2Model`` of this size in eval mode, with weights of its own."""
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(seed)
    strides = (5, 2, 2, 2, 2, 2, 2)
    layers = [
        (config.conv_channels, kernel, stride) for kernel, stride in zip(config.conv_kernels, strides, strict=True)
    ]
    model = Wav2Vec2Model(
        Wav2Vec2Config(
            extractor_mode="layer_norm",
            conv_feature_layers=str(layers),
            conv_bias=True,
            encoder_layers=config.layers,
            encoder_embed_dim=config.hidden,
            encoder_ffn_embed_dim=config.feed_forward,
            encoder_attention_heads=16,
            layer_norm_first=True,
            conv_pos=config.position_kernel,
            conv_pos_groups=config.position_groups,
            final_dim=16,
            quantize_targets=True,
            latent_vars=8,
            latent_groups=2,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():  # fairseq starts norms at 1 and biases at 0: they would prove nothing
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def compare(config, seed):
    """Largest difference of the features and of any layer's output."""
    from dfexport.layers.xlsr import PREFIX, load_xlsr

    reference = fairseq_encoder(config, seed)
    state = {f"{PREFIX}{key}": value for key, value in reference.state_dict().items()}
    ours, head = load_xlsr(state)
    assert not head, head.keys()
    assert ours.config == config, (ours.config, config)
    waveform = torch.from_numpy(np.random.RandomState(seed).standard_normal((2, SAMPLES)).astype(np.float32) / 4)
    with torch.inference_mode():
        expected = reference(waveform, mask=False, features_only=True)
        layers = [output[0].transpose(0, 1) for output in expected["layer_results"]]
        differences = [float((expected["x"] - ours(waveform)).abs().max())]
        differences += [
            float((theirs - mine).abs().max())
            for theirs, mine in zip(layers, ours.layer_outputs(waveform), strict=True)
        ]
    return max(differences)


def main():
    """Compare ``--sizes`` random sizes; 1 when any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, default=6)
    from dfexport.layers.xlsr import XlsrConfig

    random = np.random.RandomState(0)
    worst = 0.0
    for seed in range(parser.parse_args().sizes):
        config = XlsrConfig(
            layers=int(random.randint(1, 6)),
            hidden=16 * int(random.randint(1, 12)),
            feed_forward=8 * int(random.randint(2, 40)),
            conv_channels=8 * int(random.randint(1, 10)),
            position_kernel=int(random.choice([7, 16, 31, 128])),
            position_groups=int(random.choice([2, 4, 16])),
        )
        difference = compare(config, seed)
        worst = max(worst, difference)
        print(f"{difference:.1e}  {config}", flush=True)
    print(f"worst difference {worst:.1e}, tolerance {TOLERANCE:.0e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
