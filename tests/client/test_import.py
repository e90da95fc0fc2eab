"""What importing the client costs: no torch, nothing heavy until it is used."""

import subprocess
import sys

import pytest

import dfclient


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


def test_windows_need_numpy_alone():
    loaded = loaded_by("import dfclient.windows")
    ours = {name for name in loaded if name.startswith("dfclient")}
    assert ours == {"dfclient", "dfclient.windows"}
    assert not {"grpc", "tritonclient"} & loaded


@pytest.mark.parametrize("name", dfclient.__all__)
def test_public_names_are_there(name):
    assert getattr(dfclient, name).__name__ == name


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        dfclient.nonsense  # noqa: B018
