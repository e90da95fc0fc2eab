"""An export that several tests ask for is made once a session.

Nearly all of a build is torch's exporter at work, up to half a minute a time, and tests build the same few networks
again and again. The first build of a network with its weights is real; a later one gets a copy of the file, with its
own identity put in, and all that a build does besides (parity, self-check, configuration) happens anew.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest

from dfcontract.tensors import IDENTITY
from dfexport.formats import FORMATS
from dfexport.formats.onnx import write_onnx

if TYPE_CHECKING:
    from dfexport.formats.served import ServedDetector

BUFFER = "identity"  # the module's own, which is no weight


@pytest.fixture(scope="session", autouse=True)
def _export_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Writes of ONNX files go through a folder of this session's."""
    rows = dict(FORMATS)
    made = tmp_path_factory.mktemp("exports")
    for name, row in rows.items():
        if row.write is write_onnx:
            FORMATS[name] = dataclasses.replace(row, write=_remembering(row.write, made))
    yield
    FORMATS.update(rows)


def _remembering(
    write: "Callable[[ServedDetector, int, Path], None]", made: Path
) -> "Callable[[ServedDetector, int, Path], None]":
    def written(served: "ServedDetector", window_samples: int, path: Path) -> None:
        folder = made / _digest(served, window_samples)
        if not folder.is_dir():
            write(served, window_samples, path)
            folder.mkdir()
            for file in _files(path):
                shutil.copy2(file, folder)
            return
        for file in folder.iterdir():
            shutil.copy2(file, path.with_name(file.name))
        _put_identity(path, int(served.identity))

    return written


def _digest(served: "ServedDetector", window_samples: int) -> str:
    """Of all that the file depends on but the identity: structure, numbers and tensors."""
    digest = hashlib.sha256(f"{window_samples} {served}".encode())
    for name, module in served.named_modules():
        plain = {key: value for key, value in sorted(vars(module).items()) if not key.startswith("_")}
        digest.update(f"{name} {type(module)} {plain}".encode())
    for name, tensor in served.state_dict().items():
        if name != BUFFER:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    """The graph, and the weights beside it where they are too large for it."""
    return [file for file in (path, path.with_name(f"{path.name}.data")) if file.is_file()]


def _put_identity(path: Path, identity: int) -> None:
    model = onnx.load(path, load_external_data=False)
    (repeated,) = [node.input[0] for node in model.graph.node if IDENTITY in node.output]
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == repeated]
    tensor.CopyFrom(onnx.helper.make_tensor(repeated, onnx.TensorProto.INT64, [1, 1], [identity]))
    onnx.save(model, path)
