"""Which channels and tracks of a recording are scored, and how several become one."""

import numpy as np
import pytest
import soundfile

import audio_forms
from dfclient import audio
from dfclient.audio import AudioOptions
from dfclient.audio.channels import WEIGHTS
from dfclient.errors import AudioError, InputError

RATE_HZ = 16000
VOICE = audio_forms.speechlike(RATE_HZ * 2, RATE_HZ, seed=1)
OTHER = np.roll(audio_forms.speechlike(RATE_HZ * 2, RATE_HZ, seed=2), 999)
EACH = AudioOptions(channels="each")


def wav(path, *channels):
    soundfile.write(path, np.stack(channels, 1), RATE_HZ, subtype="FLOAT")
    return path


@pytest.mark.parametrize("layout", ["5.1", "5.1(side)", "5.0", "quad", "3.0", "2.1", "4.0", "6.1", "6.0"])
def test_surround_is_mixed_as_ffmpeg_does(tmp_path, layout):
    av = pytest.importorskip("av", reason="the extra `containers` is not installed")
    places = [channel.name for channel in av.AudioLayout(layout).channels]
    rng = np.random.default_rng(3)
    frames = rng.uniform(-0.1, 0.1, (RATE_HZ, len(places))).astype(np.float32)
    path = audio_forms.encode(tmp_path / "a.wav", frames, RATE_HZ, "pcm_f32le", layout=layout, container="wav")
    loaded = audio.load(path, RATE_HZ)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(frames.T), format="fltp", layout=layout)
    frame.sample_rate = RATE_HZ
    (mixed,) = av.AudioResampler(format="fltp", layout="mono").resample(frame)
    np.testing.assert_allclose(loaded.samples, mixed.to_ndarray()[0], atol=1e-6)
    assert loaded.source_channels == len(places)
    assert loaded.warnings == (f"{len(places)} channels ({' '.join(places)}): their downmix was scored",)


def test_eight_channels_each_in_a_plane_of_its_own(tmp_path):
    """Of such a frame PyAV finds one plane too many: what lies behind the last one in memory."""
    av = pytest.importorskip("av", reason="the extra `containers` is not installed")
    places = [channel.name for channel in av.AudioLayout("7.1").channels]
    frames = np.zeros((RATE_HZ * 2, 8), np.float32)
    frames[:, places.index("FC")] = VOICE
    wide = audio_forms.encode(tmp_path / "a.wav", frames, RATE_HZ, "pcm_s16le", layout="7.1", container="wav")
    np.testing.assert_array_equal(audio.load(wide, RATE_HZ).samples, VOICE)
    with av.open(str(wide)) as source, av.open(str(tmp_path / "a.mka"), "w", format="matroska") as output:
        stream = output.add_stream("wavpack", rate=RATE_HZ, layout="7.1")
        stream.codec_context.format = "s16p"
        planes = av.AudioResampler(format="s16p", frame_size=4096)
        for frame in source.decode(audio=0):
            for part in planes.resample(frame):
                output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    loaded = audio.load(tmp_path / "a.mka", RATE_HZ)
    assert loaded.source_channels == 8
    np.testing.assert_array_equal(loaded.samples[: len(VOICE) - 4096], VOICE[:-4096])


def test_speech_in_the_centre_keeps_its_level(tmp_path):
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    frames = np.zeros((len(VOICE), 6), np.float32)
    frames[:, 2] = VOICE
    path = audio_forms.encode(tmp_path / "a.flac", frames, RATE_HZ, "flac", layout="5.1", container="flac")
    np.testing.assert_array_equal(audio.load(path, RATE_HZ).samples, VOICE)
    assert WEIGHTS["FC"] == 1
    assert WEIGHTS["LFE"] == 0


@pytest.mark.parametrize("channels", [3, 4, 6, 8])
def test_channels_without_a_layout_are_averaged_and_said(tmp_path, channels):
    frames = np.stack([audio_forms.speechlike(RATE_HZ, RATE_HZ, seed=seed) for seed in range(channels)], 1)
    soundfile.write(tmp_path / "a.wav", frames, RATE_HZ, subtype="FLOAT")
    loaded = audio.load(tmp_path / "a.wav", RATE_HZ)
    np.testing.assert_allclose(loaded.samples, frames.mean(axis=1), atol=1e-6)
    assert loaded.warnings == (f"{channels} channels, and the file does not say of what: their mean was scored",)


@pytest.mark.parametrize("noise", [0.0, 1e-5])
@pytest.mark.parametrize("live", [1, 2])
def test_of_two_channels_the_one_that_is_not_silent_is_scored(tmp_path, live, noise):
    silent = (noise * np.random.default_rng(1).standard_normal(len(VOICE))).astype(np.float32)
    path = wav(tmp_path / "a.wav", *((VOICE, silent) if live == 1 else (silent, VOICE)))
    loaded = audio.load(path, RATE_HZ)
    np.testing.assert_allclose(loaded.samples, VOICE, atol=5 * noise)
    assert loaded.warnings == (f"channel {3 - live} of 2 is silent: channel {live} was scored",)


def test_two_alike_channels_are_averaged_without_a_word(tmp_path):
    loaded = audio.load(wav(tmp_path / "a.wav", VOICE, 0.5 * VOICE), RATE_HZ)
    np.testing.assert_allclose(loaded.samples, 0.75 * VOICE, atol=1e-7)
    assert loaded.warnings == ()
    assert audio.load(wav(tmp_path / "b.wav", 0 * VOICE, 0 * VOICE), RATE_HZ).warnings == ()


