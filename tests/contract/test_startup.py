"""Every command ends alike when it is cut short, from its first import on."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FULL_DISK = Path("/dev/full")
COMMANDS = {
    "dfclient": ["models", "--url", "127.0.0.1:1"],
    "dfeval": ["metrics", "no-such-file.csv", "--protocol", "no-such-file.csv"],
    "dfexport": ["list"],
    "dfdeploy": ["check", "--url", "127.0.0.1:1", "--repository", "no-such-folder"],
}


def modules_imported(process: subprocess.Popen[str]):
    """Names of modules as Python imports them; other lines are passed over."""
    for line in process.stderr:
        if line.startswith("import time:"):
            yield line.rpartition("|")[2].strip()


@pytest.mark.parametrize("n_more", [2, 20, 60, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_among_the_imports_is_one_line(name: str, n_more: int) -> None:
    """After so many modules more than the first of ours."""
    command = [sys.executable, "-X", "importtime", "-m", name, *COMMANDS[name]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    modules = modules_imported(process)
    assert "dfcontract.startup" in modules  # reads on until it comes
    for _ in range(n_more):
        next(modules, None)
    process.send_signal(signal.SIGINT)
    rest = [line for line in process.stderr if not line.startswith("import time:")]
    process.wait(60)
    assert "Traceback" not in "".join(rest)
    if process.returncode == -signal.SIGINT:  # it was at its very end, where Python has let go of the signal
        assert f"{name}: error: " in "".join(rest)
    elif process.returncode != 1:  # it had come to its own end before
        assert process.returncode == 130
        assert rest == [f"{name}: interrupted\n"]


def test_a_background_job_of_a_shell_goes_on_ignoring_ctrl_c() -> None:
    program = "import signal, sys; from dfcontract.startup import run_command; "
    program += "sys.exit(run_command('x', lambda: lambda argv: signal.raise_signal(signal.SIGINT) or 7, None))"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a child inherits
    try:
        process = subprocess.Popen([sys.executable, "-c", program])
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.wait(60) == 7


FAKE = "import sys; from dfcontract.startup import run_command; "
FAKE += "sys.exit(run_command('x', lambda: lambda argv: print('x' * 100) or 0, None))"


@pytest.mark.parametrize("arguments", [["-c", FAKE], ["-m", "dfexport", "list"]])
def test_a_reader_that_has_had_enough_is_status_1_without_a_word(arguments: list[str]) -> None:
    """Which Python would answer with 120 and a complaint at its end, or a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        command = [sys.executable, *arguments]
        finished = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, check=False)
    assert (finished.returncode, finished.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, ["-m", name, "--version"]) for name in [*COMMANDS, "dfpage"]),
        ("dfexport", ["-m", "dfexport", "list"]),
        ("x", ["-c", FAKE]),
        ("x", ["-u", "-c", FAKE]),
    ],
)
def test_a_full_disk_under_what_is_printed_is_one_line(name: str, arguments: list[str]) -> None:
    """Whichever way it is printed: while the options are read, by a command, by rich."""
    with FULL_DISK.open("w") as output:
        command = [sys.executable, *arguments]
        finished = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert finished.stderr == f"{name}: error: cannot write what it prints: No space left on device\n"
    assert finished.returncode == 1


def test_a_command_that_passes_over_a_full_disk_has_failed_all_the_same() -> None:
    program = "import sys, contextlib; from dfcontract.startup import run_command\n"
    program += "def command(argv):\n for n in range(2):\n  with contextlib.suppress(Exception): print(n)\n return 0\n"
    program += "sys.exit(run_command('x', lambda: command, None))"
    with FULL_DISK.open("w") as output:
        finished = subprocess.run([sys.executable, "-c", program], stdout=output, stderr=subprocess.PIPE, check=False)
    assert (finished.returncode, finished.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("dfclient", ["models", "--url", "\x1b[31mred"]),
        ("dfeval", ["metrics", "none.csv", "--protocol", "\x1b[31mred"]),
        ("dfexport", ["build", "aasist", "--checkpoint", "\x1b[31mred"]),
        ("dfdeploy", ["serve", "--repository", "\x1b[31mred"]),
    ],
)
def test_an_error_shows_escape_codes_and_does_not_send_them(program: str, arguments: list[str]) -> None:
    command = [sys.executable, "-m", program, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode != 0
    assert finished.stderr.startswith(f"{program}: error: ")
    assert r"\x1b[31mred" in finished.stderr
    assert "\x1b" not in finished.stderr


@pytest.mark.parametrize("program", [*COMMANDS, "dfpage"])
def test_each_says_of_which_version_it_is(program: str) -> None:
    command = [sys.executable, "-m", program, "--version"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert re.fullmatch(r"dfserve \d+\.\d+\.\d+\S*\n", finished.stdout)


@pytest.mark.parametrize(
    ("program", "line", "expected"),
    [
        ("dfclient", "dfclient score --mo", {"--model", "--mode"}),
        ("dfeval", "dfeval calibrate ", {"fit", "apply"}),
        ("dfexport", "dfexport build aasist --precision ", {"fp32", "fp16", "bf16", "int8"}),
    ],
)
def test_a_shell_is_told_what_may_come_next(program, line, expected, tmp_path):
    """As argcomplete's shell function asks: through the environment, answered into a file."""
    answer = tmp_path / "answer"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    command = [sys.executable, "-m", program]
    finished = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert {word.strip() for word in answer.read_text().splitlines()} - {"-h", "--help"} == expected
