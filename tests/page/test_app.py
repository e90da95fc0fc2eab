"""The page's addresses, in front of a real server: the same scores as `dfclient score`, limits, and nothing kept."""

import csv
import io
import json
import os
import struct
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import pytest
import soundfile

import tiny_repository
from dfclient import Detector
from dfclient.audio import load
from dfclient.cli.main import main as dfclient
from dfcontract.calibration import Calibration, Threshold
from dfcontract.score_file import NAMES, from_row
from dfdeploy.embedded import Server

AWAY = "127.0.0.1:9"


def post(client, path: str, file: Path, **parameters: str):
    return client.post(path, params={"name": file.name, **parameters}, content=file.read_bytes())


def kept() -> list[Path]:
    """What lies in the private folders of this process's pages; another's may be at work."""
    return [path for folder in Path(gettempdir()).glob(f"dfpage-{os.getpid()}-*") for path in folder.iterdir()]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("human.flac", {}),
        ("human.flac", {"hop": "0.5", "pool": "p10"}),
        ("synthetic.wav", {"channels": "2", "pool": "min"}),
    ],
)
def test_scores_are_dfclients(client_of, tiny_server, recordings, name, options):
    found = post(client_of(tiny_server.grpc_url), "/api/score", recordings / name, model="tiny_trained", **options)
    assert found.status_code == 200, found.text
    with Detector(tiny_server.grpc_url, "tiny_trained") as detector:
        hop = {"hop_s": float(options["hop"])} if "hop" in options else {}
        channels = options.get("channels", "mix")
        expected = detector.score(
            recordings / name,
            mode="sliding",
            pool=options.get("pool"),
            channels=int(channels) if channels.isdecimal() else channels,
            **hop,
        )
    answer = found.json()
    assert answer["score"] == pytest.approx(expected.score, abs=1e-6)
    assert [window[:2] for window in answer["windows"]] == [[w.start_s, w.end_s] for w in expected.windows]
    np.testing.assert_allclose([w[2] for w in answer["windows"]], [w.score for w in expected.windows], atol=1e-6)
    assert answer["row"]["path"] == name
    assert answer["card"]["threshold"] == 0.25
    assert not kept()


def test_rows_are_the_score_file_of_dfclient(client_of, tiny_server, recordings, tmp_path, monkeypatch):
    client, names = client_of(tiny_server.grpc_url), ["synthetic.wav", "human.flac"]
    rows = [post(client, "/api/score", recordings / name, model="tiny").json()["row"] for name in names]
    written = client.post("/api/rows", content=json.dumps(rows))
    assert written.status_code == 200
    monkeypatch.chdir(recordings)
    out = tmp_path / "scores.csv"
    command = [
        "score",
        *names,
        "--model",
        "tiny",
        "--mode",
        "sliding",
        "--url",
        tiny_server.grpc_url,
        "--out",
        str(out),
    ]
    assert dfclient(command) == 0
    assert_same_rows(written.content, out.read_bytes())


def assert_same_rows(found: bytes, expected: bytes) -> None:
    """Every column's text is the same, but that batches of another size move a score's last digits."""
    tables = [list(csv.DictReader(io.StringIO(text.decode(), newline=""))) for text in (found, expected)]
    assert found.splitlines()[0] == expected.splitlines()[0]
    for ours, theirs in zip(*tables, strict=True):
        scored = {"score", "window_scores", "llr"}
        assert {k: v for k, v in ours.items() if k not in scored} == {
            k: v for k, v in theirs.items() if k not in scored
        }
        for name in ("score", "window_scores"):
            np.testing.assert_allclose(from_row(ours)[name], from_row(theirs)[name], atol=1e-6)


@pytest.mark.parametrize("rows", ["", "{}", "[1]", "[{}]", json.dumps([dict.fromkeys(NAMES, 1)])])
def test_rows_that_are_none_are_refused(client_of, rows):
    response = client_of(AWAY).post("/api/rows", content=rows)
    assert response.status_code == 400
    assert response.json()["error"].startswith("expected a list of rows")


