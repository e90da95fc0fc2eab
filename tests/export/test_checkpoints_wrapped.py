"""Checkpoints as training code saves them: what is taken off is said, and what holds no such weights is refused."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dfexport.averaging import average
from dfexport.build import load_network, seeded
from dfexport.checkpoints import custom, load_state
from dfexport.cli import _dropped
from dfexport.detectors import ssl_aasist
from dfexport.errors import CheckpointInvalid
from dfexport.family import family_of
from dfexport.layers import xlsr
from dfexport.layers.xlsr import PREFIX, XlsrConfig
from dfexport.registry import DETECTORS, find
from dfexport.seeded import seeded_state
from dfexport.signals import wave

State = dict[str, Tensor]
STATE: State = dict(seeded(find("aasist_l")).state)
OTHER: State = {key: value + 1 for key, value in STATE.items()}
TINY = XlsrConfig(layers=2, hidden=32, feed_forward=48, conv_channels=16, position_kernel=8, position_groups=4)


def under(prefix: str, state: State = STATE) -> State:
    return {prefix + key: value for key, value in state.items()}


def saved(content: object, folder: Path, name: str = "mine.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def assert_is_state(state: State, expected: State = STATE) -> None:
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def answer(path: Path, name: str = "aasist_l") -> Tensor:
    with torch.inference_mode():
        logits: Tensor = load_network(find(name), custom(path))(torch.from_numpy(wave(1, 64_600))[None])
    return logits


def refusal(path: Path, name: str = "aasist_l") -> str:
    with pytest.raises(CheckpointInvalid) as caught:
        load_network(find(name), custom(path))
    text = str(caught.value)
    # What torch says of such files is advice to load them unsafely.
    assert not re.search(r"weights_only|arbitrary code|safe_globals|torch\.load", text)
    assert "\n" not in text
    assert path.name in text
    return text


LIGHTNING = {"epoch": 3, "state_dict": {**under("model."), "loss_fn.weight": torch.ones(2)}, "optimizer_states": []}
FORMS: dict[str, tuple[object, tuple[str, ...]]] = {
    "plain": (STATE, ()),
    "module": (under("module."), ("prefix module. taken off every key",)),
    "model": (under("model."), ("prefix model. taken off every key",)),
    "net": (under("net."), ("prefix net. taken off every key",)),
    "compiled": (under("_orig_mod."), ("prefix _orig_mod. taken off every key",)),
    "twice": (under("module.module."), ("prefix module.module. taken off every key",)),
    "chain": (under("module._orig_mod."), ("prefix module._orig_mod. taken off every key",)),
    **{
        entry: ({"epoch": 3, entry: STATE, "optimizer": {"state": {}}}, (f"read from its entry {entry}",))
        for entry in ("state_dict", "model_state_dict", "model", "net", "weights")
    },
    "EMA alone": (
        {"state_dict_ema": STATE},
        ("read from its entry state_dict_ema, an exponential moving average (EMA) of the trained weights",),
    ),
    "Lightning": (
        LIGHTNING,
        (
            "read from its entry state_dict",
            "left out, since only training used it: loss_fn.weight",
            "prefix model. taken off every key",
        ),
    ),
    "trained and EMA": (
        {"model": STATE, "ema": {"decay": 0.999, "shadow": OTHER}},
        (
            "read from its entry model",
            "left out, since model is there: ema (EMA weights); to build with those, save them alone",
        ),
    ),
    "trained and EMA, by prefix": (
        {**under("model."), **{f"ema_model.{key}": OTHER[key] for key in ("pos_S", "out_layer.bias")}},
        (
            "left out, since it is the EMA of the weights (to build with those, save them alone): "
            "ema_model.pos_S, ema_model.out_layer.bias",
            "prefix model. taken off every key",
        ),
    ),
    "numbers beside": ({**STATE, "epoch": 3}, ("left out, since they are no tensors: epoch",)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_state_and_what_was_done_is_said(tmp_path: Path, form: str) -> None:
    content, notes = FORMS[form]
    read = load_state(saved(content, tmp_path))
    assert_is_state(read.state)
    assert read.notes == notes


def test_wrapped_weights_give_the_same_logits(tmp_path: Path) -> None:
    plain = answer(saved(STATE, tmp_path))
    extras = {f"encoder.0.0.bn1.{name}": torch.full((1,), 7.0) for name in ("weight", "bias", "running_mean")}
    wrapped = {"state_dict": {**under("model._orig_mod.", {**STATE, **extras}), "loss_fn.weight": torch.ones(2)}}
    assert torch.equal(answer(saved(wrapped, tmp_path)), plain)
    assert not torch.equal(answer(saved(OTHER, tmp_path)), plain)


def test_a_prefix_of_some_keys_only_is_not_taken_off(tmp_path: Path) -> None:
    half = {("model." if key.startswith("out_layer") else "") + key: value for key, value in STATE.items()}
    assert refusal(saved(half, tmp_path)).endswith(
        "missing: out_layer.bias, out_layer.weight; unexpected: model.out_layer.bias, model.out_layer.weight"
    )


@pytest.mark.parametrize("spec", DETECTORS.values(), ids=DETECTORS)
def test_no_detectors_own_keys_are_taken_for_a_wrapper(spec: object, tmp_path: Path) -> None:
    family = family_of(spec)  # type: ignore[arg-type]
    state = {key: torch.zeros(1) for key in family.shapes()}
    read = load_state(saved(state, tmp_path))
    assert family.spelled(read.state).keys() == state.keys()
    assert all("read as weight_g and weight_v" in note for note in read.notes)


def test_new_weight_norm_is_read_as_the_published_one(tmp_path: Path) -> None:
    state = seeded_state(ssl_aasist.shapes(TINY), ssl_aasist.SSL_AASIST.seeded_rules)
    position = f"{PREFIX}encoder.pos_conv.0."
    new = {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for key, value in state.items()
    }
    assert f"{position}parametrizations.weight.original0" in new
    read = load_state(saved(new, tmp_path))
    assert_is_state(read.state, state)
    assert read.notes == (
        "weight norm's parametrizations.weight.original0 and original1 read as weight_g and weight_v",
    )
    assert torch.equal(answer(tmp_path / "mine.pth", "ssl_aasist"), answer(saved(state, tmp_path), "ssl_aasist"))


def test_torchs_own_weight_norms_agree_on_which_is_which(tmp_path: Path) -> None:
    torch.manual_seed(1)
    old = nn.utils.weight_norm(nn.Conv1d(4, 6, 3), dim=2)  # as fairseq's position embedding
    new = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3), dim=2)
    new.load_state_dict(old.state_dict())  # torch maps the old names itself
    assert_is_state(load_state(saved(new.state_dict(), tmp_path)).state, old.state_dict())


def test_what_no_score_depends_on_is_dropped_and_named(tmp_path: Path) -> None:
    leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    extras = {f"encoder.0.0.bn1.{leaf}": torch.ones(1) for leaf in leaves}
    content = {**STATE, **extras, "encoder.num_batches_tracked": torch.tensor(5)}
    (line,) = _dropped(find("aasist_l"), custom(saved(content, tmp_path)))
    parts = "encoder.0.0.bn1, encoder.num_batches_tracked (6 tensors)"
    assert line == f"left out, since no score depends on it: {parts}"
    assert _dropped(find("aasist_l"), custom(saved(STATE, tmp_path))) == []


def test_an_xlsr_head_drops_its_unused_norm_too() -> None:
    state = seeded_state(ssl_aasist.shapes(TINY), ssl_aasist.SSL_AASIST.seeded_rules)
    more = {**state, "encoder.0.0.bn1.weight": torch.ones(1)}
    assert ssl_aasist.SSL_AASIST.dropped_keys(more) == ["encoder.0.0.bn1.weight"]
    ssl_aasist.SSL_AASIST.load(more)


def lfs_pointer(path: Path) -> None:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 431230\n")


def torchscript(path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(path))


def exported_program(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), path)


def numpy_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weight=np.zeros(3))


def optimizer_state() -> dict[str, object]:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    return optimizer.state_dict()


def with_outputs(count: int) -> State:
    last = {key: STATE[key][:1].repeat(count, *[1] * (STATE[key].ndim - 1)) for key in STATE if "out_layer" in key}
    return {**STATE, **last}


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lfs_pointer, "is a Git LFS pointer, not the checkpoint: run git lfs pull"),
        (torchscript, "is a TorchScript archive, a program and not weights alone"),
        (exported_program, r"is a program of torch\.export, not weights alone"),
        (numpy_archive, "is a NumPy archive, not a PyTorch checkpoint"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(
    tmp_path: Path, write: Callable[[Path], None], words: str
) -> None:
    write(tmp_path / "mine.pth")
    assert re.search(words, refusal(tmp_path / "mine.pth"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (optimizer_state(), "is an optimizer's state, not a network's"),
        ({"optimizer": optimizer_state(), "epoch": 3}, r"with the entries: optimizer \(dict\), epoch \(int\)"),
        ({**STATE, "loss": np.float64(0.1)}, r"holds more than weights, a NumPy value \(numpy\.\w+\.multiarray"),
        ({"model": STATE, "eer": np.float32(0.1)}, "holds more than weights, a NumPy value"),
        (nn.Linear(2, 2), r"a whole network \(torch\.nn\.modules\.linear\.Linear\)"),
        ({"model": STATE, "args": argparse.Namespace(lr=1)}, r"command-line arguments \(argparse\.Namespace\)"),
        (with_outputs(3), r"expected 2 outputs \(spoof, bona fide\), found 3 in out_layer"),
        (with_outputs(1), r"expected 2 outputs \(spoof, bona fide\), found 1 in out_layer: a network of one logit"),
        (dict(seeded(find("aasist")).state), "is a checkpoint of aasist, not of aasist_l"),
        (under("module.", dict(seeded(find("aasist")).state)), "is a checkpoint of aasist, not of aasist_l"),
        ({**STATE, "out_layer.weight": STATE["out_layer.weight"] * np.nan}, "infinite values: out_layer.weight"),
        ([torch.zeros(2)], r"expected a state dict \(name → tensor\), found list"),
        (torch.zeros(2), r"expected a state dict \(name → tensor\), found Tensor"),
        ({0: torch.zeros(1)}, r"expected a state dict .*with the entries: 0 \(Tensor\)"),
        ({}, "expected a state dict .*found a dict with the no entries"),
    ],
)
def test_content_of_another_kind_is_refused_by_its_name(tmp_path: Path, content: object, words: str) -> None:
    assert re.search(words, refusal(saved(content, tmp_path)))


def test_a_cut_safetensors_under_another_name_says_so(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "whole.safetensors")
    (tmp_path / "mine.bin").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-100])
    assert "truncated or not a safetensors file" in refusal(tmp_path / "mine.bin")


def test_a_key_error_lists_ten_keys_of_each_kind(tmp_path: Path) -> None:
    keys = sorted(STATE)
    others = [f"other_{i:02}.weight" for i in range(13)]
    text = refusal(saved({key: torch.zeros(1) for key in others}, tmp_path))
    missing = f"missing: {', '.join(keys[:10])} and {len(keys) - 10} more"
    assert text.endswith(f"{missing}; unexpected: {', '.join(others[:10])} and 3 more")


def test_an_encoders_and_an_averages_key_errors_are_short_too() -> None:
    state = seeded_state(xlsr.shapes(TINY), xlsr.SEEDED_RULES)
    odd = {key: value for key, value in state.items() if "fc2" not in key and "k_proj" not in key}
    odd |= {f"{PREFIX}odd.{i}": torch.zeros(1) for i in range(12)}
    with pytest.raises(CheckpointInvalid, match=r"odd\.7 and 2 more$"):
        xlsr.load_xlsr(odd)
    with pytest.raises(CheckpointInvalid, match=rf"and {len(STATE) - 10} more$"):
        average([("a.pth", STATE), ("b.pth", {})])


def test_a_strangers_keys_and_entries_cant_steer_the_terminal(tmp_path: Path) -> None:
    odd = "\x1b[2Jgone\n"
    assert r"\x1b[2Jgone\n (dict)" in refusal(saved({odd: STATE}, tmp_path))
    (note,) = load_state(saved({**STATE, f"loss.{odd}": torch.zeros(1)}, tmp_path)).notes
    assert note.endswith(r"loss.\x1b[2Jgone\n")
