"""`score_frame`: a frame in, a frame out, from any storage; the workers of a cluster call nothing else."""

from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
import soundfile

import tiny_repository
from dfclient import Credentials, Detector, InputError, ModelChanged
from dfclient.batch import score_frame, score_set, spark_schema
from dfclient.clips import Clip
from dfcontract import score_file

RATE_HZ = 16_000


@pytest.fixture
def paths(recording):
    return [str(recording(f"{number}.wav", 0.6 + number / 10, seed=number)) for number in range(5)]


def score(frame, server, **options):
    return score_frame(frame, url=server.grpc_url, model="tiny_trained", **options)


def logits_of(path):
    samples, _ = soundfile.read(path, dtype="float32")
    return tiny_repository.logits_of(np.resize(samples, tiny_repository.WINDOW_SAMPLES))


def values_of(row):
    """What a row of a score file says; a frame has more digits of a number than the file's nine."""
    values = score_file.from_row({name: row[name] for name in score_file.NAMES})
    return {name: np.float32(value) if isinstance(value, float) else value for name, value in values.items()}


def test_a_frame_becomes_the_rows_of_a_score_file_and_keeps_its_own_columns(paths, tiny_server, tmp_path):
    given = pd.DataFrame({"label": list("abcde"), "path": paths, "weight": range(5)}, index=[7, 8, 9, 9, 1])
    found = score(given, tiny_server)
    assert list(found.columns) == [*score_file.NAMES, "error", "label", "weight"]
    assert list(found.index) == [7, 8, 9, 9, 1]
    assert list(found["label"]) == list("abcde")
    assert list(found["utt_id"]) == list(found["path"]) == paths
    assert set(found["error"]) == {""}
    np.testing.assert_allclose(found["score"], [logits_of(path)[1] for path in paths], atol=1e-5)

    found.to_csv(tmp_path / "frame.csv", index=False)
    with Detector(tiny_server.grpc_url, "tiny_trained") as detector:
        score_set(detector, [Clip(path, path) for path in paths], tmp_path / "set.csv")
    assert list(map(values_of, score_file.read(tmp_path / "frame.csv"))) == list(
        map(values_of, score_file.read(tmp_path / "set.csv"))
    )


def test_the_score_does_not_depend_on_how_the_rows_are_cut_into_frames(paths, tiny_server):
    given = pd.DataFrame({"path": paths})
    whole = score(given, tiny_server, mode="sliding", hop_s=0.1)
    parts = [score(given.iloc[start : start + 2], tiny_server, mode="sliding", hop_s=0.1) for start in (0, 2, 4)]
    pd.testing.assert_frame_equal(pd.concat(parts), whole)


def test_a_recording_that_cannot_be_scored_is_a_row_that_says_why(paths, tiny_server, tmp_path):
    (tmp_path / "empty.wav").touch()
    given = pd.DataFrame(
        {"path": [paths[0], "gone.wav", None, str(tmp_path / "empty.wav"), paths[1]], "utt_id": [11, 12, 13, 14, 15]}
    )
    found = score(given, tiny_server)
    assert list(found["utt_id"]) == ["11", "12", "13", "14", "15"]
    assert list(found["score"].isna()) == [False, True, True, True, False]
    assert list(found["n_windows"].isna()) == [False, True, True, True, False]
    words = ["", "No such file", "expected a path, found", "empty", ""]
    assert all(word in error for word, error in zip(words, found["error"], strict=True))
    assert set(found["model"]) == {"tiny_trained"}
    assert found["score"].iloc[-1] == pytest.approx(logits_of(paths[1])[1], abs=1e-5)


def test_every_frame_has_the_same_types_whatever_is_in_it(paths, tiny_server):
    frames = [score(pd.DataFrame({"path": part}), tiny_server) for part in (paths, ["gone.wav"], [None], [])]
    assert len({tuple(map(str, frame.dtypes)) for frame in frames}) == 1
    assert [len(frame) for frame in frames] == [5, 1, 1, 0]
    assert str(frames[0]["score"].dtype) == "float64"
    assert str(frames[0]["n_windows"].dtype) == "Int64"


def test_each_channel_has_a_row_beside_its_recording_s_columns(tiny_server, tmp_path, speechlike):
    call = np.stack([speechlike(20000, RATE_HZ, seed) for seed in (1, 2)], 1)
    soundfile.write(tmp_path / "call.wav", call, RATE_HZ)
    given = pd.DataFrame({"path": ["gone.wav", str(tmp_path / "call.wav")], "utt_id": ["a#9", "b"], "line": [4, 5]})
    found = score(given, tiny_server, channels="each")
    assert list(found["utt_id"]) == ["a#9", "b#1", "b#2"]
    assert list(found["line"]) == [4, 5, 5]
    assert found["score"].iloc[1] != found["score"].iloc[2]


