"""Decoding and doubling at the server, against libsndfile and soxr, which the client uses."""

import io

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from dfdeploy.backends.live.errors import StreamError
from dfdeploy.backends.live.telephony import REACH_SAMPLES, TABLES, Decoder, Doubler


@pytest.mark.parametrize(("encoding", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW")])
def test_every_code_is_what_libsndfile_says(encoding: str, subtype: str) -> None:
    raw = io.BytesIO(bytes(range(256)))
    expected, _ = soundfile.read(raw, format="RAW", subtype=subtype, samplerate=8000, channels=1, dtype="float32")
    np.testing.assert_array_equal(TABLES[encoding], expected)


def telephone_speech(n_samples: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    time_s = np.arange(n_samples) / 8000
    tones = [0.1 * np.sin(2 * np.pi * rng.uniform(200, 3400) * time_s + rng.uniform(0, 6)) for _ in range(8)]
    return np.sum(tones, axis=0).astype(np.float32)


def doubled(chunks: list[np.ndarray]) -> np.ndarray:
    doubler = Doubler()
    return np.concatenate([*(doubler.push(chunk) for chunk in chunks), doubler.flush()])


def test_doubling_is_in_step_with_soxr() -> None:
    """Within 2e-5 on what a telephone carries; at the recording's edges each filter has its own ringing."""
    samples = telephone_speech(16_000)
    edge = 400
    found, expected = doubled([samples]), soxr.resample(samples, 8000, 16000, quality="HQ")
    assert len(found) == len(expected) == 32_000
    np.testing.assert_allclose(found[edge:-edge], expected[edge:-edge], atol=2e-5)


def test_images_above_the_telephone_band_are_80_db_down() -> None:
    spectrum = np.abs(np.fft.rfft(doubled([telephone_speech(16_000)]) * np.blackman(32_000)))
    half = len(spectrum) // 2
    assert spectrum[half + 200 :].max() < 1e-4 * spectrum[:half].max()


@given(st.lists(st.integers(0, 700), max_size=8), st.integers(0, 900))
def test_chunks_change_nothing(cuts: list[int], n_samples: int) -> None:
    samples = telephone_speech(n_samples)
    cuts = sorted(min(cut, n_samples) for cut in cuts)
    found = doubled(np.split(samples, cuts))
    assert len(found) == 2 * n_samples
    np.testing.assert_allclose(found, doubled([samples]), atol=1e-7)


def test_an_answer_needs_no_more_than_6_25_ms_ahead() -> None:
    doubler = Doubler()
    assert len(doubler.push(np.zeros(1000, np.float32))) == 2 * (1000 - REACH_SAMPLES)
    assert REACH_SAMPLES / 8000 == 0.00625


@given(st.sampled_from(["int16", "fp32", "mulaw", "alaw"]), st.lists(st.integers(0, 4000), max_size=8))
def test_bytes_may_be_cut_within_a_sample(encoding: str, cuts: list[int]) -> None:
    content = (telephone_speech(1000) * (8000 if encoding == "int16" else 1)).astype(
        "<i2" if encoding == "int16" else "<f4"
    )
    raw = np.frombuffer(content.tobytes(), np.uint8)
    decoder, whole = Decoder(encoding, 16_000), Decoder(encoding, 16_000)
    parts = [decoder.push(part) for part in np.split(raw, sorted(min(cut, len(raw)) for cut in cuts))]
    expected = np.concatenate([whole.push(raw), whole.flush()])
    np.testing.assert_allclose(np.concatenate([*parts, decoder.flush()]), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("encoding", "raw", "words"),
    [
        ("int16", b"\1", "1 of 2 bytes"),
        ("fp32", b"\1\2\3\4\5", "1 of 4 bytes"),
        ("fp32", np.array([0, np.nan], "<f4").tobytes(), "NaN or infinity"),
        ("opus", b"", "expected int16, fp32, mulaw, alaw, found 'opus'"),
    ],
)
def test_what_cannot_be_decoded(encoding: str, raw: bytes, words: str) -> None:
    with pytest.raises(StreamError, match=words):
        decoder = Decoder(encoding, 16_000)
        decoder.push(np.frombuffer(raw, np.uint8))
        decoder.flush()


def test_telephone_codecs_need_a_detector_at_16_khz() -> None:
    with pytest.raises(StreamError, match="expected a detector at 16000 Hz, this one runs at 24000"):
        Decoder("mulaw", 24_000)
