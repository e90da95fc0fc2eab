"""`score_frame` on Ray Data and on Spark, on this machine: workers die, and each recording has one row."""

import importlib.util
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import tiny_repository
from dfclient.batch import score_frame, spark_schema
from dfexport.signals import wave

pytestmark = pytest.mark.slow
N_RECORDINGS, BATCH_SIZE = 200, 25


def needs(module: str, package: str) -> pytest.MarkDecorator:
    line = f"missing: {module}; run pip install -c constraints.txt '{package}'"
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=line)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Paths, each recording's own score, and a label."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = []
    for number in range(N_RECORDINGS):
        samples = np.clip(wave(number + 1, 16_000), -1, 1)
        soundfile.write(path := folder / f"{number}.wav", samples, 16_000, subtype="FLOAT")
        rows.append((str(path), float(tiny_repository.logits_of(samples)[1]), f"label {number}"))
    return pd.DataFrame(rows, columns=["path", "expected", "label"])


def check(found: pd.DataFrame, recordings: pd.DataFrame) -> None:
    """Each recording has one row, with its own score, by one graph."""
    assert sorted(found["path"]) == sorted(recordings["path"])
    assert set(found["error"]) == {""}
    np.testing.assert_allclose(found["score"], found["expected"], atol=1e-5)
    assert set(found["identity"]) == {str(tiny_repository.IDENTITIES["tiny"])}
    assert dict(zip(found["path"], found["label"], strict=True)) == dict(
        zip(recordings["path"], recordings["label"], strict=True)
    )


def scored_and_killed_once(frame: pd.DataFrame, *, url: str, folder: Path, victim: str) -> pd.DataFrame:
    """`score_frame`, but the first worker with the victim's batch dies when it has its scores and hands in none.

    The first worker waits until there is a second one: else a quick one does all the work alone.
    """
    (folder / f"worker-{os.getpid()}").touch()
    while len([*folder.glob("worker-*")]) < 2:  # pytest's limit ends it
        time.sleep(0.01)
    scored = score_frame(frame, url=url, model="tiny")
    if victim in set(frame["path"]):
        killed = folder / "killed"
        if not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
    return scored


def workers_of(folder: Path) -> tuple[set[int], int]:
    """Process ids of all workers, and that of the one that was killed."""
    workers = {int(path.name.partition("-")[2]) for path in folder.glob("worker-*")}
    return workers, int((folder / "killed").read_text())


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find this project where this process does: by its path, and in its environment."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)


@pytest.fixture
def ray(importable: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    yield ray
    ray.shutdown()


@needs("ray", "ray[data]")
def test_a_worker_of_ray_that_is_killed_costs_no_recording_and_doubles_none(
    ray, recordings: pd.DataFrame, tiny_server, tmp_path: Path
) -> None:
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    victim = recordings["path"][N_RECORDINGS // 2]
    options = {"url": tiny_server.grpc_url, "folder": tmp_path, "victim": victim}
    scored = (
        ray.data.from_pandas(recordings)
        .repartition(N_RECORDINGS // BATCH_SIZE)
        .map_batches(scored_and_killed_once, fn_kwargs=options, batch_format="pandas", batch_size=BATCH_SIZE)
        .to_pandas()
    )
    check(scored, recordings)
    workers, killed = workers_of(tmp_path)
    assert killed in workers
    assert len(workers) >= 2


@pytest.fixture
def spark(importable: None) -> Iterator[object]:
    if shutil.which("java") is None:
        pytest.skip("missing: a Java runtime for Spark; run apt-get install default-jre-headless")
    from pyspark.sql import SparkSession

    # In a local Spark a task that fails is only tried again where the master says how often.
    session = (
        SparkSession.builder.master("local[2,4]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.memory", "512m")
        .getOrCreate()
    )
    yield session
    session.stop()


@needs("pyspark", "pyspark")
def test_a_worker_of_spark_that_is_killed_costs_no_recording_and_doubles_none(
    spark, recordings: pd.DataFrame, tiny_server, tmp_path: Path
) -> None:
    import pyspark.cloudpickle

    pyspark.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    victim = recordings["path"][N_RECORDINGS // 2]
    score = partial(scored_and_killed_once, url=tiny_server.grpc_url, folder=tmp_path, victim=victim)

    def score_partition(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            yield score(frame)

    rows = spark.createDataFrame(recordings).repartition(N_RECORDINGS // BATCH_SIZE)
    scored = rows.mapInPandas(score_partition, spark_schema("expected double, label string"))
    check(scored.toPandas(), recordings)
    workers, killed = workers_of(tmp_path)
    assert killed in workers
    assert len(workers) >= 2
