"""Decoding, downmixing and resampling against signals that are known exactly, and against other libraries."""

import contextlib
import subprocess
import sys
import wave

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dfclient import audio
from dfclient.errors import AudioError, InputError

RATE_HZ = 16000


def tone(rate_hz: int, seconds: float = 1.0, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count_gives_the_same_tone(tmp_path, rate_hz, channels):
    """The channels' gains average to 1, so the mono mix at 16 kHz is the tone sampled at 16 kHz, computed directly."""
    gains = np.linspace(0.5, 1.5, channels) if channels > 1 else np.ones(1)
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(rate_hz)[:, None] * gains[None, :], rate_hz, subtype="FLOAT")
    loaded = audio.load(path, RATE_HZ)
    assert (loaded.source_rate_hz, loaded.source_channels, loaded.duration_s) == (rate_hz, channels, 1.0)
    assert loaded.samples.dtype == np.float32
    assert len(loaded.samples) == RATE_HZ
    middle = slice(1000, -1000)  # a filter rings at the edges of a tone that starts at once
    np.testing.assert_allclose(loaded.samples[middle], tone(RATE_HZ)[middle], atol=2e-4)


@pytest.mark.parametrize(
    ("suffix", "tolerance"),
    [("wav", 1 / 32768), ("flac", 1 / 32768), ("aiff", 1 / 32768), ("ogg", 0.03), ("mp3", 0.03)],
)
def test_formats(tmp_path, suffix, tolerance, speechlike):
    expected = speechlike(RATE_HZ * 2, RATE_HZ)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, expected, RATE_HZ)
    loaded = audio.load(path, RATE_HZ)
    assert np.abs(loaded.samples[: len(expected)] - expected).max() < tolerance
    assert loaded.duration_s == pytest.approx(2.0, abs=0.1)


def test_pcm_scale_is_raw_amplitude(tmp_path):
    """Against the standard library's own WAV writer: integers over 32768, no normalisation of a quiet file."""
    values = np.array([-32768, -1, 0, 1, 328, 32767] * 2000, "<i2")
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(values.tobytes())
    np.testing.assert_array_equal(audio.load(path, RATE_HZ).samples, values.astype(np.float32) / 32768)


@pytest.mark.parametrize(("suffix", "codec"), [("m4a", "aac"), ("mp4", "aac"), ("webm", "libopus"), ("mka", "flac")])
def test_containers(tmp_path, suffix, codec, speechlike):
    av = pytest.importorskip("av", reason="the extra `containers` is not installed")
    rate_hz = 48000
    expected = speechlike(rate_hz * 2, rate_hz)
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        stereo = np.stack([expected, expected])
        if codec == "flac":
            stereo = np.ascontiguousarray((stereo * 32767).astype(np.int16).T.reshape(1, -1))
        sample_format = {"aac": "fltp", "libopus": "flt", "flac": "s16"}[codec]
        if sample_format == "flt":
            stereo = np.ascontiguousarray(stereo.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(stereo, format=sample_format, layout="stereo")
        frame.sample_rate, frame.pts = rate_hz, 0  # from 0 on, so that the file says what its codec puts before
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    loaded = audio.load(path, RATE_HZ)
    assert loaded.source_channels == 2
    assert loaded.duration_s == pytest.approx(2.0, abs=0.1)
    reference = audio.from_array(expected, rate_hz, RATE_HZ).samples
    n = min(len(reference), len(loaded.samples)) - 2000
    assert np.corrcoef(reference[1000:n], loaded.samples[1000:n])[0, 1] > 0.99


def test_without_the_extra_the_error_names_it(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    script = (
        "import sys; sys.modules['av'] = None\n"
        "from dfclient import audio, AudioError\n"
        f"try: audio.load({str(path)!r}, 16000)\n"
        "except AudioError as error: print(error)"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "pip install 'dfserve[containers]'" in answer


def test_resampling_agrees_with_an_independent_filter(speechlike):
    signal = pytest.importorskip("scipy.signal", reason="scipy is not installed")
    source = speechlike(44100 * 2, 44100)
    ours = audio.from_array(source, 44100, RATE_HZ).samples
    reference = signal.resample_poly(source.astype(np.float64), 160, 441)
    assert len(ours) == len(reference) == 32000
    assert np.abs(ours - reference)[500:-500].max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=12), st.sampled_from([8000, 16000, 44100]))
def test_how_a_stream_is_cut_changes_no_sample(lengths, rate_hz):
    source = np.random.default_rng(1).standard_normal(sum(lengths)).astype(np.float32)
    stream = audio.Resampler(rate_hz, RATE_HZ)
    parts = [stream.push(block) for block in np.split(source, np.cumsum(lengths)[:-1])]
    parts.append(stream.push(np.empty(0, np.float32), last=True))
    np.testing.assert_array_equal(np.concatenate(parts), audio.from_array(source, rate_hz, RATE_HZ).samples)


def test_arrays(speechlike):
    source = speechlike(RATE_HZ, RATE_HZ)
    np.testing.assert_array_equal(audio.from_array(source, RATE_HZ, RATE_HZ).samples, source)
    np.testing.assert_array_equal(audio.from_array(source.astype(np.float64), RATE_HZ, RATE_HZ).samples, source)
    pcm = np.array([-32768, 16384], np.int16)
    np.testing.assert_array_equal(audio.from_array(pcm, RATE_HZ, RATE_HZ).samples, np.float32([-1.0, 0.5]))
    stereo = np.array([[0.25, 0.75], [0.0, 1.0], [-1.0, 1.0]])
    np.testing.assert_array_equal(audio.from_array(stereo, RATE_HZ, RATE_HZ).samples, np.float32([0.5, 0.5, 0.0]))


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((2, 2, 2)), InputError, r"\(samples, channels\), found \(2, 2, 2\)"),
        (np.zeros((1, 16000)), InputError, r"found \(1, 16000\)"),
        (np.zeros(5, np.uint8), InputError, "found uint8"),
        (np.array(["a"]), InputError, "floats"),
        (np.zeros(0), AudioError, "no samples"),
        (np.array([0.0, np.nan]), AudioError, "NaN"),
    ],
)
def test_arrays_that_are_no_waveform(array, error, words):
    with pytest.raises(error, match=words):
        audio.from_array(array, RATE_HZ, RATE_HZ)