@pytest.mark.parametrize("scheme", ["memory://frames/", "file://"])
def test_other_storage_gives_the_same_scores(paths, tiny_server, scheme, tmp_path):
    there = [f"{scheme}{tmp_path}/copy{number}.wav" for number in range(len(paths))]
    for path, remote in zip(paths, there, strict=True):
        with fsspec.open(remote, "wb") as target:
            target.write(Path(path).read_bytes())
    found = score(pd.DataFrame({"path": there}), tiny_server)
    assert list(found["path"]) == there
    np.testing.assert_array_equal(found["score"], score(pd.DataFrame({"path": map(Path, paths)}), tiny_server)["score"])


def test_what_a_storage_does_not_give_is_a_row_that_says_why(paths, tiny_server):
    with fsspec.open("memory://frames/noise.wav", "wb") as file:
        file.write(b"no audio at all" * 100)
    remote = ["memory://frames/gone.wav", "memory://frames/noise.wav", "nobody://a/b.wav", "memory://frames/"]
    found = score(pd.DataFrame({"path": [*remote, paths[0]]}), tiny_server)
    gone, noise, unknown, folder, good = found["error"]
    assert gone.startswith("cannot read it")
    assert noise.startswith("not readable as audio")
    assert "nobody" in unknown
    assert folder.startswith("cannot read it")
    assert good == ""


def test_without_fsspec_the_row_names_the_extra(tiny_server, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    (error,) = score(pd.DataFrame({"path": ["s3://bucket/a.wav"]}), tiny_server)["error"]
    assert "pip install 'dfserve[bulk]'" in error


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"file": ["a.wav"]}, {}, "expected the column 'path' with paths, found file"),
        ({"path": ["a.wav"], "score": [1.0]}, {}, "has the columns score already"),
        ({"path": ["a.wav"], "file": ["b.wav"]}, {"path_column": "file"}, "has the columns path already"),
        ({"path": ["a.wav"]}, {"hop_s": 1.0}, "hop"),
        ({"path": ["a.wav"]}, {"concurrency": 0}, "concurrency"),
    ],
)
def test_what_cannot_be_used_is_refused(tiny_server, frame, options, message):
    with pytest.raises(InputError, match=message):
        score(pd.DataFrame(frame), tiny_server, **options)


def test_a_job_ends_where_another_graph_answers_than_the_one_it_began_with(paths, tiny_server):
    frame = pd.DataFrame({"path": paths})
    identity = tiny_repository.IDENTITIES["tiny_trained"]
    assert len(score(frame, tiny_server, identity=identity)) == len(paths)
    with pytest.raises(ModelChanged, match=f"identity {identity + 1}, found {identity}"):
        score(frame, tiny_server, identity=identity + 1)


def test_the_key_is_the_worker_s_own(faulty_server, paths, monkeypatch, tmp_path):
    import grpc
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pairs = [(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())]
    server = faulty_server(credentials=grpc.ssl_server_credentials(pairs))
    monkeypatch.setenv("DFSERVE_API_KEY", "the-worker-s")
    credentials = Credentials(tls=True, ca=tmp_path / "ca.pem")
    found = score_frame(
        pd.DataFrame({"path": paths}), url=f"localhost:{server.port}", model="toy", credentials=credentials
    )
    assert set(found["error"]) == {""}
    assert {headers.get("x-api-key") for headers in server.triton.headers} == {"the-worker-s"}


def test_a_process_keeps_its_connection(faulty_server, paths):
    server = faulty_server()
    for path in paths:
        score_frame(pd.DataFrame({"path": [path]}), url=server.url, model="toy")
    assert server.triton.calls["ModelConfig"] == 1
    assert server.triton.calls["ModelInfer"] == len(paths)


@pytest.mark.parametrize("with_identity", [False, True])
def test_a_process_goes_on_with_the_checkpoint_that_a_server_was_given(faulty_server, paths, with_identity):
    """One frame says that it was exchanged; a job that names the new one's identity has nothing to say."""
    server, frame = faulty_server(), pd.DataFrame({"path": paths})
    server.triton.identity = server.triton.answers_as = 11
    assert set(score_frame(frame, url=server.url, model="toy")["identity"]) == {"11"}
    server.triton.identity = server.triton.answers_as = 22
    if not with_identity:
        with pytest.raises(ModelChanged, match="expected answers with identity 11, found 22"):
            score_frame(frame, url=server.url, model="toy")
    options = {"identity": 22} if with_identity else {}
    assert set(score_frame(frame, url=server.url, model="toy", **options)["identity"]) == {"22"}
    with pytest.raises(ModelChanged, match="expected the graph with identity 11, found 22"):
        score_frame(frame, url=server.url, model="toy", identity=11)


def test_spark_is_told_the_columns_and_the_frame_s_own(paths, tiny_server):
    found = score(pd.DataFrame({"path": paths, "label": "x"}), tiny_server)
    told = dict(pair.split(" ") for pair in spark_schema("label string").split(", "))
    assert list(told) == list(found.columns)
    kinds = {"float64": "double", "Int64": "bigint"}
    assert told == {name: kinds.get(str(kind), "string") for name, kind in found.dtypes.items()}
