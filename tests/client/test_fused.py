"""Several models of one real server as one, by a fusion."""

import csv
import dataclasses
import time

import numpy as np
import pytest
import soundfile

import tiny_repository
from dfclient import Failed, FusedDetector, FusedScore, InputError, ModelNotFound, audio
from dfclient.__main__ import main
from dfcontract.fusion import Fusion, LlrThreshold, Member
from dfcontract.score_file import from_row
from dfdeploy.embedded import Server

NAMES = ("tiny_other", "tiny_trained")  # not in the order of the alphabet's end, nor of the repository


def member(name: str, weight: float, slope: float, intercept: float, **changes) -> Member:
    digest = tiny_repository.DIGESTS.get(name, "ef" * 32)
    parameters = {"slope": slope, "intercept": intercept}
    own = Member(name, weight, "affine", parameters, "custom", digest, "protocol", {})
    return dataclasses.replace(own, **changes)


def fusion_of(*members: Member) -> Fusion:
    chosen = members or (member("tiny_other", 0.5, 2.0, 1.0), member("tiny_trained", 1.5, 3.0, -1.0))
    return Fusion(chosen, 0.25, LlrThreshold(0.1, "made up"), {"protocol": "a made-up set"}, {})


def expected_llr(window: np.ndarray) -> float:
    score = tiny_repository.logits_of(window)[1]
    return 0.25 + 0.5 * (2.0 * tiny_repository.OTHER_GAIN * score + 1.0) + 1.5 * (3.0 * score - 1.0)


@pytest.fixture(scope="module")
def pair_server(tmp_path_factory):
    with Server(tiny_repository.write_pair(tmp_path_factory.mktemp("pair"))) as server:
        yield server


@pytest.fixture
def dfclient(pair_server, tmp_path, monkeypatch, capsys):
    """dfclient(*arguments) → (exit code, stdout, stderr), run in tmp_path, which has fusion.json."""
    monkeypatch.chdir(tmp_path)
    fusion_of().save(tmp_path / "fusion.json")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([arguments[0], "--url", pair_server.grpc_url, *arguments[1:]])
        return code, *capsys.readouterr()

    return run


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_have_each_members_score_and_the_fused_one(dfclient, recording, tmp_path):
    for index in range(3):
        recording(f"in/{index}.wav", 1.3, seed=index)
    (tmp_path / "in" / "broken.wav").write_bytes(b"no audio")
    code, _, err = dfclient("score", "in", "--fusion", "fusion.json", "--out", "s.csv")
    assert code == 1
    assert "3 scored, 1 failed" in err
    assert "3 longer than the window: only the first 1.00 s counted" in err
    assert "the fusion's threshold, set on a made-up set" in err
    rows = rows_of(tmp_path / "s.csv")
    assert [row["utt_id"] for row in rows] == ["0", "1", "2"]
    fusion = Fusion.load(tmp_path / "fusion.json")
    for row in rows:
        samples = soundfile.read(row["path"], dtype="float32")[0][: tiny_repository.WINDOW_SAMPLES]
        score = tiny_repository.logits_of(samples)[1]
        values = from_row(row)
        assert values["members"] == NAMES
        assert values["member_scores"] == pytest.approx((tiny_repository.OTHER_GAIN * score, score), abs=1e-5)
        assert values["score"] == values["llr"] == pytest.approx(expected_llr(samples), abs=1e-4)
        assert values["verdict"] == ("bona_fide" if values["llr"] >= 0.1 else "spoof")
        assert values["fusion_sha256"] == fusion.digest
        assert values["model"] == "tiny_other + tiny_trained"
        assert values["checkpoint_sha256"] == f"{'cd' * 32} + {'ab' * 32}"
        assert (values["weights"], values["version"], values["mode"]) == ("custom", "1", "protocol")
    assert [row["path"] for row in rows_of(tmp_path / "s.errors.csv")] == ["in/broken.wav"]


def test_resume_scores_what_is_missing_by_the_same_fusion_alone(dfclient, recording, tmp_path):
    for index in range(3):
        recording(f"in/{index}.wav", seed=index)
    command = ("score", "in", "--fusion", "fusion.json", "--out", "s.csv")
    assert dfclient(*command)[0] == 0
    whole = (tmp_path / "s.csv").read_bytes()
    (tmp_path / "s.csv").write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    code, _, err = dfclient(*command, "--resume")
    assert (code, (tmp_path / "s.csv").read_bytes()) == (0, whole)
    assert "2 scored, 0 failed, 1 already there" in err
    dataclasses.replace(fusion_of(), intercept=0.5).save(tmp_path / "fusion.json")
    code, _, err = dfclient(*command, "--resume")
    assert (code, (tmp_path / "s.csv").read_bytes()) == (1, whole)
    assert "was made with fusion_sha256" in err


def test_each_channel_is_fused_by_itself(dfclient, recording, tmp_path):
    path = recording("two.wav", 1.0, channels=2)
    code, _, _ = dfclient("score", "two.wav", "--fusion", "fusion.json", "--channels", "each", "--out", "s.csv")
    assert code == 0
    samples = soundfile.read(path, dtype="float32")[0]
    for row, channel in zip(rows_of(tmp_path / "s.csv"), samples.T, strict=True):
        assert float(row["llr"]) == pytest.approx(expected_llr(channel), abs=1e-4)


