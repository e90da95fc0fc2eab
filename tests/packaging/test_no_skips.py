"""In `.ci/run` a skip is a failure, elsewhere it is a skip."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CASES = {
    "test_in_a_test.py": "import pytest\ndef test_it():\n    pytest.skip('no Chromium here')\n",
    "test_by_a_mark.py": "import pytest\n@pytest.mark.skipif(True, reason='no Chromium here')\ndef test_it(): ...\n",
    "test_a_whole_file.py": "import pytest\npytest.importorskip('nothing_of_that_name', reason='no Chromium here')\n",
    "test_in_a_fixture.py": "import pytest\n@pytest.fixture\ndef f():\n    pytest.skip('no Chromium here')\n"
    "def test_it(f): ...\n",
}


def run(folder: Path, name: str, no_skips: str) -> subprocess.CompletedProcess[str]:
    (folder / name).write_text(CASES[name])
    (folder / "conftest.py").write_text('pytest_plugins = ["no_skips"]\n')
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", folder, "-c", "/dev/null", folder]
    environment = {"PYTHONPATH": str(TESTS), "DFSERVE_NO_SKIPS": no_skips, "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("name", CASES)
def test_a_skip_fails_where_nothing_may_skip(tmp_path: Path, name: str):
    finished = run(tmp_path, name, "1")
    assert finished.returncode in (1, 2), finished.stdout
    assert "nothing may skip here" in finished.stdout
    assert "no Chromium here" in finished.stdout


@pytest.mark.parametrize("name", CASES)
def test_elsewhere_it_skips(tmp_path: Path, name: str):
    finished = run(tmp_path, name, "")
    assert finished.returncode in (0, 5), finished.stdout
    assert "1 skipped" in finished.stdout
