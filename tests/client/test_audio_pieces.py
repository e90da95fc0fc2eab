"""Files that hold several recordings, more than recordings, or less than their headers promise."""

import struct

import numpy as np
import pytest
import soundfile

import audio_forms
import hostile_audio
from dfclient import audio
from dfclient.audio import flac, mpeg
from dfclient.errors import AudioError

RATE_HZ = 16000
FIRST = audio_forms.speechlike(RATE_HZ, RATE_HZ, seed=1)
SECOND = audio_forms.speechlike(RATE_HZ * 3 // 2, RATE_HZ, seed=2)
WRITTEN = {  # suffix → libsndfile's format and subtype
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
LOSSLESS = ("wav", "flac", "aiff", "au", "w64", "rf64")


def written(path, samples, suffix, rate_hz=RATE_HZ) -> bytes:
    kind, subtype = WRITTEN[suffix]
    soundfile.write(path, samples, rate_hz, format=kind, subtype=subtype)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", WRITTEN)
def test_recordings_that_follow_one_another_are_all_read(tmp_path, suffix):
    """As each by itself: a decoder alone would stop at the first one's end."""
    path = tmp_path / f"a.{suffix}"
    contents = [written(path, samples, suffix) for samples in (FIRST, SECOND, FIRST)]
    alone = []
    for content in contents:
        path.write_bytes(content)
        alone.append(audio.load(path, RATE_HZ).samples)
    path.write_bytes(b"".join(contents))
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, np.concatenate(alone))
    assert loaded.duration_s == pytest.approx(3.5, abs=0.2)
    assert loaded.warnings == ("3 recordings follow one another in this file: all of them were read",)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_each_is_read_at_its_own_rate_and_channel_count(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    stereo = np.stack([audio_forms.speechlike(48000, 48000, seed=3)] * 2, 1)
    content = written(path, FIRST, suffix) + written(path, stereo, suffix, 48000)
    path.write_bytes(content)
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples[:RATE_HZ], FIRST)
    np.testing.assert_array_equal(loaded.samples[RATE_HZ:], audio.from_array(stereo, 48000, RATE_HZ).samples)
    assert (loaded.source_rate_hz, loaded.source_channels, loaded.duration_s) == (RATE_HZ, 1, 2.0)
    assert "its sample rate changes: 16000 Hz, then 48000 Hz" in loaded.warnings


FOLLOWING = ("a.wav", "a.aiff", "a.au", "a.caf", "a.w64", "a.sph", "a.flac", "a.opus", "a.mp3", "a.rf64")
FOLLOWING += ("a.aac", "a.m4a", "a.mka", "a.wma", "a.amr", "a.flv", "a.avi", "a.wv", "a.voc", "a.tta")


@pytest.fixture(scope="module")
def of_each_kind(tmp_path_factory):
    """Half a second in every container, and how long it is by itself."""
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    contents = hostile_audio.originals(tmp_path_factory.mktemp("kinds"))
    return {name: (content, audio.load(content, RATE_HZ).duration_s) for name, content in contents.items()}


@pytest.mark.parametrize("first", FOLLOWING)
def test_recordings_of_two_kinds_are_both_read(of_each_kind, first):
    """No walk takes another recording's beginning for a part of its own."""
    for second in FOLLOWING:
        (before, before_s), (after, after_s) = of_each_kind[first], of_each_kind[second]
        loaded = audio.load(before + after, RATE_HZ)
        assert loaded.duration_s == pytest.approx(before_s + after_s, abs=0.05), second


@pytest.mark.parametrize("second", ["a.wav", "a.ogg", "a.wv", "a.m4a"])
def test_packets_end_where_a_container_begins(of_each_kind, second):
    (before, before_s), (after, after_s) = of_each_kind["a.ts"], of_each_kind[second]
    assert audio.load(before + after, RATE_HZ).duration_s == pytest.approx(before_s + after_s, abs=0.05)


@pytest.mark.parametrize(("first", "second"), [("a.ac3", "a.wav"), ("a.ts", "a.mp3"), ("a.ts", "a.aac")])
def test_what_follows_where_no_end_is_known_is_not_passed_over_in_silence(of_each_kind, first, second):
    content = of_each_kind[first][0] + of_each_kind[second][0]
    try:
        assert audio.load(content, RATE_HZ).warnings
    except AudioError as error:
        assert str(error).startswith("damaged: ")


@pytest.mark.parametrize("name", ["a.flv", "a.avi"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.75])
def test_cut_short_where_sound_and_pictures_are(of_each_kind, name, share):
    content = of_each_kind[name][0]
    with pytest.raises(AudioError, match="damaged: "):
        audio.load(content[: int(len(content) * share)], RATE_HZ)


@pytest.mark.parametrize(("first_rate_hz", "second_rate_hz"), [(16000, 44100), (44100, 16000), (8000, 22050)])
def test_mp3_of_another_rate_is_another_recording(tmp_path, first_rate_hz, second_rate_hz):
    path = tmp_path / "a.mp3"
    first = written(path, audio_forms.speechlike(first_rate_hz, first_rate_hz), "mp3", first_rate_hz)
    second = written(path, audio_forms.speechlike(second_rate_hz, second_rate_hz), "mp3", second_rate_hz)
    path.write_bytes(first + second)
    assert audio.load(path, RATE_HZ).duration_s == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("junk", [b"no audio at all, " * 99, bytes(1000), np.random.default_rng(5).bytes(3000)])
@pytest.mark.parametrize("suffix", WRITTEN)
def test_what_follows_and_is_no_audio_is_counted(tmp_path, suffix, junk):
    path = tmp_path / f"a.{suffix}"
    content = written(path, FIRST, suffix)
    alone = audio.load(path, RATE_HZ)
    assert alone.warnings == ()
    path.write_bytes(content + junk)
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, alone.samples)
    assert loaded.warnings == (f"its last {len(junk)} bytes were not read: no audio that is known",)


