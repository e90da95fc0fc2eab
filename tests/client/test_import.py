"""What importing the client costs: no torch, nothing heavy until it is used; and its public names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dfclient

DOCS = Path(__file__).resolve().parents[2] / "docs/client.md"


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_the_package_alone_imports_nothing_heavy():
    heavy = {"torch", "numpy", "grpc", "tritonclient", "soundfile", "soxr", "av", "rich", "pandas", "scipy"}
    assert not heavy & loaded_by("import dfclient")


def test_a_detector_needs_no_torch_and_no_decoder_yet():
    loaded = loaded_by("from dfclient import Detector")
    assert {"numpy", "grpc"} <= loaded
    assert not {"torch", "soundfile", "soxr", "av", "rich", "pandas", "scipy", "onnxruntime"} & loaded


@pytest.mark.parametrize("module", ["calls", "retry", "results", "clips", "audio", "batch", "live.wire", "live.engine"])
def test_one_module_knows_grpc(module):
    assert not {"grpc", "tritonclient"} & loaded_by(f"import dfclient.{module}")


@pytest.mark.parametrize("name", dfclient.__all__)
def test_public_names_are_there(name):
    assert getattr(dfclient, name).__name__ == name


def test_public_names_are_those_of_the_docs():
    (block,) = re.findall(r"<!-- public-names -->(.*?)<!-- end-public-names -->", DOCS.read_text(), re.DOTALL)
    assert sorted(re.findall(r"^\| `(\w+)", block, re.MULTILINE)) == sorted(dfclient.__all__)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dfclient.nonsense  # noqa: B018
