"""This machine's GPUs as NVIDIA's driver lists them, and the ONNX Runtime that runs on them."""

import shutil
import subprocess
from dataclasses import dataclass

from dfdeploy.errors import DeployError


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: the maker's.
        driver: version of the driver, such as ``580.65.06``.
        capability: compute capability.
    """

    name: str
    driver: str
    capability: float

    @property
    def release(self) -> int:
        """The driver's release, such as 580."""
        return int(self.driver.partition(".")[0])


@dataclass(frozen=True)
class Runtime:
    """A build of ONNX Runtime for CUDA with the libraries that it loads.

    Attributes:
        least_release: of the driver.
        packages: for pip. The library of matrix products is in none of the package's own extras.
    """

    least_release: int
    packages: tuple[str, ...]


# The newest first; 1.27.0 is left out on purpose, as it was when these were reviewed.
RUNTIMES = (
    Runtime(580, ("onnxruntime-gpu[cuda,cudnn]==1.31.1", "nvidia-cublas~=13.0")),
    Runtime(525, ("onnxruntime-gpu[cuda,cudnn]==1.26.0", "nvidia-cublas-cu12~=12.0")),
)


def listed() -> list[Gpu]:
    """Every GPU.

    Raises:
        DeployError: no driver, or one that does not answer.
    """
    smi = shutil.which("nvidia-smi")
    if smi is None:
        raise DeployError("no nvidia-smi on this machine: install NVIDIA's driver, or take --profile cpu")
    query = [smi, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    finished = subprocess.run(query, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise DeployError(f"nvidia-smi does not answer: {(finished.stderr or finished.stdout).strip()}")
    rows = ((part.strip() for part in line.split(",")) for line in finished.stdout.strip().splitlines())
    return [Gpu(name, driver, float(capability)) for name, driver, capability in rows]


def runtime() -> Runtime:
    """The build for this machine's driver.

    Raises:
        DeployError: no GPU, or a driver that is older than what any build needs.
    """
    found = listed()
    if not found:
        raise DeployError("nvidia-smi lists no GPU: set up without --gpu")
    release = min(gpu.release for gpu in found)
    fitting = next((row for row in RUNTIMES if release >= row.least_release), None)
    if fitting is None:
        found_and_needed = (
            f"expected a driver of release R{RUNTIMES[-1].least_release} or newer, found {found[0].driver}"
        )
        raise DeployError(f"{found_and_needed}: bring it up to date, or leave out --gpu")
    return fitting
