"""An export that several tests ask for is made once a run.

Nearly all of a build is torch's exporter at work, up to half a minute a time, and tests build the same few networks
again and again. The first build of a network with its weights is real; a later one, also in another process of the same
run, gets a copy of the file, with its own identity put in, and all that a build does besides (parity, self-check,
configuration) happens anew.
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
from once import made_once, run_folder

if TYPE_CHECKING:
    from dfexport.formats.served import ServedDetector

BUFFER = "identity"  # the module's own, which is no weight


@pytest.fixture(scope="session", autouse=True)
def _export_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Writes of ONNX files go through a folder of this run's."""
    rows = dict(FORMATS)
    made = run_folder(request, "exports")
    for name, row in rows.items():
        if row.write is write_onnx:
            FORMATS[name] = dataclasses.replace(row, write=_remembering(row.write, made))
    yield
    FORMATS.update(rows)


def _remembering(
    write: "Callable[[ServedDetector, int, Path], None]", made: Path
) -> "Callable[[ServedDetector, int, Path], None]":
    def written(served: "ServedDetector", window_samples: int, path: Path) -> None:
        is_first = False

        def make(folder: Path) -> None:
            nonlocal is_first
            is_first = True
            write(served, window_samples, folder / path.name)

        for file in made_once(made / _digest(served, window_samples), make).iterdir():
            shutil.copy2(file, path.with_name(file.name))
        if not is_first:
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


def _put_identity(path: Path, identity: int) -> None:
    model = onnx.load(path, load_external_data=False)
    (repeated,) = [node.input[0] for node in model.graph.node if IDENTITY in node.output]
    (tensor,) = [tensor for tensor in model.graph.initializer if tensor.name == repeated]
    tensor.CopyFrom(onnx.helper.make_tensor(repeated, onnx.TensorProto.INT64, [1, 1], [identity]))
    onnx.save(model, path)
