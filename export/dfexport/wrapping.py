"""What training code wraps around a network's state dict: entries, prefixes and extras, each taken off and said.

A new habit of a training framework is a name in one of the tables below; nothing else needs to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dfcontract.text import printable
from dfexport.errors import CheckpointInvalid, listed

# Entries of a saved dict that hold weights: as trained, and their exponential moving average. The first there is taken.
TRAINED_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
AVERAGED_ENTRIES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "shadow")
# What wrappers put in front of every key: DataParallel, Lightning, torch.compile, a class around the network.
PREFIXES = ("module.", "model.", "net.", "network.", "_orig_mod.")
AVERAGED_PREFIXES = ("model_ema.", "ema_model.", "ema.")
# Beginnings of keys that only training needs: weights of the loss, and how many checkpoints were averaged.
TRAINING_KEYS = ("loss.", "loss_fn.", "criterion.", "n_averaged")
# torch.nn.utils.parametrizations.weight_norm → torch.nn.utils.weight_norm: endings of the same two tensors.
WEIGHT_NORM_ENDINGS = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}
OPTIMIZER_ENTRIES = {"state", "param_groups"}
SAVE_ALONE = "to build with those, save them alone"
PLAIN_TYPES = (int, float, str, bool, type(None))


@dataclass(frozen=True)
class Unwrapped:
    """A network's own state dict.

    Attributes:
        state: published key → tensor.
        notes: what was taken off or chosen on the way, a sentence each, for the user.
    """

    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def unwrap(content: Any) -> Unwrapped:
    """Find the state dict in what a checkpoint file held.

    Raises:
        CheckpointInvalid: there is none; says what is there instead, without the file's name.
    """
    notes: list[str] = []
    state = _tensors(_entry(content, notes), notes)
    state = _without_prefix(state, notes)
    return Unwrapped(_old_weight_norm(state, notes), tuple(notes))


def _entry(content: Any, notes: list[str]) -> Any:
    """Follow the entries that hold weights down to the state dict."""
    path: list[str] = []
    averaged = False
    while entries := _entries_with_weights(content):
        chosen, *others = entries
        content = content[chosen]
        path.append(chosen)
        averaged = averaged or chosen in AVERAGED_ENTRIES
        if others:
            notes.append(f"left out, since {chosen} is there: {', '.join(map(_described, others))}; {SAVE_ALONE}")
    if path:
        kind = ", an exponential moving average (EMA) of the trained weights" if averaged else ""
        notes.insert(0, f"read from its entry {'.'.join(path)}{kind}")
    return content


def _described(entry: str) -> str:
    return f"{entry} (EMA weights)" if entry in AVERAGED_ENTRIES else entry


def _entries_with_weights(content: Any) -> list[str]:
    if not isinstance(content, Mapping):
        return []
    return [
        name
        for name in (*TRAINED_ENTRIES, *AVERAGED_ENTRIES)
        if isinstance(content.get(name), Mapping) and _holds_tensors(content[name])
    ]


def _holds_tensors(content: Any, depth: int = 3) -> bool:
    if isinstance(content, Mapping) and depth:
        return any(_holds_tensors(value, depth - 1) for value in content.values())
    return isinstance(content, Tensor)


def _tensors(content: Any, notes: list[str]) -> dict[str, Tensor]:
    """The tensors of a flat dict; plain values that training code left beside them are dropped."""
    if not isinstance(content, Mapping):
        raise CheckpointInvalid(f"expected a state dict (name → tensor), found {type(content).__name__}")
    if content.keys() >= OPTIMIZER_ENTRIES:
        raise CheckpointInvalid("is an optimizer's state, not a network's; save the network's state_dict()")
    plain = [key for key, value in content.items() if isinstance(key, str) and isinstance(value, PLAIN_TYPES)]
    state = {key: value for key, value in content.items() if key not in plain}
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        found = listed({"entries": [f"{key} ({type(value).__name__})" for key, value in content.items()]})
        raise CheckpointInvalid(
            f"expected a state dict (name → tensor), alone or as one of {', '.join(TRAINED_ENTRIES)}; found a "
            f"{type(content).__name__} with the {found or 'no entries'}"
        )
    if plain:
        notes.append(listed({"left out, since they are no tensors": plain}))
    return state


def _without_prefix(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Take off what stands in front of every key, one wrapper after the other."""
    removed = ""
    while True:
        state = _without(state, TRAINING_KEYS, "only training used it", notes)
        if any(not key.startswith(AVERAGED_PREFIXES) for key in state):
            state = _without(state, AVERAGED_PREFIXES, f"it is the EMA of the weights ({SAVE_ALONE})", notes)
        prefix = next((p for p in (*PREFIXES, *AVERAGED_PREFIXES) if all(key.startswith(p) for key in state)), "")
        if not prefix or not state:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        removed += prefix
    if removed:
        notes.append(f"prefix {removed} taken off every key")
    return state


def _without(state: dict[str, Tensor], beginnings: tuple[str, ...], why: str, notes: list[str]) -> dict[str, Tensor]:
    dropped = [key for key in state if key.startswith(beginnings)]
    if dropped:
        notes.append(listed({f"left out, since {why}": dropped}))
    return {key: value for key, value in state.items() if not key.startswith(beginnings)}


def _old_weight_norm(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The keys as the published checkpoints have them, whichever of torch's two weight norms made them."""
    names = {
        key: key.removesuffix(new) + old
        for key in state
        for new, old in WEIGHT_NORM_ENDINGS.items()
        if key.endswith(new)
    }
    if not names or state.keys() & set(names.values()):
        return state
    notes.append("weight norm's parametrizations.weight.original0 and original1 read as weight_g and weight_v")
    return {names.get(key, key): value for key, value in state.items()}


def once_each(notes: Sequence[str]) -> tuple[str, ...]:
    """The notes of several files, without repetitions and fit for a terminal."""
    return tuple(printable(note) for note in dict.fromkeys(notes))
