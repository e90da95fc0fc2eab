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
        write: writes the file: network, window in samples, path. A network that scores whole clips takes other lengths
            than the window's, too.
        open: loads the file.
        openers: precision → what loads it, where that differs from ``open``.
        parameters: profile → ``parameters`` of the model's configuration, which the backend reads.
        precision_parameters: precision → more of them.
        clip_parameters: more of them, where waveforms have any length.
        cuda_options: precision → options of ONNX Runtime's CUDA provider that the backend reads nowhere else.
        is_named: whether a configuration has to name the file, since the backend would look for another.
        tensorrt_precisions: those whose builds TensorRT can compile in the profile of that name.
        max_batch_size: largest batch, where the format allows less than the profile.
        native_max_batch_size: the same of Triton's own backend, where that allows less than our twin of it.
        identity_bits: how much of an IDENTITY its runtime passes on.
        runs_on_gpu: whether the backend has a GPU; else it runs on the CPU in every profile.
        takes_clips: whether it can be served waveforms of any length.
    """

    name: str
    file: str
    backend: str
    runtime: str
    version: str
    write: "Callable[[ServedDetector, int, Path], None]"
    open: Callable[[Path], Runner]
    openers: Mapping[str, Callable[[Path], Runner]] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    precision_parameters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    clip_parameters: Mapping[str, str] = field(default_factory=dict)
    cuda_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_named: bool = False
    tensorrt_precisions: tuple[str, ...] = ()
    max_batch_size: int | None = None
    native_max_batch_size: int | None = None
    identity_bits: int = 64
    runs_on_gpu: bool = True
    takes_clips: bool = True

    def open_in(self, precision: str, path: Path) -> Runner:
        """Load a file that was built in a precision."""
        return self.openers.get(precision, self.open)(path)

    def parameters_of(self, profile: str, precision: str) -> dict[str, str]:
        """All ``parameters`` that the backend is to read."""
        return {**self.parameters.get(profile, {}), **self.precision_parameters.get(precision, {})}
