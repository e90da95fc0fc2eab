"""The oldest ONNX Runtime that must open our files: Triton 24.10's, or the first one that was made for this Python."""

import sys
from pathlib import Path

VERSION = "1.19.2" if sys.version_info < (3, 13) else "1.20.0"
FOLDER = Path(__file__).resolve().parents[1] / ".onnxruntime-old"
MISSING = f"ONNX Runtime {VERSION} is installed by `make test`; run that once"
