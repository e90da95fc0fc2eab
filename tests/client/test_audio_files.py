"""Files by their names and kinds: every suffix that a folder is searched for is read; whatever is no audio says why."""

import os
import threading

import numpy as np
import pytest
import soundfile

import audio_forms
from dfclient import audio
from dfclient.audio.containers import CONTAINERS, HEADERLESS
from dfclient.errors import AudioError

RATE_HZ = 16000
CLIP = audio_forms.speechlike(RATE_HZ * 2, RATE_HZ)

SNDFILE = {  # suffix → libsndfile's format and subtype
    **dict.fromkeys((".wav", ".wave"), ("WAV", "PCM_16")),
    **dict.fromkeys((".rf64", ".bwf"), ("RF64", "PCM_16")),
    ".w64": ("W64", "PCM_16"),
    **dict.fromkeys((".aiff", ".aif"), ("AIFF", "PCM_16")),
    ".aifc": ("AIFF", "FLOAT"),
    **dict.fromkeys((".au", ".snd"), ("AU", "PCM_16")),
    ".caf": ("CAF", "PCM_16"),
    **dict.fromkeys((".sph", ".nist"), ("NIST", "PCM_16")),
    ".flac": ("FLAC", "PCM_16"),
    **dict.fromkeys((".ogg", ".oga"), ("OGG", "VORBIS")),
    ".opus": ("OGG", "OPUS"),
    **dict.fromkeys((".mp3", ".mpga"), ("MP3", "MPEG_LAYER_III")),
    ".voc": ("VOC", "PCM_16"),
    **dict.fromkeys((".sf", ".ircam"), ("IRCAM", "PCM_16")),
    ".pvf": ("PVF", "PCM_16"),
    ".paf": ("PAF", "PCM_16"),
    ".avr": ("AVR", "PCM_16"),
    **dict.fromkeys((".iff", ".svx", ".8svx"), ("SVX", "PCM_16")),
    ".htk": ("HTK", "PCM_16"),
}
FFMPEG = {  # suffix → codec, muxer, rate
    ".mp2": ("mp2", "mp2", 16000),
    **dict.fromkeys((".aac", ".adts"), ("aac", "adts", 16000)),
    **dict.fromkeys((".m4a", ".m4b"), ("aac", "ipod", 16000)),
    **dict.fromkeys((".mp4", ".m4v"), ("aac", "mp4", 16000)),
    **dict.fromkeys((".mov", ".qt"), ("pcm_s16le", "mov", 16000)),
    **dict.fromkeys((".3gp", ".3g2"), ("libopencore_amrnb", "3gp", 8000)),
    ".webm": ("libopus", "webm", 48000),
    **dict.fromkeys((".mka", ".mkv"), ("flac", "matroska", 16000)),
    **dict.fromkeys((".wma", ".asf", ".wmv"), ("wmav2", "asf", 16000)),
    ".amr": ("libopencore_amrnb", "amr", 8000),
    ".avi": ("pcm_s16le", "avi", 16000),
    ".flv": ("libmp3lame", "flv", 44100),
    **dict.fromkeys((".ts", ".mts", ".m2ts"), ("aac", "mpegts", 16000)),
    ".wv": ("wavpack", "wv", 16000),
    ".tta": ("tta", "tta", 16000),
    ".ac3": ("ac3", "ac3", 48000),
    **dict.fromkeys((".eac3", ".ec3"), ("eac3", "eac3", 48000)),
    **dict.fromkeys((".mpg", ".mpeg", ".vob"), ("mp2", "vob", 48000)),
    ".ogv": ("flac", "ogg", 16000),
    ".spx": ("libopus", "ogg", 48000),
    ".g722": ("g722", "g722", 16000),
    ".sln": ("pcm_s16le", "s16le", 8000),
}
# Nothing says where these end, or we do not read it: that is said instead.
UNCHECKED = {".sf", ".ircam", ".pvf", ".paf", ".avr", ".iff", ".svx", ".8svx", ".htk"}
UNCHECKED |= {".m2ts", ".ac3", ".eac3", ".ec3", ".mpg", ".mpeg", ".vob"}
NOT_WRITTEN = {".awb", ".ape", ".dts", ".gsm"}  # PyAV's wheels have no encoder for them


