"""What a file format is to the pipeline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfcontract.tensors import Samples

if TYPE_CHECKING:
    from dfexport.formats.served import ServedDetector


class Answers(NamedTuple):
    """What a model answers to a batch: logits (batch, 2), score (batch, 1), identity (batch, 1).

    A model that was built before identities existed has none.
    """

    logits: Samples
    score: Samples
    identity: NDArray[np.int64] | None


Runner = Callable[[Samples], Answers]  # from waveforms (batch, samples)


@dataclass(frozen=True)
class Format:
    """How a detector is written, how what was written is run outside a server, and how a server runs it.

    Attributes:
        name: in the table, on the command line and in the model card.
        file: the model's file in its version folder.
        backend: Triton's backend for it.
        runtime: what runs it, as an error names it.
        version: of the file's language, where it has one; a part of each model's identity.
        write: writes the file: network, window in samples, path.
        open: loads the file.
        parameters: profile → ``parameters`` of the model's configuration, which the backend reads.
        cuda_options: precision → options of ONNX Runtime's CUDA provider that the backend reads nowhere else.
        tensorrt_precisions: those whose builds TensorRT can compile in the profile of that name.
        max_batch_size: largest batch, where the format allows less than the profile.
    """

    name: str
    file: str
    backend: str
    runtime: str
    version: str
    write: "Callable[[ServedDetector, int, Path], None]"
    open: Callable[[Path], Runner]
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cuda_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tensorrt_precisions: tuple[str, ...] = ()
    max_batch_size: int | None = None