def id3v1() -> bytes:
    return b"TAG" + bytes(125)


def ape_tag() -> bytes:
    """A header and a footer, each of 32 bytes, around nothing."""
    return b"".join(b"APETAGEX" + struct.pack("<IIII8x", 2000, 32, 0, flags) for flags in (0xA0000000, 0x80000000))


@pytest.mark.parametrize("tag", [id3v1(), ape_tag(), id3v1() + ape_tag(), b"ID3\x04\0\0\0\0\0\x14" + bytes(20)])
@pytest.mark.parametrize("suffix", ["mp3", "flac", "wav"])
def test_tags_are_no_audio_and_not_worth_a_word(tmp_path, suffix, tag):
    path = tmp_path / f"a.{suffix}"
    content = written(path, FIRST, suffix)
    alone = audio.load(path, RATE_HZ).samples
    path.write_bytes(content + tag)
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, alone)
    assert loaded.warnings == ()
    path.write_bytes(content + tag + content)
    assert len(audio.load(path, RATE_HZ).samples) == 2 * len(alone)


CONTAINERS_THAT_PROMISE = {
    **{name: kind for name, kind in WRITTEN.items() if name in LOSSLESS},
    "caf": ("CAF", "PCM_16"),
    "sph": ("NIST", "PCM_16"),
    "aifc": ("AIFF", "FLOAT"),
    "float.wav": ("WAV", "FLOAT"),
    "ulaw.au": ("AU", "ULAW"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", CONTAINERS_THAT_PROMISE)
def test_less_than_a_header_promises_is_cut_short(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    kind, subtype = CONTAINERS_THAT_PROMISE[suffix]
    soundfile.write(path, np.tile(FIRST, 5), RATE_HZ, format=kind, subtype=subtype)
    audio.load(path, RATE_HZ)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AudioError, match=r"damaged: cut short: .* promises (4\.[89]|5\.0)\d s, only \d\.\d\d s"):
        audio.load(path, RATE_HZ)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("name", "codec", "muxer", "options"),
    [
        ("g722.wav", "g722", "wav", {}),
        ("a.m4a", "aac", "mp4", {"movflags": "faststart"}),
        ("a.mka", "flac", "matroska", {}),
        ("a.wma", "wmav2", "asf", {}),
        ("ffmpeg.mp3", "libmp3lame", "mp3", {}),
        ("a.wv", "wavpack", "wv", {}),
    ],
)
def test_cut_short_where_ffmpeg_reads(tmp_path, name, codec, muxer, options, share):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    path = audio_forms.encode(tmp_path / name, np.tile(FIRST, 5), RATE_HZ, codec, container=muxer, options=options)
    assert audio.load(path, RATE_HZ).duration_s == pytest.approx(5, abs=0.2)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AudioError, match="damaged: "):
        audio.load(path, RATE_HZ)