def test_the_list_of_suffixes_is_tested_whole():
    assert set(SNDFILE) | set(FFMPEG) | NOT_WRITTEN == audio.AUDIO_SUFFIXES
    assert sum(len(container.suffixes) for container in CONTAINERS) + len(HEADERLESS) == len(audio.AUDIO_SUFFIXES)


def expected_warnings(suffix):
    if suffix in HEADERLESS:
        return (f"no header: read as {HEADERLESS[suffix]} because its name says so",)
    unchecked = "of this kind of file it is not checked whether it is whole, or whether another recording follows in it"
    return (unchecked,) if suffix in UNCHECKED else ()


@pytest.mark.parametrize("suffix", SNDFILE)
def test_suffixes_of_libsndfile(tmp_path, suffix):
    kind, subtype = SNDFILE[suffix]
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, CLIP, RATE_HZ, format=kind, subtype=subtype)
    loaded = audio.load(path, RATE_HZ)
    assert loaded.duration_s == pytest.approx(2, abs=0.1)
    assert loaded.warnings == expected_warnings(suffix)


@pytest.mark.parametrize("suffix", FFMPEG)
def test_suffixes_of_ffmpeg(tmp_path, suffix):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    codec, muxer, rate_hz = FFMPEG[suffix]
    path = tmp_path / f"a{suffix}"
    audio_forms.encode(path, audio_forms.speechlike(rate_hz * 2, rate_hz), rate_hz, codec, container=muxer)
    loaded = audio.load(path, RATE_HZ)
    assert loaded.duration_s == pytest.approx(2, abs=0.2)
    assert loaded.warnings == expected_warnings(suffix)


@pytest.mark.parametrize("name", ["a.raw", "a.gsm", "a.pcm", "a.vox", "a.ul", "a", "._a.wav", "a.mat"])
@pytest.mark.parametrize("content", [bytes(6000), np.random.default_rng(1).bytes(6000), b"\0\5\x16\7\0\2\0\0Mac OS X"])
def test_samples_without_a_header_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match="not readable as audio"):
        audio.load(tmp_path / name, RATE_HZ)


@pytest.mark.parametrize(
    "name", [b"caf\xe9.wav", b"new\nline.wav", b"12:30 http:x.wav", b"concat:a.wav", b"-.wav", b"%d.m4a"]
)
def test_any_name_that_a_file_can_have(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    soundfile.write(tmp_path / "a.wav", CLIP, RATE_HZ)
    (tmp_path / "a.wav").rename(path)
    np.testing.assert_array_equal(audio.load(path, RATE_HZ).samples, CLIP)


@pytest.mark.parametrize(
    ("name", "words"),
    [("a\0b.wav", "null"), ("a" * 300 + ".wav", "name too long"), ("b/" * 3000 + "a.wav", "too long")],
)
def test_names_that_no_file_can_have(tmp_path, name, words):
    with pytest.raises(AudioError, match=f"(?i)cannot read it: .*{words}"):
        audio.load(tmp_path / name, RATE_HZ)


def test_a_named_pipe_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "a.wav", CLIP, RATE_HZ)
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "a.wav").read_bytes()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writer.start()
    np.testing.assert_array_equal(audio.load(tmp_path / "pipe", RATE_HZ).samples, CLIP)
    writer.join()


def test_a_device_is_not_read():
    with pytest.raises(AudioError, match="a device or a socket"):
        audio.load("/dev/zero", RATE_HZ)


def test_a_playlist_opens_nothing(tmp_path):
    """FFmpeg would read what it names, from anywhere."""
    soundfile.write(tmp_path / "secret.wav", CLIP, RATE_HZ)
    for content in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n",
    ):
        path = tmp_path / "a.m4a"
        path.write_text(content)
        with pytest.raises(AudioError, match="not readable as audio"):
            audio.load(path, RATE_HZ)
