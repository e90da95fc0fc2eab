"""Triton's tensors from and to NumPy arrays, on NumPy 1.26 and 2.

Triton 24.10 converts by way of NumPy 1's memory layout: with NumPy 2 its ``as_numpy`` and ``Tensor(name, array)`` raise
no error and make empty tensors. DLPack, which both speak, hands over a pointer, a type and a shape.
"""

from __future__ import annotations  # Triton fills its module only once ours has been imported

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

_CPU = (1, 0)  # DLPack's device type and number
# The name by which NumPy knows that another library has taken over what a capsule of its own points to. CPython keeps
# the pointer to it, so it must live as long as the process.
_CONSUMED = b"used_dltensor"

_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.argtypes = (ctypes.py_object, ctypes.c_char_p)
_rename.restype = ctypes.c_int


class _Exporter:
    """What `numpy.from_dlpack` expects: Triton's tensors have its first method under another name only."""

    def __init__(self, tensor: pb_utils.Tensor) -> None:
        self.tensor = tensor

    def __dlpack__(self, **_options: object) -> Any:
        return self.tensor.to_dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


def array_of(tensor: pb_utils.Tensor) -> npt.NDArray[Any]:
    """A tensor's content, copied: Triton's own memory goes back to it with the request."""
    array: npt.NDArray[Any] = np.from_dlpack(_Exporter(tensor)).copy()
    return array


def tensor_of(name: str, array: npt.NDArray[Any]) -> pb_utils.Tensor:
    """A tensor over an array's memory, which lives as long as the tensor does."""
    capsule = np.require(array, requirements=("C_CONTIGUOUS", "WRITEABLE")).__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    # Triton has taken it and renamed the capsule, but to a name that NumPy does not know: as the capsule dies, NumPy
    # would print a complaint into the server's log, for every tensor.
    _rename(capsule, _CONSUMED)
    return tensor
