"""Measures one built detector in PyTorch, as whoever started it asks: a question a line on standard input, in JSON.

    python -m dfexport.speed MODEL_FOLDER [--device cpu|cuda] [--weights-dir DIR]

    {"ask": "describe"}                                   what runs, on what; arithmetic of a window; ways; recordings
    {"ask": "time", "way": "authors", "batch": 8, "calls": 3}    {"seconds": [...]}, one for each call of a batch
    {"ask": "drift", "way": "bf16"}                       how far logits are from fp32's on the example recordings
    {"ask": "gemm", "precisions": ["fp32"]}               {"rates": [[precision, library, GFLOP/s], ...]}

What can't be answered is {"error": "..."}; the next question may be. Weights are the published ones where they lie in
the weights folder, else by rule: how long a network takes does not depend on them, what drift means does.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dfcontract.errors import DfserveError
from dfcontract.windows import cut
from dfexport.build import load_network, seeded
from dfexport.check import built_spec
from dfexport.checkpoints import LoadedWeights, published
from dfexport.cli import default_weights_dir
from dfexport.drift_set import example_set
from dfexport.errors import ExportError
from dfexport.repository import read_card
from dfexport.signals import wave
from dfexport.spec import DetectorSpec
from dfexport.speed import gemm
from dfexport.speed.ways import FP32, WAYS, Call, find_way, no_tf32, open_way

WARM_UP_CALLS = 2  # of each batch size, where memory is taken and kernels are chosen


class Subject:
    """One detector on one device, in as many ways as are asked for.

    Args:
        spec: which, at the window that it was built for.
        weights: with which weights.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, spec: DetectorSpec, weights: LoadedWeights, device: str) -> None:
        self.spec, self.weights, self.device = spec, weights, device
        self.network = load_network(spec, weights).to(device).requires_grad_(False)
        self._calls: dict[str, Call] = {}
        self._warm: set[tuple[str, int]] = set()

    def describe(self) -> dict[str, Any]:
        """Facts about what is measured."""
        return {
            "device": _device_name(self.device),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "weights": self.weights.kind,
            "gflop": self.gflop(),
            "ways": {way.name: [way.precision, way.meaning] for way in WAYS.values() if self._can(way.needs_cuda)},
            "recordings": str(files("dfexport") / "recordings"),
        }

    def gflop(self) -> float:
        """Arithmetic of one window: products and convolutions, two operations a multiply-add, each once."""
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            self.network(self._waveforms(1))
        return float(counter.get_total_flops()) / 1e9

    def seconds(self, way: str, batch: int, calls: int) -> list[float]:
        """Duration of each of some calls of one batch."""
        call, waveforms = self._call(way), self._waveforms(batch)
        with torch.inference_mode():
            if (way, batch) not in self._warm:
                for _ in range(WARM_UP_CALLS if self.device == "cuda" else 1):
                    call(waveforms)
                self._warm.add((way, batch))
            elif self.device == "cuda":  # where another way or batch has run since, memory is taken again
                call(waveforms)
            return [self._timed(call, waveforms) for _ in range(calls)]

    def drift(self, way: str) -> dict[str, float]:
        """Largest and mean difference of a logit from fp32's, on the same device."""
        recordings = example_set().waveforms.values()
        windows = np.stack([cut(recording, 0, self.spec.window_samples) for recording in recordings])
        waveforms = torch.from_numpy(windows).to(self.device)
        with torch.inference_mode():
            moved = (self._call(way)(waveforms) - self._call(FP32)(waveforms)).abs()
        return {"clips": len(windows), "largest": float(moved.max()), "mean": float(moved.mean())}

    def _call(self, name: str) -> Call:
        way = find_way(name)
        if not self._can(way.needs_cuda):
            raise ExportError(f"{name} needs a GPU that CUDA drives, found the device {self.device}")
        if name not in self._calls:
            self._calls[name] = open_way(way, self.network, self.spec.window_samples)
        return self._calls[name]

    def _can(self, needs_cuda: bool) -> bool:
        return self.device == "cuda" or not needs_cuda

    def _waveforms(self, batch: int) -> Tensor:
        waveform = torch.from_numpy(wave(1, self.spec.window_samples))
        return torch.stack([waveform.roll(shift) for shift in range(batch)]).to(self.device)

    def _timed(self, call: Call, waveforms: Tensor) -> float:
        began_s = time.perf_counter()
        call(waveforms)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began_s


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()


def open_subject(model_dir: Path, device: str, weights_dir: Path) -> Subject:
    """The detector that a built model is of.

    Raises:
        ExportError: nothing built there, or a model of no detector known here.
    """
    card = read_card(model_dir)
    spec = built_spec(card)
    is_here = all((weights_dir / file.name).is_file() for file in spec.checkpoint.files)
    return Subject(spec, published(spec, weights_dir) if is_here else seeded(spec), device)


def answer(subject: Subject, question: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one question; see the module.

    Raises:
        ExportError: there is no such question or way.
    """
    kind = question.get("ask")
    if kind == "describe":
        return subject.describe()
    if kind == "time":
        return {"seconds": subject.seconds(question["way"], int(question["batch"]), int(question["calls"]))}
    if kind == "drift":
        return subject.drift(question["way"])
    if kind == "gemm":
        return {"rates": gemm.rates(subject.device, torch.get_num_threads(), tuple(question["precisions"]))}
    raise ExportError(f"unknown question {kind!r}; known: describe, time, drift, gemm")


def main(argv: list[str] | None = None) -> int:
    """Answer questions until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m dfexport.speed", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="a built model's folder")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--weights-dir", type=Path, default=default_weights_dir())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    no_tf32()
    try:
        if arguments.device == "cuda" and not torch.cuda.is_available():
            raise ExportError("this PyTorch sees no GPU: take --device cpu, or install a build of torch for CUDA")
        subject = open_subject(arguments.model, arguments.device, arguments.weights_dir)
    except DfserveError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    for line in sys.stdin:
        try:
            answered = answer(subject, json.loads(line))
        except (DfserveError, RuntimeError) as error:  # RuntimeError: PyTorch's, such as too little memory
            answered = {"error": str(error).partition("\n")[0]}
        print(json.dumps(answered), flush=True)
    return 0