@pytest.mark.parametrize("codec", ["flac", "libvorbis", "libopus"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_ogg_that_ends_within_a_page_is_cut_short(tmp_path, codec, share):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    rate_hz = 48000
    codec = {"libvorbis": "vorbis"}.get(codec, codec)
    path = tmp_path / "a.ogg"
    if codec == "vorbis":
        soundfile.write(path, audio_forms.speechlike(rate_hz * 5, rate_hz), rate_hz)
    else:
        audio_forms.encode(path, audio_forms.speechlike(rate_hz * 5, rate_hz), rate_hz, codec, container="ogg")
    assert audio.load(path, RATE_HZ).warnings == ()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AudioError, match="cut short: it ends within a page"):
        audio.load(path, RATE_HZ)


def test_ogg_that_ends_between_pages_may_have_been_cut(tmp_path):
    path = tmp_path / "a.ogg"
    content = written(path, np.tile(FIRST, 5), "vorbis.ogg")
    path.write_bytes(content[: content.rindex(b"OggS")])
    assert audio.load(path, RATE_HZ).warnings == ("its last page bears no end mark: it may have been cut short",)


def test_ogg_with_a_wrong_checksum_says_so(tmp_path):
    path = tmp_path / "a.ogg"
    content = bytearray(written(path, np.tile(FIRST, 5), "vorbis.ogg"))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert any("checksum of 1 of its pages is wrong" in warning for warning in audio.load(path, RATE_HZ).warnings)


@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF])
def test_a_wav_whose_recorder_crashed_is_read_to_its_end(tmp_path, riff_size):
    path = tmp_path / "a.wav"
    content = written(path, FIRST, "wav")
    path.write_bytes(content[:4] + struct.pack("<I", riff_size) + content[8:40] + bytes(4) + content[44:])
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, FIRST)
    assert loaded.warnings == ("its header says 0 bytes of audio, as after a crash: the 32000 bytes there were read",)


@pytest.mark.parametrize(("at", "number"), [(4, 0), (4, 0xFFFFFFFF), (22, 0xFFFFFFFF)])
def test_an_aiff_that_does_not_say_how_long_it_is_is_read_with_a_warning(tmp_path, at, number):
    """FORM's size, and the number of samples: FFmpeg refuses the file for either."""
    path = tmp_path / "a.aiff"
    content = written(path, FIRST, "aiff")
    assert not audio.load(path, RATE_HZ).warnings
    path.write_bytes(content[:at] + struct.pack(">I", number) + content[at + 4 :])
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, FIRST)
    assert loaded.warnings == ("its header does not say how long it is: read to its end",)


