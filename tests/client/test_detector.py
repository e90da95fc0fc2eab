"""`Detector` against a real Triton that serves two tiny models of known form."""

import io

import numpy as np
import pytest
import soundfile

import audio_forms
from dfclient import AudioError, Clip, Detector, Failed, InputError, Score
from dfclient.errors import ContractError, ModelNotFound, RequestRefused
from dfcontract.windows import pool_scores

WINDOW_SAMPLES = 16000
RATE_HZ = 16000


@pytest.fixture(scope="module")
def detector(tiny_server):
    with Detector(tiny_server.grpc_url, "tiny_trained") as connected:
        yield connected


def test_the_card_comes_from_the_server(tiny_server, detector):
    assert detector.card.model == "tiny_trained"
    assert detector.card.version == "1"
    assert (detector.card.sample_rate_hz, detector.card.window_samples) == (RATE_HZ, WINDOW_SAMPLES)
    assert detector.card.weights == "custom"
    assert detector.card.threshold is not None
    assert detector.card.threshold_source
    with Detector(tiny_server.grpc_url, "tiny") as other:
        assert other.card.is_random


def test_infer_keeps_order_and_scores_do_not_depend_on_neighbours(detector, speechlike):
    clips = np.stack([speechlike(WINDOW_SAMPLES, RATE_HZ, seed) for seed in range(40)])
    logits, scores = detector.infer(clips, concurrency=16)
    assert (logits.shape, scores.shape) == ((40, 2), (40,))
    assert (logits.dtype, scores.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(scores, logits[:, 1])
    alone = [detector.infer(clip[np.newaxis], concurrency=1)[1][0] for clip in clips]
    np.testing.assert_allclose(scores, alone, atol=1e-5)
    assert len(set(scores.tolist())) == 40


def test_infer_of_nothing(detector):
    logits, scores = detector.infer(np.empty((0, WINDOW_SAMPLES), np.float32))
    assert (logits.shape, scores.shape) == ((0, 2), (0,))


def test_infer_refuses_other_shapes(detector):
    with pytest.raises(InputError, match=rf"expected windows of shape \(n, {WINDOW_SAMPLES}\), found \(2, 5\)"):
        detector.infer(np.zeros((2, 5)))


def test_nan_is_refused_by_the_server_and_neighbours_are_not(detector, speechlike):
    good = speechlike(WINDOW_SAMPLES, RATE_HZ)
    with pytest.raises(RequestRefused):
        detector.infer(np.stack([good, np.full_like(good, np.nan), good]))
    assert np.isfinite(detector.infer(good[np.newaxis])[1]).all()


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.7])
def test_protocol_scores_one_window(detector, recording, seconds):
    path = recording("a.flac", seconds)
    result = detector.score(path)
    samples = soundfile.read(path, dtype="float32")[0]
    expected = np.tile(samples, 5)[:WINDOW_SAMPLES] if seconds < 1 else samples[:WINDOW_SAMPLES]
    logits, scores = detector.infer(expected[np.newaxis])
    assert result.score == scores[0]
    (window,) = result.windows
    assert window.logits == tuple(logits[0].tolist())
    assert (window.start_s, window.end_s) == (0.0, min(seconds, 1.0))
    assert (result.mode, result.pool, result.hop_s) == ("protocol", "", None)
    assert (result.utt_id, result.path, result.duration_s) == ("a", str(path), pytest.approx(seconds))
    assert result.card is detector.card
    assert any("short" in warning for warning in result.warnings) == (seconds < 0.5)


@pytest.mark.parametrize("pool", ["mean", "min", "p10"])
def test_sliding_scores_every_window_and_pools(detector, speechlike, pool):
    samples = speechlike(int(3.3 * RATE_HZ), RATE_HZ)
    result = detector.score(samples, RATE_HZ, mode="sliding", hop_s=0.4, pool=pool)
    starts = [0, 6400, 12800, 19200, 25600, 32000, 36800]
    assert [window.start_s for window in result.windows] == [start / RATE_HZ for start in starts]
    assert result.windows[-1].end_s == 3.3
    _, scores = detector.infer(np.stack([samples[start : start + WINDOW_SAMPLES] for start in starts]))
    assert [window.score for window in result.windows] == scores.tolist()
    assert result.score == pool_scores(scores, pool)
    assert (result.mode, result.pool, result.hop_s) == ("sliding", pool, 0.4)