def test_status_names_detectors_and_limits(client_of, tiny_server):
    found = client_of(tiny_server.grpc_url, max_bytes=1000, max_s=9).get("/api/status").json()
    assert (found["is_live"], found["max_bytes"], found["max_s"]) == (True, 1000, 9)
    assert ".flac" in found["suffixes"]
    tiny, trained = found["detectors"]
    assert (tiny["name"], tiny["is_random"], tiny["threshold"], tiny["takes_streams"]) == ("tiny", True, None, True)
    assert (trained["name"], trained["threshold"], trained["threshold_source"]) == (
        "tiny_trained",
        0.25,
        "a made-up set",
    )


def test_a_server_that_is_away_is_said_plainly(client_of, recordings):
    client = client_of(AWAY)
    status = client.get("/api/status").json()
    assert not status["is_live"]
    assert "no Triton server answers at 127.0.0.1:9" in status["reason"]
    response = post(client, "/api/score", recordings / "human.flac", model="tiny")
    assert response.status_code == 503
    assert response.json()["kind"] == "ServerUnavailable"
    assert not kept()


def test_a_model_that_is_away_lists_those_that_are_there(client_of, tiny_server, recordings):
    response = post(client_of(tiny_server.grpc_url), "/api/score", recordings / "human.flac", model="aasist")
    assert response.status_code == 503
    assert "it serves: tiny, tiny_trained" in response.json()["error"]


@pytest.mark.parametrize("path", ["/api/score", "/api/audio", "/api/speech"])
def test_what_is_no_audio_is_refused_by_its_own_name(client_of, tiny_server, recordings, path):
    response = post(client_of(tiny_server.grpc_url), path, recordings / "no_audio.wav", model="tiny")
    assert response.status_code == 422
    assert "not readable as audio" in response.json()["error"]
    assert gettempdir() not in response.text
    assert not kept()


@pytest.mark.parametrize(
    "parameters", [{"model": "tiny", "hop": "x"}, {"model": "tiny", "hop": "9"}, {"model": "tiny", "pool": "best"}, {}]
)
def test_options_that_cannot_be_are_refused(client_of, tiny_server, recordings, parameters):
    response = post(client_of(tiny_server.grpc_url), "/api/score", recordings / "human.flac", **parameters)
    assert response.status_code in (400, 422)
    assert response.json()["error"].startswith("expected")


@pytest.mark.parametrize("is_stated", [True, False])
def test_large_files_are_refused_whether_their_size_is_stated_or_not(client_of, recordings, is_stated):
    content = (recordings / "human.flac").read_bytes()
    client = client_of(AWAY, max_bytes=10_000)
    body = content if is_stated else iter([content[:5000], content[5000:]])
    response = client.post("/api/audio?name=a.flac", content=body)
    assert response.status_code == 413
    assert "at most 0.01 MB" in response.json()["error"]
    assert not kept()


def test_a_small_file_of_many_hours_is_refused_before_it_is_decoded_whole(client_of, tiny_server, tmp_path):
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(1000 * 1000, np.int16), 1000)
    assert path.stat().st_size < 50_000
    client = client_of(tiny_server.grpc_url, max_s=120)
    for where in ("/api/score", "/api/audio", "/api/speech"):
        response = post(client, where, path, model="tiny")
        assert response.status_code == 413
        assert "at most 2 minutes" in response.json()["error"]


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0.wav"])
def test_a_file_needs_a_name(client_of, name):
    assert client_of(AWAY).post("/api/audio", params={"name": name}, content=b"x").status_code == 400


@pytest.mark.parametrize("name", ["../../../etc/cron.d/x.flac", "/etc/x.flac", "a.fl/../ac", "<img src=x>.flac"])
def test_a_name_is_no_path_of_ours(client_of, recordings, name):
    content = (recordings / "human.flac").read_bytes()
    response = client_of(AWAY).post("/api/audio", params={"name": name}, content=content)
    assert response.status_code == 200
    assert not kept()


def test_the_audio_is_what_detectors_hear(client_of, recordings):
    content = post(client_of(AWAY), "/api/audio", recordings / "synthetic.wav").content
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    samples = np.frombuffer(content, "<i2", offset=4 + length) * header["peak"] / 32_767
    heard = load(recordings / "synthetic.wav", 16_000)
    assert (header["rate_hz"], header["source_channels"], header["duration_s"]) == (16_000, 2, heard.duration_s)
    np.testing.assert_allclose(samples, heard.samples, atol=header["peak"] / 32_767)
    assert length % 4 == 0


