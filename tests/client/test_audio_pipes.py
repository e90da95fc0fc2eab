"""Containers through a pipe: known by their first bytes, however few come at once, and never taken for samples."""

import io
import sys

import numpy as np
import pytest
import soundfile

import audio_forms
from dfclient import audio
from dfclient.audio import AudioOptions, sources
from dfclient.audio.extents import UNCHECKED, Extent
from dfclient.audio.pipes import TOO_LONG_TO_CHECK
from dfclient.audio.promises import keep_promise
from dfclient.audio.sources import RawFormat
from dfclient.errors import AudioError

av = pytest.importorskip("av", reason="the extra `containers` is not installed")

RATE_HZ = 16000
CLIP = audio_forms.speechlike(RATE_HZ * 2, RATE_HZ)
LIVE = {  # name → how it is written
    "WAV": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="WAV"),
    "RF64": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="RF64"),
    "W64": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="W64"),
    "AIFF": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="AIFF"),
    "AU": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="AU"),
    "NIST": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="NIST"),
    "FLAC": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="FLAC"),
    "Ogg Vorbis": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="OGG"),
    "Ogg Opus": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="OGG", subtype="OPUS"),
    "MP3": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="MP3"),
    "MP3 with ID3": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "libmp3lame", container="mp3"),
    "ADTS": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "aac", container="adts"),
    "AMR": lambda path: audio_forms.encode(path, CLIP[::2], 8000, "libopencore_amrnb", container="amr"),
    "Matroska": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "flac", container="matroska"),
    "ASF": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "wmav2", container="asf"),
    "MPEG-TS": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "aac", container="mpegts"),
    "MP4, its index first": lambda path: audio_forms.encode(
        path, CLIP, RATE_HZ, "aac", container="mp4", options={"movflags": "faststart"}
    ),
}
EXACT = ("WAV", "RF64", "W64", "AIFF", "AU", "NIST", "FLAC", "Matroska")


class Drip(io.RawIOBase):
    """A pipe through which at most so many bytes come at once."""

    def __init__(self, content: bytes, n_bytes: int) -> None:
        super().__init__()
        self.content, self.n_bytes, self.at = content, n_bytes, 0

    def read(self, size: int = -1) -> bytes:
        n_bytes = self.n_bytes if size < 0 else min(size, self.n_bytes)
        self.at += n_bytes
        return self.content[self.at - n_bytes : self.at]


MIXED = AudioOptions()
MONO = RawFormat(16000, 1, "int16")


def heard(stream, options=MIXED):
    with sources.pipe(MONO, options, stream) as source:
        chunks = list(source.chunks)
    return source, np.concatenate(chunks)


@pytest.mark.parametrize("n_bytes", [1, 1 << 16])
@pytest.mark.parametrize("name", LIVE)
def test_a_container_is_decoded_as_it_comes(tmp_path, name, n_bytes):
    path = tmp_path / "a"
    LIVE[name](path)
    source, samples = heard(Drip(path.read_bytes(), n_bytes))
    whole = audio.load(path, source.rate_hz)
    if name in EXACT:
        np.testing.assert_array_equal(samples[:, 0], CLIP)
        assert (source.rate_hz, source.channels) == (RATE_HZ, 1)
    else:
        assert len(samples) / source.rate_hz == pytest.approx(whole.duration_s, abs=0.15)
        n = min(len(samples), len(whole.samples))
        middle = whole.samples[4000 : n - 4000]  # the coder's delay may be trimmed or not
        assert np.correlate(samples[:, 0], middle).max() > 0.9 * np.dot(middle, middle)


REFUSED = {
    "CAF": lambda path: soundfile.write(path, CLIP, RATE_HZ, format="CAF"),
    "MP4": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "aac", container="mp4"),
    "AVI": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "pcm_s16le", container="avi"),
    "TTA": lambda path: audio_forms.encode(path, CLIP, RATE_HZ, "tta", container="tta"),
}


@pytest.mark.parametrize("n_bytes", [1, 1 << 16])
@pytest.mark.parametrize("name", REFUSED)
def test_what_must_be_read_back_and_forth_is_refused_by_name(tmp_path, name, n_bytes):
    path = tmp_path / "a"
    REFUSED[name](path)
    with pytest.raises(AudioError, match=f"found {name} on standard input.*give the file's path instead of -"):
        heard(Drip(path.read_bytes(), n_bytes))


