"""One clip in many lossless forms: the same samples from each, to the last bit."""

import numpy as np
import pytest
import soundfile

import audio_forms
from dfclient import audio

RATE_HZ = 16000
CLIP = audio_forms.speechlike(RATE_HZ * 2, RATE_HZ)

BY_SNDFILE = {  # suffix → libsndfile's format and subtype
    "16.wav": ("WAV", "PCM_16"),
    "24.wav": ("WAV", "PCM_24"),
    "32.wav": ("WAV", "PCM_32"),
    "float.wav": ("WAV", "FLOAT"),
    "double.wav": ("WAV", "DOUBLE"),
    "extensible.wav": ("WAVEX", "PCM_16"),
    "16.flac": ("FLAC", "PCM_16"),
    "24.flac": ("FLAC", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "FLOAT"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_24"),
    "alac.caf": ("CAF", "ALAC_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
    "voc": ("VOC", "PCM_16"),
}
BY_FFMPEG = {  # name → codec and muxer
    "pcm.wav": ("pcm_s16le", "wav"),
    "pcm24.wav": ("pcm_s24le", "wav"),
    "ffmpeg.flac": ("flac", "flac"),
    "flac.ogg": ("flac", "ogg"),
    "flac.mka": ("flac", "matroska"),
    "alac.m4a": ("alac", "ipod"),
    "pcm.mov": ("pcm_s16be", "mov"),
    "pcm.avi": ("pcm_s16le", "avi"),
    "wavpack.wv": ("wavpack", "wv"),
    "tta.tta": ("tta", "tta"),
    "ffmpeg.w64": ("pcm_s16le", "w64"),
    "ffmpeg.caf": ("pcm_s16be", "caf"),
    "ffmpeg.aiff": ("pcm_s16be", "aiff"),
    "ffmpeg.au": ("pcm_s16be", "au"),
}


@pytest.mark.parametrize("name", BY_SNDFILE)
def test_written_by_libsndfile(tmp_path, name):
    kind, subtype = BY_SNDFILE[name]
    soundfile.write(tmp_path / name, CLIP, RATE_HZ, format=kind, subtype=subtype)
    loaded = audio.load(tmp_path / name, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, CLIP)
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", BY_FFMPEG)
def test_written_by_ffmpeg(tmp_path, name):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    codec, muxer = BY_FFMPEG[name]
    path = audio_forms.encode(tmp_path / name, CLIP, RATE_HZ, codec, container=muxer)
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, CLIP)
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", ["16.wav", "16.flac", "sph"])
def test_bytes_and_open_files_are_recordings_too(tmp_path, name):
    """A path, its bytes, and the file opened, buffered or not, also behind other bytes."""
    import io

    kind, subtype = BY_SNDFILE[name]
    soundfile.write(tmp_path / name, CLIP, RATE_HZ, format=kind, subtype=subtype)
    content = (tmp_path / name).read_bytes()
    behind = io.BytesIO(b"12345" + content)
    behind.seek(5)
    for recording in (str(tmp_path / name), content, bytearray(content), io.BytesIO(content), behind):
        np.testing.assert_array_equal(audio.load(recording, RATE_HZ).samples, CLIP)
    for buffering in (0, -1):
        with (tmp_path / name).open("rb", buffering=buffering) as file:
            np.testing.assert_array_equal(audio.load(file, RATE_HZ).samples, CLIP)
            assert not file.closed


def test_what_is_no_recording_says_what_is(tmp_path):
    from dfclient.errors import InputError

    (tmp_path / "a.wav").write_text("text")
    with pytest.raises(InputError, match="expected a path, bytes or a binary file, found int"):
        audio.load(5, RATE_HZ)
    with (tmp_path / "a.wav").open() as file, pytest.raises(InputError, match="mode 'rb'"):
        audio.load(file, RATE_HZ)