def test_lines_to_read_say_what_was_fused(dfclient, recording):
    recording("a.wav")
    code, out, _ = dfclient("score", "a.wav", "--fusion", "fusion.json")
    assert code == 0
    assert "tiny_other version 1, weights custom, weight in the sum +0.5" in out
    assert "bona fide from +0.10 on: made up, on a made-up set" in out
    assert "(tiny_other " in out.splitlines()[-1]


def test_in_python(pair_server, recording):
    path = recording("a.wav")
    with FusedDetector(pair_server.grpc_url, fusion_of()) as fused:
        good, bad = fused.score_many([path, path.with_name("none.wav")])
    assert isinstance(good, FusedScore)
    assert isinstance(bad, Failed)
    assert [one.card.model for one in good.members] == list(NAMES)
    assert good.llr == pytest.approx(expected_llr(soundfile.read(path, dtype="float32")[0]), abs=1e-4)


def test_each_recording_is_decoded_once_for_all_members(pair_server, recording, monkeypatch):
    paths = [recording(f"{index}.wav", seed=index) for index in range(20)]
    decoded = []

    def counted(source, *arguments):
        decoded.append(source)
        return load_channels(source, *arguments)

    load_channels = audio.load_channels
    monkeypatch.setattr(audio, "load_channels", counted)
    with FusedDetector(pair_server.grpc_url, fusion_of()) as fused, paths[0].open("rb") as opened:
        *results, failed = fused.score_many([*paths[1:], opened, b"no audio"])
    assert len(decoded) == 21
    expected = [expected_llr(soundfile.read(path, dtype="float32")[0]) for path in [*paths[1:], paths[0]]]
    assert [one.llr for one in results] == pytest.approx(expected, abs=1e-4)
    assert isinstance(failed, Failed)


@pytest.mark.parametrize("concurrency", [1, 2, 5])
def test_all_members_together_have_no_more_in_flight_than_was_asked_for(faulty_server, concurrency):
    server = faulty_server(lambda number, name, request: time.sleep(0.01) if name == "ModelInfer" else None)
    names = ("a", "b", "c")
    fusion = fusion_of(*(member(name, 1.0, 1.0, 0.0, checkpoint_sha256="ab" * 32) for name in names))
    clips = [(np.full(16_000, 0.1 * number, np.float32), 16_000) for number in range(10)]
    with FusedDetector(server.url, fusion) as fused:
        results = list(fused.score_many(clips, concurrency=concurrency))
    assert [one.members[0].score for one in results] == pytest.approx([0.1 * number for number in range(10)], abs=1e-6)
    assert 1 <= server.triton.most_in_flight <= concurrency  # how many there really are is the machine's affair


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"checkpoint_sha256": "12" * 32}, "the checkpoint 121212121212…, found cdcdcdcdcdcd…"),
        ({"score_column": "llr"}, "fitted on the column 'llr' of tiny_other's score file"),
        ({"weights": "pretrained"}, "'tiny_other': the fusion was fitted on pretrained weights, found custom"),
        ({"windows": "sliding, hop 0.5 s, pool mean"}, "with windows cut so: sliding.*found: protocol"),
        (
            {"window_samples": "208000"},
            "cut so: protocol, at most 208000 samples at once; found: protocol, at most 16000 samples",
        ),
    ],
)
def test_another_model_than_it_was_fitted_on_is_refused(pair_server, change, expected):
    first, second = fusion_of().members
    fusion = fusion_of(dataclasses.replace(first, **change), second)
    with pytest.raises(InputError, match=expected), FusedDetector(pair_server.grpc_url, fusion) as fused:
        fused.score_many([])


def test_a_server_that_lacks_a_member_or_has_it_with_random_weights(pair_server, tiny_server):
    fusion = fusion_of(*fusion_of().members, member("absent", 1.0, 1.0, 0.0))
    expected = r"needs all of tiny_other, tiny_trained, absent on one server.*absent.*tiny_other"
    with pytest.raises(ModelNotFound, match=expected):
        FusedDetector(pair_server.grpc_url, fusion)
    fusion = fusion_of(member("tiny_trained", 1.0, 1.0, 0.0), member("tiny", 1.0, 1.0, 0.0))
    with pytest.raises(InputError, match="'tiny' has random weights"):
        FusedDetector(tiny_server.grpc_url, fusion)


@pytest.mark.parametrize("chosen", [(), ("--model", "tiny_trained", "--fusion", "fusion.json")])
def test_a_model_or_a_fusion(dfclient, recording, chosen):
    recording("a.wav")
    code, _, err = dfclient("score", "a.wav", *chosen)
    assert code == 2
    assert "expected --model NAME, or --fusion FILE" in err


def test_a_fusion_that_was_changed_is_refused(dfclient, recording, tmp_path):
    recording("a.wav")
    path = tmp_path / "fusion.json"
    path.write_text(path.read_text().replace("0.25", "0.5"))
    code, _, err = dfclient("score", "a.wav", "--fusion", "fusion.json")
    assert code == 1
    assert "digest" in err
