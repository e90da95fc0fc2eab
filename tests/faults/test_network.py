"""The network between hosts fails: a cut cable, lost packets, a dead proxy, a name that moves. No row is lost."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile
import trustme

import hosts
import tiny_repository
from dfcontract import score_file
from dfdeploy.machine import missing_line, which
from dfexport.signals import wave
from hosts import Host

pytestmark = [pytest.mark.faults, pytest.mark.skipif(bool(hosts.why_not()), reason=hosts.why_not())]
W, RATE_HZ = tiny_repository.WINDOW_SAMPLES, 16_000
N_REQUESTS = min(int(os.environ.get("DFSERVE_FAULT_REQUESTS", "20000")), 2000)
N_ON_A_BAD_LINE = min(N_REQUESTS, 100)
PORT, PROXY_PORT = 8001, 8443
CUT_S = 10
KEY = "a-clients-key"
PROXY_CONFIG = Path(__file__).parents[2] / "deploy/proxy/nginx.conf"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    whole = wave(1, W + 10 * N_REQUESTS).clip(-1, 1)
    for number in range(N_REQUESTS):
        samples = whole[10 * number : 10 * number + W]
        soundfile.write(folder / f"{number:05}.wav", samples, RATE_HZ, subtype="FLOAT")
    return folder


@pytest.fixture
def new_host() -> Iterator[Callable[[], Host]]:
    with hosts.network() as found:
        yield lambda: next(found)


@pytest.fixture
def serve(tiny_models: Path, tmp_path: Path) -> Iterator[Callable[[Host], subprocess.Popen[bytes]]]:
    """serve(host) → a server there that is ready. Its host is its container: it listens on all its addresses."""
    started: list[subprocess.Popen[bytes]] = []

    def start(host: Host) -> subprocess.Popen[bytes]:
        log = tmp_path / f"{host.namespace}.log"
        options = ["--host=0.0.0.0", f"--grpc-port={PORT}", "--http-port=0", "--metrics-port=0"]
        command = host.command(sys.executable, "-m", "dfdeploy", "serve", f"--repository={tiny_models}", *options)
        with log.open("wb") as file:
            environment = os.environ | {"DFSERVE_IN_CONTAINER": "1"}
            started.append(subprocess.Popen(command, stdout=file, stderr=file, env=environment))
        deadline_s = time.monotonic() + 60
        while "ready and self-checked" not in log.read_text():
            assert started[-1].poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.1)
        return started[-1]

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


class Scoring:
    """`dfclient score` of all recordings, in mid-run; it is told of no fault."""

    def __init__(
        self, recordings: Path, out: Path, url: str, *options: str, on: Host | None = None, key: str = ""
    ) -> None:
        self.recordings, self.out = recordings, out
        arguments = ["score", str(recordings), f"--url={url}", "--model=tiny", f"--out={out}", *options]
        command = [sys.executable, "-m", "dfclient", *arguments]
        self.process = subprocess.Popen(
            on.command(*command) if on else command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | ({"DFSERVE_API_KEY": key} if key else {}),
        )

    def wait_for_rows(self, n_rows: int) -> None:
        deadline_s = time.monotonic() + 120
        while not self.out.is_file() or self.out.read_bytes().count(b"\n") <= n_rows:
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    def check_all_rows(self) -> None:
        """It ends well, and each recording has one row with its own score."""
        said, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, said
        rows = score_file.read(self.out)
        assert sorted(row["utt_id"] for row in rows) == sorted(path.stem for path in self.recordings.iterdir())
        for row in rows:
            samples, _ = soundfile.read(self.recordings / f"{row['utt_id']}.wav", dtype="float32")
            assert float(row["score"]) == pytest.approx(tiny_repository.logits_of(samples)[1], abs=1e-5)


def test_a_cable_that_is_cut_for_ten_seconds(new_host, serve, recordings: Path, tmp_path: Path) -> None:
    host = new_host()
    serve(host)
    scoring = Scoring(recordings, tmp_path / "s.csv", f"{host.address}:{PORT}")
    scoring.wait_for_rows(N_REQUESTS // 4)
    host.cut()
    time.sleep(1)
    n_rows = scoring.out.read_bytes().count(b"\n")
    time.sleep(CUT_S - 1)
    assert scoring.out.read_bytes().count(b"\n") == n_rows < N_REQUESTS  # it was cut
    host.mend()
    scoring.check_all_rows()


def test_a_network_that_loses_a_tenth_of_all_packets(new_host, serve, recordings: Path, tmp_path: Path) -> None:
    host = new_host()
    serve(host)
    host.lose(10)
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(recordings.iterdir())[:N_ON_A_BAD_LINE]:
        (few / path.name).symlink_to(path)
    Scoring(few, tmp_path / "s.csv", f"{host.address}:{PORT}").check_all_rows()


def test_of_two_servers_one_whose_cable_is_cut_for_good(new_host, serve, recordings: Path, tmp_path: Path) -> None:
    """What was on its way there is sent to the other one, once its deadline has passed."""
    hosts_ = [new_host(), new_host()]
    for host in hosts_:
        serve(host)
    url = ",".join(f"{host.address}:{PORT}" for host in hosts_)
    scoring = Scoring(recordings, tmp_path / "s.csv", url, "--timeout=5")
    scoring.wait_for_rows(N_REQUESTS // 4)
    hosts_[0].cut()
    scoring.check_all_rows()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[[Host, Host], tuple[Path, Callable[[], subprocess.Popen[bytes]]]]]:
    """proxy(on, before) → who vouches for it, and what starts it."""
    nginx = which("nginx")
    if nginx is None:
        pytest.skip(str(missing_line("nginx-light")))
    started: list[subprocess.Popen[bytes]] = []

    def prepare(on: Host, before: Host) -> tuple[Path, Callable[[], subprocess.Popen[bytes]]]:
        authority, folder = trustme.CA(), tmp_path / "proxy"
        for name in ("tls", "run", "logs"):
            (folder / name).mkdir(parents=True)
        issued = authority.issue_cert(on.address)
        (folder / "tls/server.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(folder / "tls/server.key")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        files = {
            "nginx.conf": PROXY_CONFIG.read_text().replace("rate=200r/s", "rate=100000r/s"),
            "keys.conf": f'"{KEY}" someone;\n',
            "upstream.conf": f"server {before.address}:{PORT};\n",
            "listen.conf": f"listen {PROXY_PORT} ssl http2;\n",
            "clients.conf": "",
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        command = on.command(nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "logs/error.log", "-g", "daemon off;")

        def start() -> subprocess.Popen[bytes]:
            started.append(subprocess.Popen(command, start_new_session=True))
            return started[-1]

        return folder / "ca.pem", start

    yield prepare
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait()


def test_a_proxy_that_dies_and_comes_back(new_host, serve, proxy, recordings: Path, tmp_path: Path) -> None:
    server, front = new_host(), new_host()
    serve(server)
    authority, start = proxy(front, server)
    running = start()
    options = (f"--ca={authority}",)
    scoring = Scoring(recordings, tmp_path / "s.csv", f"{front.address}:{PROXY_PORT}", *options, key=KEY)
    scoring.wait_for_rows(N_REQUESTS // 4)
    os.killpg(running.pid, 9)  # its workers with it
    running.wait()
    time.sleep(3)
    start()
    scoring.check_all_rows()


def test_a_name_that_moves_to_another_server(new_host, serve, recordings: Path, tmp_path: Path) -> None:
    """The server that it named is gone for good."""
    first, second, client = new_host(), new_host(), new_host()
    running = serve(first)
    serve(second)
    client.name_addresses("triton.test", [first.address])
    scoring = Scoring(recordings, tmp_path / "s.csv", f"dns:///triton.test:{PORT}", on=client)
    scoring.wait_for_rows(N_REQUESTS // 4)
    client.name_addresses("triton.test", [second.address])
    running.terminate()
    assert scoring.process.poll() is None
    running.wait(60)
    scoring.check_all_rows()