def test_two_sides_of_a_call_are_told(tmp_path):
    mixed = audio.load(wav(tmp_path / "a.wav", VOICE, OTHER), RATE_HZ)
    (warning,) = mixed.warnings
    assert "hardly correlate" in warning
    assert "--channels each" in warning
    quiet = wav(tmp_path / "b.wav", VOICE, 0.005 * OTHER)  # hiss rather than a voice
    assert audio.load(quiet, RATE_HZ).warnings == ()


def test_channels_that_cancel_each_other_are_told(tmp_path):
    (warning,) = audio.load(wav(tmp_path / "a.wav", VOICE, -VOICE + 0.01 * OTHER), RATE_HZ).warnings
    assert "cancel each other (correlation -1.00): --channels 1" in warning


@pytest.mark.parametrize("suffix", ["wav", "flac", "mka"])
def test_each_channel_by_itself_or_one_of_them(tmp_path, suffix):
    frames = np.stack([VOICE, OTHER], 1)
    path = tmp_path / f"a.{suffix}"
    if suffix == "mka":
        pytest.importorskip("av", reason="the extra `containers` is not installed")
        audio_forms.encode(path, frames, RATE_HZ, "flac", container="matroska")
    else:
        soundfile.write(path, frames, RATE_HZ)
    both = audio.load_channels(path, RATE_HZ, EACH)
    assert [one.channel for one in both] == [1, 2]
    for number, (one, expected) in enumerate(zip(both, (VOICE, OTHER), strict=True), 1):
        np.testing.assert_array_equal(one.samples, expected)
        assert one.warnings == ()
        chosen = audio.load(path, RATE_HZ, AudioOptions(channels=number))
        np.testing.assert_array_equal(chosen.samples, expected)
        assert (chosen.channel, chosen.source_channels) == (None, 2)


def test_channels_of_an_array():
    both = audio.channels_from_array(np.stack([VOICE, OTHER], 1), RATE_HZ, RATE_HZ, EACH)
    np.testing.assert_array_equal(both[1].samples, OTHER)
    assert "hardly correlate" in audio.from_array(np.stack([VOICE, OTHER], 1), RATE_HZ, RATE_HZ).warnings[0]


def test_a_channel_that_is_not_there_or_changes_in_number(tmp_path):
    path = wav(tmp_path / "a.wav", VOICE)
    with pytest.raises(AudioError, match="expected channel 2, found 1 channel"):
        audio.load(path, RATE_HZ, AudioOptions(channels=2))
    stereo = wav(tmp_path / "b.wav", VOICE, OTHER)
    path.write_bytes(path.read_bytes() + stereo.read_bytes())
    with pytest.raises(AudioError, match="as many channels throughout, to score each, found 1, then 2"):
        audio.load_channels(path, RATE_HZ, EACH)
    with pytest.raises(InputError, match="load_channels"):
        audio.load(stereo, RATE_HZ, EACH)


@pytest.mark.parametrize("channels", ["all", "0", "65", "-1", "1.5", ""])
def test_options_that_name_no_channel(channels):
    with pytest.raises(InputError, match="expected channels mix, each or a number from 1 to 64"):
        AudioOptions.parsed(channels)


def test_options_from_words():
    assert AudioOptions.parsed("2", "DEU") == AudioOptions(channels=2, track="deu")
    assert AudioOptions.parsed("each", "3") == AudioOptions(channels="each", track=3)
    with pytest.raises(InputError, match="a track's number"):
        AudioOptions.parsed(track="0")


@pytest.fixture
def dubbed(tmp_path):
    """A film with two tracks, of which the second bears the default flag."""
    pytest.importorskip("av", reason="the extra `containers` is not installed")
    path = tmp_path / "a.mkv"
    audio_forms.write_tracks(
        path, [VOICE, OTHER], RATE_HZ, "flac", container="matroska", languages=("eng", "deu"), default=1
    )
    return path


def test_the_default_track_is_scored(dubbed):
    loaded = audio.load(dubbed, RATE_HZ)
    np.testing.assert_array_equal(loaded.samples, OTHER)
    assert loaded.warnings == ("2 audio tracks: 1 (eng), 2 (deu, default); scored was 2",)


@pytest.mark.parametrize(("track", "expected"), [("1", VOICE), ("2", OTHER), ("eng", VOICE), ("DEU", OTHER)])
def test_a_track_by_number_or_language(dubbed, track, expected):
    loaded = audio.load(dubbed, RATE_HZ, AudioOptions.parsed(track=track))
    np.testing.assert_array_equal(loaded.samples, expected)


def test_a_track_that_is_not_there(dubbed, tmp_path):
    with pytest.raises(AudioError, match=r"expected track fra, found 1 \(eng\), 2 \(deu, default\)"):
        audio.load(dubbed, RATE_HZ, AudioOptions(track="fra"))
    with pytest.raises(AudioError, match="expected track 2, found 1 audio track"):
        audio.load(wav(tmp_path / "a.wav", VOICE), RATE_HZ, AudioOptions(track=2))


def test_one_channel_of_several_is_said_for_nothing_else_in_a_row_does(tmp_path):
    path = wav(tmp_path / "a.wav", VOICE, OTHER)
    assert audio.load(path, RATE_HZ, AudioOptions(2)).warnings == ("channel 2 of 2 was scored, as asked",)
    (mono,) = audio.load_channels(wav(tmp_path / "b.wav", VOICE), RATE_HZ, AudioOptions(1))
    assert mono.warnings == ()
