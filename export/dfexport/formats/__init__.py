"""The file formats that a detector can be served from: a file and a row each."""

from dfexport.errors import unknown
from dfexport.formats.format import Answers, Format, Runner
from dfexport.formats.onnx import ONNX
from dfexport.formats.openvino import OPENVINO
from dfexport.formats.torchscript import TORCHSCRIPT

__all__ = ["FORMATS", "Answers", "Format", "Runner", "find_format"]

FORMATS = {row.name: row for row in (ONNX, TORCHSCRIPT, OPENVINO)}


def find_format(name: str) -> Format:
    """Look a format up by name.

    Raises:
        ExportError: no such row.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]
