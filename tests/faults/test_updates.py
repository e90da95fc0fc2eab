"""A model is updated under load: the second beside the first, one server after the other; no request fails."""

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tiny_repository
from dfclient import Detector, RetryPolicy
from dfdeploy.embedded import Server
from dfexport.signals import wave

pytestmark = pytest.mark.faults
W, RATE_HZ = tiny_repository.WINDOW_SAMPLES, 16_000
N_CLIENTS = 4
# Before the next server goes, as deploy/kubernetes has it: a client tries an address that refused it once a second.
READY_FOR_S = 5


@pytest.fixture
def first_models(tmp_path: Path) -> Path:
    """`tiny` alone."""
    return without(tiny_repository.write(tmp_path / "first"), "tiny_trained")


def without(repository: Path, name: str) -> Path:
    for model in (name, f"{name}_live"):
        shutil.rmtree(repository / model)
    return repository


class Load:
    """Clients that score without a pause, by a detector of a name, until they are told to stop."""

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = url, model
        self.window = np.clip(wave(1, W), -1, 1)
        self.expected = float(tiny_repository.logits_of(self.window)[1])
        self.stopped = threading.Event()
        self.counts = [0] * N_CLIENTS
        self.failures: list[BaseException] = []

    def run(self, number: int) -> None:
        try:
            self._score_until_stopped(number)
        except BaseException as failure:
            self.failures.append(failure)
            raise

    def _score_until_stopped(self, number: int) -> None:
        # It tries no server again: what one of two does not take, the other one does at once.
        with Detector(self.url, self.model, retry=RetryPolicy(wait_s=0, busy_s=0, slow_attempts=1)) as detector:
            while not self.stopped.is_set():
                assert detector.score(self.window, RATE_HZ).score == pytest.approx(self.expected, abs=1e-5)
                self.counts[number] += 1

    def wait_for_more(self) -> None:
        """Until each client has had answers once more."""
        before = [*self.counts]
        deadline_s = time.monotonic() + 60
        while not all(now > then for now, then in zip(self.counts, before, strict=True)):
            assert not self.failures
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


class Place:
    """A server at one address, whatever runs there."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.server = Server(repository)
        self.server.start()
        self.url = self.server.grpc_url

    def restart(self, load: Load) -> None:
        """As a rolling update does: drain, stop, serve what the repository now holds; the load goes on meanwhile."""
        load.wait_for_more()
        self.server.stop()
        load.wait_for_more()
        self.server = Server(self.repository, grpc_port=int(self.url.rpartition(":")[2]))
        self.server.start()
        time.sleep(READY_FOR_S)
        load.wait_for_more()


@pytest.fixture
def places(first_models: Path) -> Iterator[list[Place]]:
    started: list[Place] = []
    try:
        for _ in range(2):
            started.append(Place(first_models))
        yield started
    finally:
        for place in started:
            place.server.stop()


def test_a_second_model_comes_and_the_first_one_goes_and_no_request_fails(
    places: list[Place], first_models: Path, tmp_path: Path
) -> None:
    url = ",".join(place.url for place in places)
    second = without(tiny_repository.write(tmp_path / "second"), "tiny")
    with ThreadPoolExecutor(2 * N_CLIENTS) as pool:
        first, newer = Load(url, "tiny"), Load(url, "tiny_trained")
        try:
            olds = [pool.submit(first.run, number) for number in range(N_CLIENTS)]
            for model in second.iterdir():
                model.rename(first_models / model.name)
            for place in places:
                place.restart(first)
            # Both serve both: who begins now takes the second, who began before stays with the first until he is done.
            news = [pool.submit(newer.run, number) for number in range(N_CLIENTS)]
            newer.wait_for_more()
            first.wait_for_more()
            first.stopped.set()
            for client in olds:
                client.result(60)
            without(first_models, "tiny")
            for place in places:
                place.restart(newer)
        finally:
            first.stopped.set()
            newer.stopped.set()
        for client in news:
            client.result(60)
