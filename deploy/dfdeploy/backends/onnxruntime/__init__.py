"""The Python twin of Triton's native ONNX Runtime backend."""