def test_an_empty_wav_with_a_chunk_behind_it_is_empty(tmp_path):
    path = tmp_path / "a.wav"
    content = written(path, np.zeros(0), "wav")
    path.write_bytes(content + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(AudioError, match="no samples"):
        audio.load(path, RATE_HZ)


def test_wavs_that_a_pipe_wrote_follow_one_another(tmp_path):
    """Their headers promise the most that fits: the next header is their end."""
    path = tmp_path / "a.wav"
    contents = []
    for samples in (FIRST, SECOND):
        content = written(path, samples, "wav")
        contents.append(content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    path.write_bytes(b"".join(contents))
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, np.concatenate([FIRST, SECOND]))


@pytest.mark.parametrize("rates_hz", [(16000, 48000), (48000, 16000, 48000)])
def test_aac_that_changes_its_rate(tmp_path, rates_hz):
    """Each stretch is resampled at its own rate: the length in seconds is that of the parts."""
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    path = tmp_path / "a.aac"
    content = b""
    for rate_hz in rates_hz:
        samples = audio_forms.speechlike(rate_hz * 2, rate_hz)
        content += audio_forms.encode(path, samples, rate_hz, "aac", container="adts").read_bytes()
    path.write_bytes(content)
    loaded = audio.load(path, RATE_HZ)
    assert loaded.duration_s == pytest.approx(2 * len(rates_hz), abs=0.1 * len(rates_hz))
    assert len(loaded.samples) == pytest.approx(loaded.duration_s * RATE_HZ, abs=2)
    second = audio.from_array(audio_forms.speechlike(rates_hz[1] * 2, rates_hz[1]), rates_hz[1], RATE_HZ).samples
    heard = loaded.samples[2 * RATE_HZ :][: 2 * RATE_HZ + 6000]
    assert np.correlate(heard, second[2000:-2000]).max() > 0.9 * np.dot(second[2000:-2000], second[2000:-2000])


def flac_ending_with(path, last_byte: int) -> bytes:
    """A FLAC whose last frame's checksum ends so."""
    for seed in range(5000):
        content = written(path, audio_forms.speechlike(2000, RATE_HZ, seed), "flac")
        if content[-1] == last_byte:
            return content
    raise AssertionError("none found")


@pytest.mark.parametrize("last_byte", [0, 1])
def test_flac_whose_checksum_ends_with_zero_is_whole(tmp_path, last_byte):
    """Zeros behind a frame leave its checksum right: it can't be told by that alone where the frame ends."""
    path = tmp_path / "a.flac"
    content = flac_ending_with(path, last_byte)
    path.write_bytes(content)
    alone = audio.load(path, RATE_HZ)
    assert (alone.source_frames, alone.warnings) == (2000, ())
    for junk in (bytes(100), b"no audio at all"):
        path.write_bytes(content + junk)
        loaded = audio.load(path, RATE_HZ)
        np.testing.assert_array_equal(loaded.samples, alone.samples)
        assert any("bytes were not read: no audio that is known" in warning for warning in loaded.warnings)
    path.write_bytes(content + content)  # the second so short that the decoder has read it together with the first
    assert audio.load(path, RATE_HZ).source_frames == 4000


def test_a_flac_frame_is_what_its_crc_16_divides():
    rng = np.random.default_rng(1)
    for size in (0, 1, 7, 300, 9000):
        content = rng.bytes(size)
        remainder = 0
        for byte in content:
            remainder = flac.crc16_step(remainder, byte)
        assert flac.is_frame(content + remainder.to_bytes(2, "big"))
        assert not flac.is_frame(content + (remainder ^ 0x8421).to_bytes(2, "big"))


@pytest.mark.parametrize("seconds", [0.2, 1.0, 10.0])
def test_an_mp3_within_a_file_is_found_by_its_tag(tmp_path, seconds):
    """Frames of one kind are passed over in runs, but not a tag among them."""
    path = tmp_path / "a.mp3"
    samples = audio_forms.speechlike(round(seconds * RATE_HZ), RATE_HZ)
    contents = [written(path, part, "mp3") for part in (samples, FIRST, samples)]
    path.write_bytes(b"".join(contents))
    loaded = audio.load(path, RATE_HZ)
    assert loaded.warnings == ("3 recordings follow one another in this file: all of them were read",)
    assert loaded.duration_s == pytest.approx(2 * seconds + 1, abs=0.2)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [16000, 44100])  # MPEG versions 2 and 1, whose frames differ
def test_an_mp3_frame_that_nothing_can_decode_is_named(tmp_path, rate_hz, channels):
    """A granule has 576 lines, and so at most 288 pairs of big values; each decoder leaves out a frame with more."""
    path = tmp_path / "a.mp3"
    samples = np.stack([audio_forms.speechlike(rate_hz * 2, rate_hz)] * channels, 1)
    content = bytearray(written(path, samples, "mp3", rate_hz))
    assert audio.load(path, RATE_HZ).warnings == ()
    frames, at = [], 0
    while (frame := mpeg.mpeg_frame(bytes(content[at : at + 56]))) is not None:
        frames.append(at)
        at += frame.n_bytes
    private_bits = {(16000, 1): 9, (16000, 2): 10, (44100, 1): 18, (44100, 2): 20}[rate_hz, channels]
    for at in frames[11:13]:
        first_bit = 8 * 4 + private_bits + 12
        number = int.from_bytes(content[at : at + 16], "big")
        number |= 0x1FF << 8 * 16 - first_bit - 9
        content[at : at + 16] = number.to_bytes(16, "big")
    path.write_bytes(content)
    assert audio.load(path, RATE_HZ).warnings == ("damaged: 2 of its frames can't be decoded",)


def changed(content: bytes, at: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + len(by) :]


DAMAGED_HEADERS = {  # suffix → what is done to the file, and what is said
    "wav": (lambda content: content[:-2], "cut short: the last 2 bytes that its header promises are missing"),
    "aiff": (
        lambda content: changed(content, content.index(b"SSND") + 4, bytes(4)),
        "damaged: its header says 0 bytes of audio",
    ),
    "flac": (lambda content: changed(content, 8, bytes(4)), "damaged: its header states blocks of 0 to 0 samples"),
}