@pytest.mark.parametrize("n_bytes", [1, 2, 7, 1 << 16])
def test_samples_are_samples(n_bytes):
    """Also such as begin as an MPEG frame does, or with silence."""
    for first in (0, -1, -1025, 0x4952):
        content = np.concatenate([np.int16([first]), np.round(CLIP * 32767).astype(np.int16)])
        _, samples = heard(Drip(content.astype("<i2").tobytes(), n_bytes))
        np.testing.assert_array_equal(samples[:, 0], content.astype(np.float32) / 32768)


def test_nothing_is_nothing():
    with sources.pipe(MONO, stream=Drip(b"", 1)) as source:
        assert list(source.chunks) == []


def test_each_channel_of_what_comes_through_a_pipe(tmp_path):
    frames = np.stack([CLIP, np.roll(CLIP, 500)], 1)
    raw = np.round(frames * 32768).astype("<i2").tobytes()
    with sources.pipe(RawFormat(RATE_HZ, 2, "int16"), AudioOptions("each"), io.BytesIO(raw)) as source:
        np.testing.assert_array_equal(np.concatenate(list(source.chunks)), frames)
    path = tmp_path / "a.wav"
    soundfile.write(path, frames, RATE_HZ)
    _, second = heard(io.BytesIO(path.read_bytes()), AudioOptions(2))
    np.testing.assert_array_equal(second[:, 0], frames[:, 1])


@pytest.mark.parametrize("silent", [0, 1])
def test_a_live_recording_is_heard_as_it_is_scored_as_a_whole(tmp_path, silent):
    """Also where one of two channels is silent."""
    frames = np.stack([CLIP, CLIP], 1)
    frames[:, silent] = 0
    path = tmp_path / "a.wav"
    soundfile.write(path, frames, RATE_HZ)
    with sources.recording(sources.one_clip(str(path))) as source:
        samples = np.concatenate(list(source.chunks))
    whole = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(samples[:, 0], whole.samples)
    assert tuple(source.warnings) == whole.warnings


CUT = [name for name in LIVE if name not in ("ADTS", "AMR", "MPEG-TS")]  # which state no length


@pytest.mark.parametrize("name", CUT)
def test_one_that_ends_before_its_header_says_so_is_damaged_as_its_file_would_be(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sys.modules[__name__], "CLIP", np.tile(CLIP, 10))  # several of Ogg's pages
    path = tmp_path / "a"
    LIVE[name](path)
    content = path.read_bytes()
    cut = content[: len(content) * 8 // 10]
    with pytest.raises(AudioError, match="damaged"):
        audio.load(cut, RATE_HZ)
    with pytest.raises(AudioError, match="damaged: cut short"):
        heard(Drip(cut, 1 << 12))


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_the_end_of_one_of_which_only_the_beginning_was_kept(tmp_path, monkeypatch, share):
    monkeypatch.setattr("dfclient.audio.pipes.KEPT_BYTES", 20_000)
    path = tmp_path / "a.wav"
    LIVE["WAV"](path)
    content = path.read_bytes() + b"LIST\x04\0\0\0abcd"
    stream = Drip(content[: int(len(content) * share)], 1 << 12)
    if share == 1:
        source, samples = heard(stream)
        np.testing.assert_array_equal(samples[:, 0], CLIP)
        assert source.warnings == [TOO_LONG_TO_CHECK]
    else:
        with pytest.raises(AudioError, match=r"cut short: its header promises 2\.00 s, only 1\.20 s"):
            heard(stream)


@pytest.mark.parametrize("name", ["MP3", "FLAC", "Ogg Vorbis"])
def test_what_is_too_long_to_be_checked_says_so(tmp_path, monkeypatch, name):
    """Their walks go from frame to frame: of a cut recording nothing else would tell."""
    path = tmp_path / "a"
    LIVE[name](path)
    source, _ = heard(Drip(path.read_bytes(), 1 << 12))
    assert source.warnings == []
    monkeypatch.setattr("dfclient.audio.pipes.KEPT_BYTES", 5_000)
    source, _ = heard(Drip(path.read_bytes(), 1 << 12))
    assert source.warnings == [TOO_LONG_TO_CHECK]


def test_of_a_kind_without_a_walk_it_is_said_as_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("dfclient.audio.pipes.recognised", lambda reader, at: (None, at))
    path = tmp_path / "a"
    LIVE["WAV"](path)
    source, _ = heard(Drip(path.read_bytes(), 1 << 12))
    assert source.warnings == [UNCHECKED]


def test_a_cut_that_leaves_no_sample_is_seen_as_in_a_file():
    extent = Extent(9, cut="it ends within a block")
    with pytest.raises(AudioError, match=r"cut short: it ends within a block, after 0\.00 s"):
        keep_promise(extent, 0, 0)
    keep_promise(Extent(9, frames=5), 0, 0)
