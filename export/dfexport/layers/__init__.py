"""Blocks that detectors share."""
