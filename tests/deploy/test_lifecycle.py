"""``dfdeploy serve`` comes up, goes down, and leaves nothing behind, however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import tritonclient.grpc as triton
from rich.console import Console

import tiny_repository
from dfdeploy import guard, leftovers, ports, supervisor
from dfdeploy.crashes import CrashCounter
from dfdeploy.embedded import Server
from dfdeploy.processes import is_alive

SHARED_MEMORY = Path("/dev/shm")


@dataclass
class Serving:
    """A ``dfdeploy serve`` as a user starts it."""

    process: subprocess.Popen[str]
    grpc_url: str
    tree: list[psutil.Process]  # the guard, Triton, its backends
    ready_line: str

    def named(self, part: str) -> psutil.Process:
        return next(process for process in self.tree if part in " ".join(process.cmdline()))

    def regions(self) -> list[Path]:
        return list(SHARED_MEMORY.glob(f"dfserve-{self.process.pid}-*"))

    def wait_until_nothing_is_left(self) -> None:
        wait_for(lambda: not any(map(is_alive, self.tree)), "a process outlived its server")
        wait_for(lambda: not self.regions(), "shared memory outlived its server")


def wait_for(condition: Callable[[], bool], otherwise: str, timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def command(repository: Path, *more: str) -> list[str]:
    chosen = ports.resolve({"grpc": 0, "http": 0, "metrics": 0})
    options = [f"--{name}-port={port}" for name, port in chosen.items()]
    return [sys.executable, "-m", "dfdeploy", "serve", f"--repository={repository}", *options, *more]


def read_until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"{pattern} never came: {seen}")


@contextmanager
def serve(repository: Path) -> Iterator[Serving]:
    process = subprocess.Popen(
        command(repository), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        ready_line = read_until(process, "ready.*").group()
        grpc_url = read_until(process, r"gRPC +(\S+)").group(1)
        yield Serving(process, grpc_url, psutil.Process(process.pid).children(recursive=True), ready_line)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def serving(tiny_models: Path) -> Iterator[Serving]:
    with serve(tiny_models) as serving:
        yield serving


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(serving: Serving, number: signal.Signals) -> None:
    assert serving.ready_line.startswith("ready and self-checked: tiny, tiny_live, tiny_trained, tiny_trained_live")
    assert len(serving.tree) == 6  # guard, Triton, a backend for each of two detectors and their live siblings
    assert serving.regions()
    serving.process.send_signal(number)
    assert serving.process.wait(60) == 0
    serving.wait_until_nothing_is_left()


def test_an_open_stream_does_not_keep_it_alive(serving: Serving) -> None:
    with triton.InferenceServerClient(serving.grpc_url) as client:
        client.start_stream(callback=lambda result, error: None)
        serving.process.send_signal(signal.SIGTERM)
        assert serving.process.wait(60) == 0
        serving.wait_until_nothing_is_left()


def test_killing_dfdeploy_takes_everything_with_it(serving: Serving) -> None:
    serving.process.kill()
    serving.wait_until_nothing_is_left()


@pytest.mark.parametrize("victim", ["triton_python_backend_stub", "bin/tritonserver", "dfdeploy/guard.py"])
def test_whatever_dies_the_server_comes_back(serving: Serving, victim: str) -> None:
    """The port stays; the old processes are gone; then a stop leaves nothing, as ever."""
    # The guard's command line names Triton's too, and comes first.
    target = serving.tree[1] if "tritonserver" in victim else serving.named(victim)
    target.kill()
    reason = read_until(serving.process, "restarting in").string
    cause = {
        "stub": "backend process",
        "tritonserver": "Triton was killed by SIGKILL",
        "guard": "guard process was killed",
    }
    assert next(words for part, words in cause.items() if part in victim) in reason
    read_until(serving.process, "ready.*")
    assert read_until(serving.process, r"gRPC +(\S+)").group(1) == serving.grpc_url
    wait_for(lambda: not any(map(is_alive, serving.tree)), "an old process outlived its server")
    with triton.InferenceServerClient(serving.grpc_url) as client:
        assert client.is_model_ready("tiny")
    serving.tree = psutil.Process(serving.process.pid).children(recursive=True)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(60) == 0
    serving.wait_until_nothing_is_left()


def test_a_restart_that_fails_is_tried_again(tmp_path: Path) -> None:
    """A model that is being replaced just then, say."""
    model = tiny_repository.write(tmp_path / "models") / "tiny/1/model.onnx"
    with serve(tmp_path / "models") as serving:
        whole = model.read_bytes()
        model.write_bytes(b"half a model")
        serving.named("triton_python_backend_stub").kill()
        read_until(serving.process, "backend process .* restarting in 0 s")
        read_until(serving.process, "tiny does not load.* restarting in 1 s")
        model.write_bytes(whole)
        read_until(serving.process, "ready and self-checked")


def test_a_crash_names_its_signal_and_is_counted(serving: Serving) -> None:
    """It is up again within seconds, an open stream or not: nobody waits for what a dead backend owes."""
    url = read_until(serving.process, r"crashes +(\S+)").group(1)
    assert "dfserve_server_crashes_total 0\n" in read_url(url)
    with triton.InferenceServerClient(serving.grpc_url) as client:
        client.start_stream(callback=lambda result, error: None)
        serving.tree[1].send_signal(signal.SIGSEGV)
        read_until(serving.process, "Triton was killed by SIGSEGV.*restarting in 0 s")
        read_until(serving.process, "ready and self-checked")
    metrics = read_url(url)
    assert "dfserve_server_crashes_total 1\n" in metrics
    assert "# last cause: Triton was killed by SIGSEGV" in metrics


def test_it_is_never_given_up() -> None:
    pauses = [supervisor.pause_before_restart_s(n) for n in range(1, 500)]
    assert pauses[:6] == [0, 0, 0, 1, 2, 4]
    assert set(pauses[9:]) == {60}


def read_url(url: str) -> str:
    with urllib.request.urlopen(url) as response:
        return str(response.read().decode())


def test_everything_killed_at_once_leaves_no_process(serving: Serving, tiny_models: Path) -> None:
    """dfdeploy, guard and Triton: the backends see it; memory and folders go at the next start."""
    for process in (serving.process, serving.tree[0], serving.tree[1]):
        process.kill()
    serving.process.wait()
    wait_for(lambda: not any(map(is_alive, serving.tree)), "a backend outlived its Triton")
    assert serving.regions()
    with Server(tiny_models):
        assert not serving.regions()


def test_the_kernel_ends_triton_with_its_guard(serving: Serving) -> None:
    os.kill(serving.process.pid, signal.SIGSTOP)  # dfdeploy itself can't see to it
    serving.tree[0].kill()
    gone = serving.tree[1:]
    wait_for(lambda: not any(map(is_alive, gone)), "Triton outlived its guard")


def test_the_sweep_follows_no_link_and_touches_nothing_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(leftovers, "TRITONS_TEMPORARY", tmp_path)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("mine")
    link = tmp_path / "dfserve-999999-x"
    link.symlink_to(precious)
    foreign = tmp_path / "dfserve-999999-y"
    foreign.symlink_to(precious)
    os.chown(foreign, 12345, 12345, follow_symlinks=False) if os.geteuid() == 0 else foreign.unlink()
    is_foreign_there = foreign.is_symlink()
    empty, full = tmp_path / "python_env_aaaaaa", tmp_path / "python_env_bbbbbb"
    for folder in (empty, full):
        folder.mkdir()
    (full / "file").touch()
    for folder in (empty, full):
        os.utime(folder, (1, 1))
    leftovers.sweep()
    assert not link.is_symlink()
    assert foreign.is_symlink() == is_foreign_there
    assert (precious / "thesis").read_text() == "mine"
    assert (empty.exists(), full.exists()) == (False, True)


def test_what_the_sweep_can_not_remove_is_named_and_stops_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(folder))

    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(leftovers.shutil, "rmtree", refuse)
    left = tmp_path / "dfserve-999999-x"
    left.mkdir()
    leftovers.sweep()
    words = f"left by an earlier server, can't be removed: {left}: Operation not permitted\n"
    assert capsys.readouterr().err == words


def test_regions_of_another_user_are_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link under a region's name would lead a change of mode, or a removal, astray."""
    monkeypatch.setattr(guard, "SHARED_MEMORY", tmp_path)
    target, link, region = tmp_path / "target", tmp_path / "dfserve-1-link", tmp_path / "dfserve-1-region"
    for file in (target, region):
        file.touch()
        file.chmod(0o644)
    link.symlink_to(target)
    guard.close_regions("dfserve-1-")
    assert (target.stat().st_mode & 0o777, region.stat().st_mode & 0o777) == (0o644, 0o600)
    guard.unlink_regions("dfserve-1-")
    assert not region.exists()
    assert link.is_symlink()


