"""The Python twin of Triton's native PyTorch backend."""