def test_a_recording_may_be_a_path_bytes_an_open_file_or_an_array(detector, recording):
    path = recording("a.wav", 1.7, channels=2)
    expected = detector.score(path)
    content = path.read_bytes()
    samples, rate_hz = soundfile.read(path, dtype="float32")
    with path.open("rb") as file:
        many = [str(path), content, io.BytesIO(content), file, (samples, rate_hz), Clip(str(path), "named")]
        results = list(detector.score_many(many))
    assert [result.score for result in results] == [expected.score] * 6
    assert [result.utt_id for result in results] == ["a", "bytes_1", "file_2", "file_3", "array_4", "named"]
    assert [result.path for result in results] == [str(path), "", "", "", "", str(path)]
    assert {(result.sample_rate_hz, result.channels, result.duration_s) for result in results} == {(rate_hz, 2, 1.7)}
    for one in (content, io.BytesIO(content), (samples, rate_hz)):
        assert detector.score(one).score == expected.score


def test_a_container_may_come_as_bytes(detector, speechlike, tmp_path):
    av = pytest.importorskip("av", reason="the extra `containers` is not installed")
    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(speechlike(32000, 16000)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    from_path = detector.score(tmp_path / "a.m4a")
    assert detector.score((tmp_path / "a.m4a").read_bytes()).score == from_path.score


@pytest.mark.parametrize(
    ("one", "error", "words"),
    [
        (b"", AudioError, "no bytes"),
        (b"no audio", AudioError, "not"),
        (io.BytesIO(), AudioError, r"seek\(0\)"),
        (io.StringIO("text"), InputError, "'rb'"),
        ("a\0b.wav", AudioError, "cannot read it"),
        ("a" * 5000, AudioError, "cannot read it"),
    ],
)
def test_what_is_no_recording_is_one_line(detector, one, error, words):
    with pytest.raises(error, match=words):
        detector.score(one)


def test_a_name_that_is_not_utf8_can_be_scored(detector, recording, tmp_path):
    odd = tmp_path / b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    recording("a.wav").rename(odd)
    assert detector.score(odd).path == str(odd)


def test_other_rates_and_channels_score_the_same_sound(detector, speechlike):
    at_16k = detector.score(speechlike(32000, 16000), 16000, mode="sliding")
    stereo = np.repeat(speechlike(96000, 48000)[:, np.newaxis], 2, axis=1)
    at_48k = detector.score(stereo, 48000, mode="sliding")
    assert (at_48k.sample_rate_hz, at_48k.channels, at_48k.duration_s) == (48000, 2, 2.0)
    assert at_48k.score == pytest.approx(at_16k.score, abs=2e-3)


def test_many_keep_their_order_with_failures_in_place(detector, recording, tmp_path):
    good = [recording(f"{i}.wav", 0.6 + 0.3 * (i % 5), seed=i) for i in range(30)]
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    clips = [*good[:10], tmp_path / "bad.wav", *good[10:], Clip("gone.wav", "named")]
    results = list(detector.score_many(clips, mode="sliding", hop_s=0.25, concurrency=8))
    assert [result.path for result in results] == [str(c.path if isinstance(c, Clip) else c) for c in clips]
    failed = [result for result in results if isinstance(result, Failed)]
    assert [(result.utt_id, type(result.error)) for result in failed] == [("bad", AudioError), ("named", AudioError)]
    for result in (results[0], results[20]):
        assert isinstance(result, Score)
        assert result.score == pytest.approx(
            detector.score(result.path, mode="sliding", hop_s=0.25, concurrency=1).score, abs=1e-5
        )


def test_clips_are_read_lazily_and_may_be_left_early(detector, speechlike):
    taken = []

    def clips():
        for number in range(1000):
            taken.append(number)
            yield speechlike(WINDOW_SAMPLES, RATE_HZ, number), RATE_HZ

    results = detector.score_many(clips(), concurrency=2)
    first = next(iter(results))
    results.close()
    assert first.utt_id == "array_0"
    assert len(taken) < 20
    assert detector.score(speechlike(WINDOW_SAMPLES, RATE_HZ), RATE_HZ).score


def test_errors_of_one_recording_are_raised(detector, tmp_path):
    with pytest.raises(AudioError, match="No such file"):
        detector.score(tmp_path / "gone.wav")
    with pytest.raises(AudioError, match="NaN"):
        detector.score(np.array([0.0, np.nan]), RATE_HZ)
    with pytest.raises(InputError, match="sample_rate_hz"):
        detector.score(np.zeros(100))
    with pytest.raises(InputError, match=r"use score_many\(\[recording\]"):
        detector.score(np.zeros(100), RATE_HZ, channels="each")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "both"}, "mode"),
        ({"hop_s": 1.0}, "belong to sliding"),
        ({"pool": "min"}, "belong to sliding"),
        ({"mode": "sliding", "hop_s": 0.0}, "hop"),
        ({"mode": "sliding", "hop_s": 1.01}, "hop of 1 to 16000"),
        ({"mode": "sliding", "hop_s": float("nan")}, "seconds"),
        ({"mode": "sliding", "pool": "max"}, "pool"),
        ({"concurrency": 0}, "concurrency"),
        ({"channels": "left"}, "expected channels mix, each or a number"),
        ({"channels": 0}, "expected channels"),
        ({"track": 0}, "track"),
        ({"concurrency": 10_000}, "concurrency"),
    ],
)
def test_options_that_cannot_be_are_refused_at_the_call(detector, options, words):
    with pytest.raises(InputError, match=words):
        detector.score_many([], **options)