class TroubledServer:
    """Starts, and fails with words that rich would take for markup."""

    models, left_out, profile, tls = ["tiny"], {"[/opt/x]": "does not load: [/opt/y]"}, "cpu", None
    grpc_url, http_url, metrics_url, log = "127.0.0.1:8001", "http", "metrics", Path("/[/opt/z]/t.log")

    def start(self, **_options: object) -> None:
        pass

    def failure(self) -> str:
        return "Triton has died: [/opt/triton] gone"

    def stop(self, **_options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # and so the supervisor ends after one round


def test_words_of_tritons_log_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    with CrashCounter() as crashes:
        supervisor.serve_until_stopped(TroubledServer(), console, crashes)
    said = capsys.readouterr().out
    assert "left out: [/opt/x] does not load: [/opt/y]" in said
    assert "Triton has died: [/opt/triton] gone (its log: /[/opt/z]/t.log); restarting in 0 s" in said


def kept_log(line: str) -> Path:
    found = re.search(r"its log: (\S+\.log)", line)
    assert found is not None, line
    return Path(found[1])


def test_the_log_of_a_server_that_failed_is_kept(serving: Serving) -> None:
    """The last ones, named where the failure is said; that of a server that stops cleanly goes with it."""
    serving.named("triton_python_backend_stub").kill()
    log = kept_log(read_until(serving.process, "restarting in").string)
    read_until(serving.process, "ready.*")
    current = Path(read_until(serving.process, r"log +(\S+)").group(1))
    assert current != log
    assert current.is_file()
    assert "Started GRPCInferenceService" in log.read_text()
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(60) == 0
    assert log.is_file()
    assert not current.exists()
    log.unlink()


def test_only_the_newest_logs_are_kept(tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers.tempfile, "tempdir", str(tmp_path))
    gone = subprocess.check_output([sys.executable, "-c", "import os; print(os.getpid())"], text=True).strip()
    logs = [tmp_path / f"dfserve-{gone}-{number}.log" for number in range(7)]
    for age, log in enumerate(logs):
        log.write_text("why it failed")
        os.utime(log, (1e9 - age, 1e9 - age))
    running = tmp_path / f"dfserve-{os.getpid()}-running.log"
    running.write_text("still up")
    running.with_suffix("").mkdir()
    os.utime(running, (1, 1))
    leftovers.sweep()
    assert sorted(tmp_path.glob("*.log")) == sorted([*logs[: leftovers.KEPT_LOGS], running])


def test_two_that_start_at_once_do_not_take_each_other_for_themselves(tiny_models: Path) -> None:
    """Both find the ports free, as neither listens before its models are loaded: one serves, the other says why not."""
    same = command(tiny_models)
    starting = [
        subprocess.Popen(same, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        for _ in range(2)
    ]
    try:
        wait_for(lambda: any(process.poll() is not None for process in starting), "both serve on the same ports", 60)
        loser = next(process for process in starting if process.poll() is not None)
        winner = next(process for process in starting if process is not loser)
        assert loser.wait() == 1
        assert loser.stdout is not None
        assert re.search(r"the \w+ port \d+ is taken", loser.stdout.read())
        read_until(winner, "ready and self-checked")
        assert winner.poll() is None
    finally:
        for process in starting:
            process.terminate()
            process.wait(60)


def test_a_taken_port_is_refused_before_anything_is_loaded(serving: Serving, tiny_models: Path) -> None:
    port = serving.grpc_url.rpartition(":")[2]
    taken = [argument for argument in command(tiny_models) if "--http-port" not in argument] + [f"--http-port={port}"]
    started = subprocess.Popen(taken, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, err = started.communicate(timeout=180)
    assert started.returncode == 1
    assert f"the http port {port} is taken on 127.0.0.1" in err
    assert "--http-port" in err
    # Its own regions alone: servers of other tests come and go meanwhile.
    assert not list(SHARED_MEMORY.glob(f"dfserve-{started.pid}-*"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::1", "192.168.1.7", "example.org"])
def test_another_address_than_loopback_is_refused(tiny_models: Path, host: str) -> None:
    finished = subprocess.run(
        command(tiny_models, f"--host={host}"), capture_output=True, text=True, check=False, timeout=180
    )
    assert finished.returncode == 1
    assert "published vulnerabilities" in finished.stderr
    assert "--server docker" in finished.stderr


def test_what_a_killed_owner_left_is_swept_at_the_next_start(tiny_models: Path) -> None:
    gone = subprocess.check_output([sys.executable, "-c", "import os; print(os.getpid())"], text=True).strip()
    zombie = subprocess.Popen(["true"])  # it ends, and nobody asks how
    wait_for(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE, "it has not ended")
    dead = [SHARED_MEMORY / f"dfserve-{owner}-x" for owner in (gone, zombie.pid)]
    alive = SHARED_MEMORY / f"dfserve-{os.getpid()}-kept"
    for region in (*dead, alive):
        region.write_bytes(b"left")
    try:
        with Server(tiny_models):
            assert not any(region.exists() for region in dead)
            assert alive.exists()
    finally:
        alive.unlink()
        zombie.wait()
