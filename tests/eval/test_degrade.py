"""Degraded copies: each effect against what defines it, and a folder's copies with their protocol."""

import csv
import json

import numpy as np
import pytest
import soundfile

from dfeval.__main__ import main
from dfeval.degrade import conditions_of, degrade
from dfeval.degrade.codecs import CODECS, missing, through_codec
from dfeval.degrade.effects import (
    in_room,
    made_up_room,
    packet_loss,
    pink_noise,
    resampled,
    telephone_band,
    through_rate,
    trimmed,
    white_noise,
)
from dfeval.errors import EvalError
from dfeval.protocols import load_protocol

RATE_HZ = 16_000


def _voice(seconds: float = 1.0, seed: int = 1) -> np.ndarray:
    """Harmonics of a voice whose pitch glides, with a syllable's rise and fall: no two of its moments are alike."""
    random = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(120 + 60 * time_s + random.uniform(-20, 20)) / RATE_HZ
    tones = sum(np.sin(k * phase + random.uniform(0, 6)) / k for k in range(1, 40))
    return 0.2 * tones * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s))


@pytest.mark.parametrize("noise", [white_noise, pink_noise])
@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 30.0])
def test_noise_lies_at_the_ratio_that_was_asked_for(noise, snr_db):
    voice = _voice()
    added = noise(voice, snr_db, np.random.default_rng(0)) - voice
    assert 10 * np.log10(np.mean(voice**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=1e-6)


def test_white_noise_is_flat_and_pink_noise_falls_by_three_db_an_octave():
    tone = np.full(20 * RATE_HZ, 1e-9)  # next to nothing beside the noise
    for noise, per_octave_db in ((white_noise, 0.0), (pink_noise, -3.0103)):
        power = np.abs(np.fft.rfft(noise(tone, -100.0, np.random.default_rng(0)))) ** 2
        hz = np.fft.rfftfreq(len(tone), 1 / RATE_HZ)
        low, high = (power[(hz >= edge) & (hz < 2 * edge)].mean() for edge in (250, 4000))
        assert 10 * np.log10(high / low) / 4 == pytest.approx(per_octave_db, abs=0.15)


def test_lost_packets_are_whole_silent_and_as_many_as_asked_for():
    voice = _voice(40) + 2.0  # nowhere zero
    packets = packet_loss(voice, 20, np.random.default_rng(0)).reshape(-1, 320)
    is_lost = (packets == 0).all(axis=1)
    np.testing.assert_array_equal(packets[~is_lost], voice.reshape(-1, 320)[~is_lost])
    assert is_lost.mean() == pytest.approx(0.2, abs=0.03)


def test_trimming_cuts_both_ends_and_no_pause():
    silence, voice = 1e-4 * np.ones(3200), 0.5 * np.ones(6400)
    found = trimmed(np.concatenate([silence, voice, silence, voice, silence]), 40, np.random.default_rng(0))
    np.testing.assert_array_equal(found, np.concatenate([voice, silence, voice]))


@pytest.mark.parametrize("effect", [white_noise, pink_noise, trimmed])
def test_digital_silence_has_no_level_to_go_by(effect):
    with pytest.raises(EvalError, match="digital silence"):
        effect(np.zeros(1600), 20.0, np.random.default_rng(0))


def test_a_made_up_room_decays_by_sixty_db_in_its_rt60():
    click = np.zeros(2 * RATE_HZ)
    click[0] = 1.0
    response = made_up_room(click, 0.5, np.random.default_rng(0))
    late = response[1:]
    assert np.sum(late**2) / response[0] ** 2 == pytest.approx(1.0, rel=1e-6)  # DIRECT_TO_LATE_DB is 0
    decay_db = 10 * np.log10(np.cumsum(late[::-1] ** 2)[::-1] / np.sum(late**2) + 1e-30)  # Schroeder's integral
    at = [int(np.argmax(decay_db < level)) for level in (-5, -35)]
    assert 2 * (at[1] - at[0]) / RATE_HZ == pytest.approx(0.5, rel=0.1)


def test_a_rooms_response_is_taken_from_its_peak_on_and_leaves_the_level_alone():
    voice = _voice()
    response = np.zeros(800)
    response[300], response[500] = 0.25, 0.1  # the sound needs 300 samples to the microphone
    expected = voice.copy()
    expected[200:] += 0.4 * voice[:-200]
    expected *= np.sqrt(np.mean(voice**2) / np.mean(expected**2))
    np.testing.assert_allclose(in_room(voice, response), expected, atol=1e-12)


def test_a_lower_rate_and_back_loses_what_lies_above_half_of_it_alone():
    time_s = np.arange(RATE_HZ) / RATE_HZ
    kept, lost = np.sin(2 * np.pi * 1000 * time_s), np.sin(2 * np.pi * 6000 * time_s)
    found = through_rate(kept + lost, 8, np.random.default_rng(0))
    np.testing.assert_allclose(found[800:-800], kept[800:-800], atol=1e-3)


@pytest.mark.parametrize("name", CODECS)
def test_codecs_change_a_voice_and_move_nothing_in_time(name):
    if reason := missing(name):
        pytest.skip(reason)
    voice, codec = _voice(), CODECS[name]
    kbps = {"mp3": 64, "aac": 32, "opus": 24, "amr-nb": 12.2}.get(name)
    found = through_codec(voice, name, kbps)
    assert found.shape == voice.shape
    expected = resampled(telephone_band(voice), 8000, RATE_HZ) if codec.is_telephone else voice
    spectra = (np.fft.rfft(one, 2 * len(voice)) for one in (found, expected))
    lags = np.fft.irfft(next(spectra) * np.conj(next(spectra)))
    assert np.argmax(lags) in (0, 1, 2, len(lags) - 1, len(lags) - 2)
    similarity = np.corrcoef(found, expected)[0, 1]
    assert 0.9 < similarity < 0.999999


def test_fewer_bits_are_further_from_the_recording():
    if reason := missing("mp3"):
        pytest.skip(reason)
    voice = _voice()
    errors = [np.mean((through_codec(voice, "mp3", kbps) - voice) ** 2) for kbps in (64, 32, 16)]
    assert errors == sorted(errors)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mp4"], "expected kinds of degradation among clean, telephone-alaw.*found mp4"),
        (["white-noise:loud"], r"expected numbers \(dB SNR\) after the colon, as in white-noise:20,10"),
        (["reverb:600"], "expected 0.05 to 10 s RT60, found 600"),
        (["white-noise:nan"], "expected -20 to 80 dB SNR, found nan"),
        (["telephone-alaw:8"], "takes no number"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(words, expected):
    with pytest.raises(EvalError, match=expected):
        conditions_of(words)


def test_clean_is_always_there_and_nothing_twice():
    names = [condition.name for condition in conditions_of(["white-noise:20,10", "white-noise", "trim", "clean"])[0]]
    assert names == ["clean", "white-noise-20db", "white-noise-10db", "trim-40db"]


@pytest.fixture
def labelled(tmp_path):
    """A folder of four recordings, of which one is broken, and their protocol, which has a fifth trial."""
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    for index, name in enumerate(["u0.wav", "u1.flac", "b/u2.wav"]):
        samples = (_voice(0.5, index) * 32767).astype(np.int16)
        soundfile.write(folder / name, samples, RATE_HZ, subtype="PCM_16")
    (folder / "u3.wav").write_bytes(b"no audio")
    (folder / "stray.wav").write_bytes(b"")
    protocol = tmp_path / "protocol.csv"
    rows = ["utt_id,label,condition,speaker", "u0,bonafide,studio,anna", "u1,spoof,studio,anna"]
    protocol.write_text("\n".join([*rows, "u2,spoof,street,ben", "u3,bonafide,street,ben", "u4,spoof,,"]) + "\n")
    return folder, protocol


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_becomes_copies_with_a_protocol_of_all(labelled, tmp_path):
    folder, protocol = labelled
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    conditions = conditions_of(["white-noise:20", "trim"])[0]
    made = degrade(folder, load_protocol(protocol, "csv"), tmp_path / "out", conditions)
    assert (made.n_recordings, made.n_written, made.n_errors) == (4, 9, 2)
    assert made.notes == ("1 recordings are no trial's",)
    rows = _rows(tmp_path / "out" / "protocol.csv")
    names = ["clean", "white-noise-20db", "trim-40db"]
    assert [row["utt_id"] for row in rows] == [f"{name}/u{i}" for name in names for i in range(3)]
    assert [row["label"] for row in rows] == ["bonafide", "spoof", "spoof"] * 3
    assert [row["condition (before)"] for row in rows[:3]] == ["studio", "studio", "street"]
    assert rows[5] == {
        **{"utt_id": "white-noise-20db/u2", "label": "spoof", "condition": "white-noise-20db", "original": "u2"},
        **{"path": "white-noise-20db/b/u2.flac", "condition (before)": "street", "speaker": "ben"},
    }
    for row in rows[:3]:  # 16 bits at 16 kHz come out as they went in
        copy, rate_hz = soundfile.read(tmp_path / "out" / row["path"], dtype="int16")
        assert rate_hz == RATE_HZ
        np.testing.assert_array_equal(
            copy, soundfile.read(next(folder.rglob(f"{row['original']}.*")), dtype="int16")[0]
        )
    errors = {row["utt_id"]: row for row in _rows(tmp_path / "out" / "errors.csv")}
    assert "can decode it" in errors["u3"]["error"] or "can't decode it" in errors["u3"]["error"]
    assert errors["u4"]["error"] == f"no recording in {folder} has this id"
    about = json.loads((tmp_path / "out" / "degrade.json").read_text())
    assert about["seed"] == 0
    assert {"numpy", "scipy", "soundfile", "soxr"} <= about["versions"].keys()
    assert [(row["condition"], row["n_written"]) for row in about["conditions"]] == [(name, 3) for name in names]
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_the_same_seed_gives_the_same_bytes_whatever_else_is_made(labelled, tmp_path):
    folder, protocol = labelled
    trials = load_protocol(protocol, "csv")

    def noise(out, words, seed):
        degrade(folder, trials, tmp_path / out, conditions_of(words)[0], seed=seed)
        return [(tmp_path / out / f"white-noise-20db/{name}.flac").read_bytes() for name in ("u0", "u1", "b/u2")]

    first = noise("a", ["white-noise:20"], 0)
    assert noise("b", ["packet-loss:5", "white-noise:10,20"], 0) == first
    assert all(one != other for one, other in zip(noise("c", ["white-noise:20"], 1), first, strict=True))


def test_too_loud_a_result_is_turned_down_as_a_whole_and_counted(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "u0.wav", 0.99 * np.sign(_voice(0.5)), RATE_HZ)
    (tmp_path / "p.csv").write_text("utt_id,label\nu0,spoof\n")
    trials = load_protocol(tmp_path / "p.csv", "csv")
    degrade(folder, trials, tmp_path / "out", conditions_of(["white-noise:0"])[0])
    copy = soundfile.read(tmp_path / "out/white-noise-0db/u0.flac")[0]
    assert np.sum(np.abs(copy) > 0.999) <= 2  # clipped, many would be
    about = json.loads((tmp_path / "out" / "degrade.json").read_text())
    assert [row["n_turned_down"] for row in about["conditions"]] == [0, 1]


def test_rooms_of_ones_own(labelled, tmp_path):
    folder, protocol = labelled
    response = np.zeros(4000)
    response[[100, 1700]] = 0.5, 0.25
    soundfile.write(tmp_path / "hall.wav", response, RATE_HZ, subtype="FLOAT")
    trials = load_protocol(protocol, "csv")
    degrade(folder, trials, tmp_path / "out", conditions_of([])[0], rirs=[tmp_path / "hall.wav"])
    voice, copy = (soundfile.read(path)[0] for path in (folder / "u0.wav", tmp_path / "out/rir/u0.flac"))
    np.testing.assert_allclose(copy, in_room(voice, response), atol=2 / 32768)
    assert json.loads((tmp_path / "out" / "degrade.json").read_text())["inputs"][1]["role"] == "rir"
    (tmp_path / "junk.wav").write_bytes(b"junk")
    with pytest.raises(EvalError, match=r"--rir .*junk\.wav"):
        degrade(folder, trials, tmp_path / "out2", conditions_of([])[0], rirs=[tmp_path / "junk.wav"])


@pytest.mark.parametrize("out", ["in", "in/b/new", "."])
def test_the_input_is_left_alone(labelled, tmp_path, out):
    folder, protocol = labelled
    with pytest.raises(EvalError, match=r"the input is left alone|something in it"):
        degrade(folder, load_protocol(protocol, "csv"), tmp_path / out, conditions_of(["trim"])[0])
    assert not (folder / "b" / "new").exists()


def test_from_a_folder_to_a_report_at_the_clean_threshold(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    rows = ["utt_id,label"]
    for index in range(40):
        rows.append(f"u{index},{'spoof' if index % 2 else 'bonafide'}")
        soundfile.write(folder / f"u{index}.wav", _voice(0.1, index), RATE_HZ)
    (tmp_path / "p.csv").write_text("\n".join(rows))
    command = [
        "degrade",
        "--protocol",
        tmp_path / "p.csv",
        folder,  # argparse takes it for one of the protocol's files
        "--out",
        out,
        "--only",
        "packet-loss:20",
        "resample",
    ]
    assert main(list(map(str, command))) == 0
    printed = capsys.readouterr().out
    assert "40 recordings in 3 conditions: clean, packet-loss-20pc, resample-8khz" in printed
    random = np.random.default_rng(0)
    before = {f"u{i}": random.normal(-1.0 if i % 2 else 1.0) for i in range(40)}
    shift = {"clean": 0.0, "packet-loss-20pc": -0.25, "resample-8khz": -1.5}
    scores = [f"{r['utt_id']},{before[r['original']] + shift[r['condition']]!r}" for r in _rows(out / "protocol.csv")]
    (tmp_path / "s.csv").write_text("\n".join(["utt_id,score", *scores]))
    command = ["report", tmp_path / "s.csv", "--protocol", out / "protocol.csv", "--by", "condition"]
    options = ["--transfer", "clean", "--bootstrap", "20", "--out", tmp_path / "report"]
    assert main(list(map(str, [*command, *options]))) == 0
    found = json.loads((tmp_path / "report" / "transfer.json").read_text())["s"]
    threshold = found["source"]["threshold"]
    moved = found["conditions"]["resample-8khz"]
    assert next(iter(found["conditions"])) == "clean"
    expected = np.mean([before[f"u{i}"] - 1.5 < threshold for i in range(0, 40, 2)])
    assert moved["figures"]["frr"] == pytest.approx(expected)
    assert moved["figures"]["eer"] == found["source"]["eer"]  # each score moved by as much, so the best threshold does
    for label in ("bonafide", "spoof"):
        drift = moved["drift"][label]
        assert drift["n_pairs"] == 20
        assert [drift[name] for name in ("low", "median", "high")] == pytest.approx([-1.5] * 3)
    page = " ".join((tmp_path / "report" / "index.html").read_text().split())
    assert "are of every condition together, and count a recording once in each" in page
    assert "The threshold of clean in each condition" in page
    assert (tmp_path / "report" / "pictures" / "1-transfer.png").stat().st_size > 1000
    assert main(["verify", str(tmp_path / "report" / "metrics.json")]) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--by", "language", "--transfer", "fr"], "no scored trial has the language 'fr'; there are en, pt"),
        (["--by", "system", "--transfer", "fish"], "to set a threshold there, it needs bona fide trials too"),
        (["--transfer", "fish"], "say with --by which column"),
        (["--by", "language", "--transfer", "pt", "--threshold", "0"], "leave --threshold out"),
    ],
)
def test_transfers_that_make_no_sense(small_data, tmp_path, capsys, options, expected):
    scores, protocol = small_data
    arguments = ["report", scores, "--protocol", protocol, "--out", tmp_path / "report", "--bootstrap", "0", *options]
    assert main(list(map(str, arguments))) == 1
    assert expected in capsys.readouterr().err