@pytest.fixture
def call(tmp_path, speechlike):
    """A call's two sides, and a third channel: 1.7 s at 16 kHz, three channels."""
    channels = [speechlike(27200, RATE_HZ, seed) for seed in (1, 2, 3)]
    soundfile.write(tmp_path / "call.wav", np.stack(channels, 1), RATE_HZ, subtype="FLOAT")
    return tmp_path / "call.wav", channels


@pytest.mark.parametrize("mode", ["protocol", "sliding"])
def test_each_channel_gets_a_score_of_its_own(detector, call, recording, mode):
    path, channels = call
    mono = recording("mono.wav")
    results = list(detector.score_many([path, "gone.wav", Clip(str(mono), "m")], mode=mode, channels="each"))
    assert [result.utt_id for result in results] == ["call#1", "call#2", "call#3", "gone", "m#1"]
    assert [result.path for result in results] == [str(path)] * 3 + ["gone.wav", str(mono)]
    for number, (result, samples) in enumerate(zip(results, channels, strict=False), 1):
        assert (result.channel, result.channels) == (number, 3)
        assert result.score == detector.score(samples, RATE_HZ, mode=mode).score
        assert detector.score(path, mode=mode, channels=number).score == result.score
    assert len({result.score for result in results[:3]}) == 3
    array = np.stack(channels, 1)
    assert [result.utt_id for result in detector.score_many([(array, RATE_HZ)], channels="each")] == [
        "array_0#1",
        "array_0#2",
        "array_0#3",
    ]


def test_what_a_decoder_says_is_in_the_score(detector, call):
    result = detector.score(call[0])
    assert result.warnings == ("3 channels, and the file does not say of what: their mean was scored",)
    assert result.channel is None


def test_a_track_by_number_or_language(detector, tmp_path):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    tracks = [audio_forms.speechlike(32000, RATE_HZ, seed) for seed in (1, 2)]
    audio_forms.write_tracks(tmp_path / "a.mkv", tracks, RATE_HZ, "flac", languages=("eng", "deu"), default=1)
    scores = [detector.score(samples, RATE_HZ).score for samples in tracks]
    assert detector.score(tmp_path / "a.mkv").score == pytest.approx(scores[1], abs=1e-5)
    assert detector.score(tmp_path / "a.mkv", track=1).score == pytest.approx(scores[0], abs=1e-5)
    (german,) = detector.score_many([tmp_path / "a.mkv"], track="deu")
    assert german.score == pytest.approx(scores[1], abs=1e-5)
    assert "2 audio tracks" in german.warnings[0]
    with pytest.raises(AudioError, match="expected track 3"):
        detector.score(tmp_path / "a.mkv", track=3)


def test_a_model_of_live_streams_says_which_to_name(tiny_server):
    with pytest.raises(ContractError, match="name 'tiny_trained', for dfclient score and dfclient stream alike"):
        Detector(tiny_server.grpc_url, "tiny_trained_live")
    with pytest.raises(ModelNotFound, match="it serves: tiny, tiny_trained"):
        Detector(tiny_server.grpc_url, "other_live")
