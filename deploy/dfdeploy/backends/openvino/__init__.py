"""The Python twin of Triton's native OpenVINO backend."""