def test_speech_and_silence_are_found(client_of, recordings, tmp_path):
    human, rate_hz = soundfile.read(recordings / "human.flac")
    path = tmp_path / "speech.flac"
    soundfile.write(path, np.concatenate([np.zeros(2 * rate_hz), human, np.zeros(3 * rate_hz)]), rate_hz)
    lines = post(client_of(AWAY), "/api/speech", path).text.splitlines()
    found = json.loads(lines[-1])
    assert found["done_s"] == pytest.approx(2 + len(human) / rate_hz + 3)
    spoken = sum(stop - start for start, stop in found["speech"])
    assert spoken > 0.6 * len(human) / rate_hz
    assert found["speech"][0][0] > 1.9
    assert found["speech"][-1][1] < 2 + len(human) / rate_hz + 0.3
    (first, *_, last) = found["silence"]
    assert first == pytest.approx([0, 2], abs=0.11)
    assert last[1] - last[0] == pytest.approx(3, abs=0.2)


def test_the_microphones_windows_are_those_of_its_recording(client_of, tiny_server, recordings):
    human, _ = soundfile.read(recordings / "human.flac", dtype="int16")
    client = client_of(tiny_server.grpc_url)
    with client.websocket_connect("ws://127.0.0.1:8010/api/live?model=tiny_trained&hop=0.5") as live:
        live.send_text(json.dumps({"rate_hz": 16_000}))
        for start in range(0, len(human), 1600):
            live.send_bytes(human[start : start + 1600].astype("<i2").tobytes())
        live.send_text("end")
        windows, is_above = [], []
        while "result" not in (message := live.receive_json()):
            if "window" in message:
                windows.append(message["window"])
                is_above.append((message["pooled"], message["is_above"]))
    with Detector(tiny_server.grpc_url, "tiny_trained") as detector:
        assert is_above == [(pooled, pooled >= detector.card.threshold) for pooled, _ in is_above]
        expected = detector.score(human, 16_000, mode="sliding", hop_s=0.5)
    np.testing.assert_allclose(windows, [[w.start_s, w.end_s, w.score] for w in expected.windows], atol=1e-5)
    assert message["result"]["score"] == pytest.approx(expected.score, abs=1e-5)


@pytest.mark.parametrize(("fitted_on", "is_above"), [("protocol", None), ("sliding, mean, hop 0.5 s", True)])
def test_a_calibration_of_other_cuts_takes_no_side_while_one_speaks(client_of, tmp_path, fitted_on, is_above):
    about = {"protocol": "a made-up set", "windows": fitted_on}
    parameters = {"slope": 1.0, "intercept": 0.0}
    calibration = Calibration("affine", parameters, Threshold(-99.0, -99.0, "made up"), "net", None, None, about, {})
    with Server(tiny_repository.write(tmp_path / "models", calibration)) as server:
        client = client_of(server.grpc_url)
        with client.websocket_connect("ws://127.0.0.1:8010/api/live?model=tiny_trained&hop=0.5") as live:
            live.send_text(json.dumps({"rate_hz": 16_000}))
            live.send_bytes(bytes(64_000))
            live.send_text("end")
            messages = []
            while "result" not in (message := live.receive_json()):
                messages.append(message)
    assert [message["is_above"] for message in messages if "window" in message] == [is_above] * 3


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        (['{"rate_hz": "x"}'], "rate_hz"),
        (['{"rate_hz": 5}'], "expected a sample rate"),
        (['{"rate_hz": 16000}', b"odd"], "expected chunks of int16"),
        (['{"rate_hz": 16000}', bytes(2 << 20)], "expected chunks of int16"),
        (['{"rate_hz": 16000}', bytes(64_000), bytes(64_000)], "at most 0.025 minutes"),
        (['{"rate_hz": 16000}', "end"], "no samples"),
    ],
)
def test_a_stream_that_cannot_be_is_told_why(client_of, tiny_server, messages, error):
    client = client_of(tiny_server.grpc_url, max_s=1.5)
    with client.websocket_connect("ws://127.0.0.1:8010/api/live?model=tiny") as live:
        for message in messages:
            live.send_text(message) if isinstance(message, str) else live.send_bytes(message)
        while "error" not in (answer := live.receive_json()):
            assert "window" in answer
    assert error in answer["error"]
