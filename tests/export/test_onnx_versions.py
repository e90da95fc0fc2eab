"""The file loads and answers the same in the oldest ONNX Runtime that may serve it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import old_onnxruntime
from dfexport.build import Build

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import json, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
logits, _ = session.run(["LOGITS", "SCORE"], {"WAVEFORM": numpy.fromfile(sys.argv[2], "<f4")[None]})
print(json.dumps([onnxruntime.__version__, logits[0].tolist()]))
"""


def test_the_oldest_onnx_runtime_answers_the_same(seeded_aasist_l: Build) -> None:
    assert old_onnxruntime.FOLDER.is_dir(), old_onnxruntime.MISSING
    folder = seeded_aasist_l.folder
    command = [sys.executable, "-c", RUN, str(folder / "1/model.onnx"), str(folder / "warmup/WAVEFORM")]
    finished = subprocess.run(
        command,
        check=False,
        env={**os.environ, "PYTHONPATH": str(old_onnxruntime.FOLDER)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    version, logits = json.loads(finished.stdout)
    assert version == old_onnxruntime.VERSION
    np.testing.assert_allclose(logits, seeded_aasist_l.parity.self_check_logits, atol=1e-4)