def write_bytes(content: bytes):
    return lambda path: path.write_bytes(content)


BAD_FILES = {
    "missing.wav": (lambda path: None, "No such file"),
    "empty.wav": (write_bytes(b""), "empty"),
    "text.wav": (write_bytes(b"hello, I am no audio\n" * 50), "not"),
    "notes.txt": (write_bytes(b"hello, I am no audio\n" * 50), "not readable as audio"),
    "garbage.wav": (write_bytes(np.random.default_rng(1).bytes(50000)), "not"),
    "garbage.mp3": (write_bytes(np.random.default_rng(2).bytes(50000)), "not"),
    "garbage.m4a": (write_bytes(np.random.default_rng(3).bytes(50000)), "not"),
    "zeros.flac": (write_bytes(bytes(50000)), "not"),
    "no_samples.wav": (lambda path: soundfile.write(path, np.zeros(0), RATE_HZ), "no samples"),
    "no_samples.flac": (lambda path: soundfile.write(path, np.zeros(0), RATE_HZ), "empty"),
    "nan.wav": (lambda path: soundfile.write(path, np.array([0, np.nan, 0]), RATE_HZ, subtype="FLOAT"), "NaN"),
    "inf.wav": (lambda path: soundfile.write(path, np.array([0, np.inf, 0]), RATE_HZ, subtype="FLOAT"), "NaN or inf"),
    "folder.wav": (lambda path: path.mkdir(), "folder"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_audio_errors(tmp_path, name):
    make, words = BAD_FILES[name]
    make(tmp_path / name)
    with pytest.raises(AudioError, match=words):
        audio.load(tmp_path / name, RATE_HZ)


@pytest.mark.parametrize(
    ("suffix", "words"),
    [
        ("flac", r"promises 5\.00 s, only 2\.\d\d s can be decoded"),
        ("wav", r"promises 5\.00 s, only 2\.\d\d s can be decoded"),
        ("aiff", r"promises 5\.00 s, only 2\.\d\d s can be decoded"),
    ],
)
def test_a_truncated_recording_is_damaged_not_short(tmp_path, suffix, words, speechlike):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, speechlike(RATE_HZ * 5, RATE_HZ), RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=f"damaged: .*{words}"):
        audio.load(path, RATE_HZ)


@pytest.mark.parametrize("promised_bytes", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0x7FFF_F000, 10_002])
def test_a_recorder_that_did_not_know_the_length_is_believed(tmp_path, promised_bytes, speechlike):
    """What pipes and sloppy writers leave in a WAV's header; all that is there is scored."""
    path = tmp_path / "a.wav"
    soundfile.write(path, speechlike(5_000, RATE_HZ), RATE_HZ)
    content = path.read_bytes()
    sizes_at = content.index(b"data") + 4
    path.write_bytes(content[:sizes_at] + promised_bytes.to_bytes(4, "little") + content[sizes_at + 4 :])
    assert audio.load(path, RATE_HZ).source_frames == 5_000


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_truncated_anywhere_it_loads_or_is_an_audio_error(tmp_path, suffix, speechlike):
    """Never another exception, and never the 2**63 samples that a truncated OGG announces."""
    whole = tmp_path / f"a.{suffix}"
    soundfile.write(whole, speechlike(RATE_HZ, RATE_HZ), RATE_HZ)
    content = whole.read_bytes()
    part = tmp_path / f"part.{suffix}"
    for length in np.linspace(1, len(content) - 1, 25, dtype=int):
        part.write_bytes(content[:length])
        with contextlib.suppress(AudioError):
            assert len(audio.load(part, RATE_HZ).samples) <= RATE_HZ * 1.1


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_scrambled_it_loads_or_is_an_audio_error(tmp_path, suffix, speechlike):
    whole = tmp_path / f"a.{suffix}"
    soundfile.write(whole, speechlike(RATE_HZ, RATE_HZ), RATE_HZ)
    content = np.frombuffer(whole.read_bytes(), np.uint8)
    rng = np.random.default_rng(7)
    for _ in range(25):
        scrambled = content.copy()
        places = rng.integers(0, len(content), 40)
        scrambled[places] = rng.integers(0, 256, 40)
        whole.write_bytes(scrambled.tobytes())
        with contextlib.suppress(AudioError):
            assert np.isfinite(audio.load(whole, RATE_HZ).samples).all()


def warnings(samples, n_windows: int = 1) -> tuple[str, ...]:
    waveform = audio.from_array(samples, RATE_HZ, RATE_HZ)
    return audio.warnings_of(waveform, np.array_split(waveform.samples, n_windows))


def test_warnings(speechlike):
    speech = speechlike(RATE_HZ, RATE_HZ)
    assert warnings(speech) == ()
    assert "short: 0.400 s" in warnings(speech[:6400])[0]
    assert warnings(speech[:8000]) == ()
    assert "silence" in warnings(np.zeros(RATE_HZ))[0]
    assert "silence" in warnings(np.full(RATE_HZ, 3e-5))[0]  # dither of 16-bit silence
    assert "1 of 2 windows" in warnings(np.concatenate([speech, np.zeros(RATE_HZ)]), 2)[0]
    assert "loud: peak" in warnings(speech * 32768)[0]