@pytest.mark.parametrize("suffix", DAMAGED_HEADERS)
def test_damage_that_costs_no_second_is_said_all_the_same(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    damage, said = DAMAGED_HEADERS[suffix]
    path.write_bytes(damage(written(path, FIRST, suffix)))
    loaded = audio.load(path, RATE_HZ)
    assert (loaded.warnings, loaded.source_frames) == ((said,), len(FIRST) - (suffix == "wav"))


def test_what_libsndfile_reads_however_damaged_ffmpeg_is_asked(tmp_path):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    path = tmp_path / "a.sph"
    soundfile.write(path, FIRST, RATE_HZ, format="NIST")
    assert audio.load(path, RATE_HZ).warnings == ()
    path.write_bytes(path.read_bytes().replace(b"end_head", b"end_hexd"))
    assert "damaged: FFmpeg does not read it to its end" in audio.load(path, RATE_HZ).warnings[0]


@pytest.mark.parametrize("size", [20, 0.5, 0.99])
def test_an_avi_whose_size_is_too_small_is_read_to_its_end(of_each_kind, size):
    """Where no recording follows at the end that it states: the sound is there, and FFmpeg finds it."""
    content, duration_s = of_each_kind["a.avi"]
    stated = size if size == 20 else int(size * len(content)) & ~1
    loaded = audio.load(changed(content, 4, struct.pack("<I", stated)), RATE_HZ)
    assert loaded.duration_s == duration_s
    left = len(content) - 8 - stated
    assert loaded.warnings == (f"its header does not count its last {left} bytes: read to its end",)


NOT_STATED = {  # what is done to the header of a recording for it to say nothing of the length
    "a.avi": lambda content: changed(content, 4, bytes(4)),
    "the most.avi": lambda content: changed(content, 4, b"\xff" * 4),
    "a.wav": lambda content: changed(content, content.index(b"data") + 4, b"\xff" * 4),
    "a.aiff": lambda content: changed(content, content.index(b"SSND") + 4, b"\xff" * 4),
    "a.au": lambda content: changed(content, 8, b"\xff" * 4),
    "a.w64": lambda content: changed(content, content.rindex(b"data") + 16, b"\xff" * 8),
    "a.sph": lambda content: content.replace(b"sample_count", b"simple_count"),
    "a.flac": lambda content: changed(content, 21, bytes([content[21] & 0xF0]) + bytes(4)),
    "a.mka": lambda content: changed(content, content.index(b"\x18S\x80g") + 4, b"\x01" + b"\xff" * 7),
    "a.wv": lambda content: changed(content, 12, b"\xff" * 4),
}


@pytest.mark.parametrize("name", NOT_STATED)
def test_a_length_that_no_header_states_is_said_not_to_be_known(of_each_kind, name):
    """It may have been cut short, and nothing could tell."""
    content, duration_s = of_each_kind[name.replace("the most", "a")]
    loaded = audio.load(NOT_STATED[name](content), RATE_HZ)
    assert loaded.duration_s == pytest.approx(duration_s, abs=0.01)
    assert "its header does not say how long it is: read to its end" in loaded.warnings


@pytest.mark.parametrize(("suffix", "mark", "order"), [("wav", b"data", "<"), ("aiff", b"SSND", ">")])
def test_samples_behind_a_size_that_is_too_small_are_not_passed_over_in_silence(tmp_path, suffix, mark, order):
    """The size of the whole counts them, that of the audio does not: a decoder alone stops in the midst."""
    path = tmp_path / f"a.{suffix}"
    content = written(path, FIRST, suffix)
    path.write_bytes(changed(content, content.index(mark) + 4, struct.pack(f"{order}I", 16_008)))
    left = len(content) - content.index(mark) - 8 - 16_008
    assert audio.load(path, RATE_HZ).warnings == (
        f"damaged: {left} bytes behind what its header calls audio are in no chunk",
    )


@pytest.mark.parametrize("stated", [0, 20, 30, 0xFFFF])
def test_a_voc_whose_header_states_a_wrong_length_of_its_own_is_read(of_each_kind, stated):
    """It is all there: "cut short" would be false."""
    content, duration_s = of_each_kind["a.voc"]
    loaded = audio.load(changed(content, 20, struct.pack("<H", stated)), RATE_HZ)
    assert loaded.duration_s == duration_s
    assert loaded.warnings == ("damaged: its header states a wrong length of its own",)
