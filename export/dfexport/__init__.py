"""Checkpoint → Triton model repository.

``registry.DETECTORS`` lists what can be built; ``build.build`` builds one. Only those who build need torch.
"""
