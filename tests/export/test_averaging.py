"""Five checkpoints become the one that their authors score with."""

import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dfexport.__main__ import main
from dfexport.averaging import average, checkpoint_files, digest_of, save
from dfexport.checkpoints import custom
from dfexport.detectors.xlsr_mamba import XLSR_MAMBA
from dfexport.download import sha256_of
from dfexport.errors import CheckpointInvalid, CheckpointMissing, ExportError

AVERAGED_FILES = XLSR_MAMBA.averaged_files


def state_of(value: float, batches: int = 0) -> dict[str, torch.Tensor]:
    return {"bn.num_batches_tracked": torch.tensor(batches), "weight": torch.full((2, 3), value)}


def named(*states: dict[str, torch.Tensor]) -> list[tuple[str, dict[str, torch.Tensor]]]:
    return [(f"best_{rank}.pth", state) for rank, state in enumerate(states)]


@pytest.fixture
def five(tmp_path: Path) -> Path:
    for rank, name in enumerate(AVERAGED_FILES):
        torch.save(state_of(float(rank), batches=rank), tmp_path / name)
    return tmp_path


def test_floats_are_averaged_and_counters_are_the_firsts() -> None:
    averaged = average(named(*(state_of(value, batches=int(10 * value)) for value in (1.0, 2.0, 6.0))))
    assert torch.equal(averaged["weight"], torch.full((2, 3), 3.0))
    assert averaged["weight"].dtype == torch.float32
    assert averaged["bn.num_batches_tracked"].item() == 10
    assert list(averaged) == list(state_of(0.0))


def test_the_mean_is_taken_in_float64() -> None:
    # In float32 each of these sums would lose the small values: 1e8 + 1 == 1e8.
    averaged = average(named(*(state_of(value) for value in (1e8, 1.0, 1.0, 1.0, -1e8))))
    assert averaged["weight"][0, 0].item() == pytest.approx(0.6)


@settings(deadline=None)  # the first call warms torch up
@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=6))
def test_equal_states_average_to_themselves_and_order_does_not_matter(values: list[float]) -> None:
    assert torch.equal(average(named(*[state_of(values[0])] * 5))["weight"], state_of(values[0])["weight"])
    ways = (average(named(*(state_of(value) for value in order)))["weight"] for order in (values, values[::-1]))
    forth, back = ways
    torch.testing.assert_close(forth, back, rtol=1e-6, atol=max(map(abs, values)) * 1e-14)


def test_the_states_are_left_as_they_were() -> None:
    states = [state_of(1.0), state_of(3.0)]
    states[0]["weight"] = states[0]["weight"].double()
    states[1]["weight"] = states[1]["weight"].double()
    average(named(*states))
    assert [state["weight"][0, 0].item() for state in states] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("other", "key"),
    [
        ({**state_of(1.0), "extra": torch.zeros(1)}, "extra"),
        ({"weight": torch.zeros(2, 3)}, "bn.num_batches_tracked"),
        ({**state_of(1.0), "weight": torch.zeros(3, 2)}, "weight"),
        ({**state_of(1.0), "weight": torch.zeros(2, 3, dtype=torch.int64)}, "weight"),
    ],
    ids=["more keys", "fewer keys", "another shape", "another type"],
)
def test_another_network_is_refused_by_name(other: dict[str, torch.Tensor], key: str) -> None:
    with pytest.raises(CheckpointInvalid, match=rf"best_1\.pth can't be averaged with best_0\.pth.*: {key}$"):
        average(named(state_of(0.0), other))


def test_a_folder_of_five_is_found_in_order(five: Path) -> None:
    (five / "notes.txt").write_text("not a checkpoint")
    assert [path.name for path in checkpoint_files(five, AVERAGED_FILES)] == list(AVERAGED_FILES)


def test_a_file_and_a_folder_from_the_hub_are_one_file(tmp_path: Path) -> None:
    save_file(state_of(1.0), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert checkpoint_files(tmp_path, AVERAGED_FILES) == checkpoint_files(
        tmp_path / "model.safetensors", AVERAGED_FILES
    )


def test_a_download_that_is_not_whole_names_what_is_missing(five: Path) -> None:
    (five / "best_1.pth").unlink()
    (five / "best_4.pth").unlink()
    save_file(state_of(1.0), five / "model.safetensors")  # never taken in place of an average that was meant
    with pytest.raises(CheckpointMissing, match=r"found no best_1\.pth, best_4\.pth: the average needs all of them"):
        checkpoint_files(five, AVERAGED_FILES)


def test_folders_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match=r"expected best_0\.pth … best_4\.pth, or one \.safetensors file"):
        checkpoint_files(tmp_path, AVERAGED_FILES)
    with pytest.raises(CheckpointMissing, match="no checkpoint at"):
        checkpoint_files(tmp_path / "nowhere", AVERAGED_FILES)
    for name in ("a", "b"):
        save_file(state_of(1.0), tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointMissing, match=r"2 \.safetensors and 0 \.pth files; name a file instead"):
        checkpoint_files(tmp_path, AVERAGED_FILES)


def test_the_digest_is_what_sha256sum_says(five: Path) -> None:
    names = [f"best_{index}.pth" for index in range(5)]
    listing = subprocess.run(["sha256sum", *names], check=True, cwd=five, capture_output=True)
    whole = subprocess.run(["sha256sum"], input=listing.stdout, check=True, capture_output=True)
    assert digest_of(checkpoint_files(five, AVERAGED_FILES)) == whole.stdout.decode().split()[0]
    assert digest_of([five / "best_2.pth"]) == sha256_of(five / "best_2.pth")


def test_the_average_can_be_saved(tmp_path: Path) -> None:
    averaged = average(named(state_of(1.0, batches=7), state_of(2.0)))
    save(averaged, tmp_path / "new/average.safetensors")
    loaded = load_file(tmp_path / "new/average.safetensors")
    assert loaded.keys() == averaged.keys()
    assert all(torch.equal(loaded[key], averaged[key]) for key in averaged)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["average.safetensors"]


def test_only_safetensors_are_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"expected a name that ends in \.safetensors"):
        save(state_of(1.0), tmp_path / "average.pth")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cant_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"average\.safetensors: cannot write it: .*File exists"):
        save(state_of(1.0), tmp_path / "file/average.safetensors")


def test_the_command_saves_what_a_build_would_average(five: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = five / "saved/average.safetensors"
    assert main(["average", str(five), str(out)]) == 0
    assert "the mean of best_0.pth, best_1.pth" in capsys.readouterr().out
    averaged, saved = custom(five, AVERAGED_FILES), custom(out)
    assert saved.state.keys() == averaged.state.keys()
    assert all(torch.equal(saved.state[key], averaged.state[key]) for key in averaged.state)
    assert torch.equal(saved.state["weight"], torch.full((2, 3), 2.0))
    assert averaged.sha256 == digest_of(checkpoint_files(five, AVERAGED_FILES))
    assert main(["average", str(out), str(five / "again.safetensors")]) == 1
    assert "there is nothing to average" in capsys.readouterr().err
