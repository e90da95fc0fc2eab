"""What figures were measured on: without it they mean nothing."""

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPU_INFO, MEMORY_INFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")
# Instructions that decide how fast reduced precision is.
TELLING_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")


def measured_on() -> dict[str, str]:
    """Name → fact about this machine and moment."""
    return {
        "time": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_cpu_name()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores",
        "instructions": " ".join(flag for flag in TELLING_FLAGS if flag in _flags()) or "not known",
        "memory": _memory(),
        "GPU": _gpu(),
        "system": f"{_distribution()}, {platform.machine()}, Python {platform.python_version()}",
        "dfserve": _version("dfserve"),
        "load before": f"{os.getloadavg()[0]:.1f} (processes that wanted a core, mean of the last minute)",
    }


def _cpu_name() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _text(CPU_INFO), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _flags() -> set[str]:
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _text(CPU_INFO), re.MULTILINE)
    return set(found[1].split()) if found else set()


def _memory() -> str:
    found = re.search(r"^MemTotal:\s*(\d+) kB$", _text(MEMORY_INFO), re.MULTILINE)
    return f"{int(found[1]) * 1024 / 1e9:.0f} GB" if found else "not known"


def _gpu() -> str:
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "none"
    query = [smi, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    finished = subprocess.run(query, capture_output=True, text=True, check=False)
    return "; ".join(finished.stdout.strip().splitlines()) or "none that its driver lists"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
