"""A page for each detector, from its row of the registry and what was measured; nothing here is written by hand."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dfexport.registry import DETECTORS
from dfexport.spec import DetectorSpec
from maker import architectures

DOCS = Path(__file__).resolve().parents[1]
ARENA = "Speech Anti-Spoofing Arena"
ARENA_PAGE = "https://huggingface.co/SpeechAntiSpoofingBenchmarks"
SCORE_WORDS = {
    "logit": "The logit of bona fide: unbounded, and no probability.",
    "log_softmax": "The logarithm of a softmax's bona fide: at most 0. LOGITS are log-probabilities, too.",
    "softmax": "A softmax's bona fide, 0 to 1: what the network believes, not how often it is right. LOGITS are raw.",
}


_BY_HAND = "has to be fetched by hand: only its page is known"


@dataclass(frozen=True)
class Card:
    """A page: where it lies in the site, what it is called, what it says."""

    path: str
    title: str
    text: str


@cache
def all_cards() -> tuple[Card, ...]:
    """One for each row of the registry, in its order."""
    return tuple(Card(f"models/{name}.md", name, _page(spec)) for name, spec in DETECTORS.items())


def index() -> str:
    """The page above them."""
    page = [
        "# Detectors\n",
        "A page each: what it is made of, what it was trained on, what is published and what was measured of it, and "
        "how to cite it. [Building them](../detectors.md) has what they have in common, and "
        "[why errors are high elsewhere](../explanation/out-of-domain.md) how to read the figures.\n",
        "| name | what it is | EER, In-the-Wild | parameters | licence of the weights |\n|---|---|---|---|---|",
    ]
    for name, spec in DETECTORS.items():
        summary = architectures.architecture(spec).summary.partition(": ")[0].partition(". ")[0].rstrip(".")
        licence = spec.checkpoint.licence.partition(":")[0]
        row = (f"[`{name}`]({name}.md)", summary, _in_the_wild(spec), _count(spec.parameters), licence)
        page.append(f"| {' | '.join(row)} |")
    return "\n".join(page) + "\n"


def _in_the_wild(spec: DetectorSpec) -> str:
    """The set that most detectors have a figure on and none was trained on; its authors' figure, else another's."""
    found = [eer for eer in spec.eers if eer.data.startswith("In-the-Wild")]
    first = min(found, key=lambda eer: eer.source != "", default=None)
    return f"{first.percent:g} %" if first else ""


def _page(spec: DetectorSpec) -> str:
    described = architectures.architecture(spec)
    sections = (
        f"# {spec.name}\n",
        f"{described.summary}\n",
        f"    dfexport build {spec.name}\n",
        *_facts(spec),
        "## Architecture\n",
        f'<div class="diagram" markdown="0">{architectures.picture(spec)}</div>\n',
        "## Published figures\n",
        *_figures(spec),
        "## Measured here\n",
        *_measured(spec),
        "## Files\n",
        *_files(spec),
        "## How to cite\n",
        f"{spec.paper}.\n",
        f"```bibtex\n{citations()[described.cite]}\n```\n",
        *_encoder_citation(described.encoder),
    )
    return "\n".join(sections)


def _facts(spec: DetectorSpec) -> Iterator[str]:
    windows = " or ".join(f"{samples:,} samples" for samples in (spec.window_samples, *spec.other_windows))
    threshold = f"{spec.threshold.score:g}: {spec.threshold.set_on}" if spec.threshold else "none stated by its authors"
    rows = {
        "parameters": f"{spec.parameters:,}",
        "trained on": spec.trained_on or "not known here",
        "window": f"{spec.window_s:.4g} s ({windows}), 16 kHz, mono, raw amplitude",
        "preparation": spec.preparation or "none",
        "score": SCORE_WORDS[spec.score_kind],
        "threshold": threshold,
        "precision": ", ".join(spec.precisions),
        "licence of the weights": spec.checkpoint.licence,
    }
    yield "| | |\n|---|---|"
    yield from (f"| {name} | {words} |" for name, words in rows.items())
    yield ""


def _figures(spec: DetectorSpec) -> Iterator[str]:
    if spec.published_result:
        yield f"Its authors: {spec.published_result}.\n"
    if not spec.eers:
        yield "No equal error rates by data set are known here.\n"
        return
    yield "Equal error rates: lower is better, 50 % is guessing.\n"
    yield "| data | EER | who says so | |\n|---|---|---|---|"
    for eer in spec.eers:
        note = "data of this set was in the training data" if eer.trained_on else ""
        yield f"| {eer.data} | {eer.percent:g} % | {_source(eer.source)} | {note} |"
    yield ""
    for transfer in spec.transfers:
        yield f"{str(transfer)[0].upper()}{str(transfer)[1:]}.\n"
    if any(_is_arena(eer.source) for eer in spec.eers):
        yield "The Arena's figures for ASVspoof 2021 pool all phases; the authors' are of the `eval` part.\n"


def _is_arena(source: str) -> bool:
    return "arena" in source.lower()


def _source(source: str) -> str:
    if _is_arena(source):
        return f"[{ARENA}]({ARENA_PAGE})"
    return source or "its authors"


def _measured(spec: DetectorSpec) -> Iterator[str]:
    if spec.seconds_per_window is None:
        yield "Its speed has not been measured.\n"
    else:
        yield (
            f"{spec.seconds_per_window:g} s a window in fp32 on two cores of an AMD EPYC, which is "
            f"{spec.window_s / spec.seconds_per_window:.0f} times as fast as it plays.\n"
        )
    yield (
        f"Every build compares the graph with the network in PyTorch: logits may differ by {spec.tolerance:g} at most. "
        f"At most {spec.max_batch_size} windows go through it at once on a GPU.\n"
    )
    builds = [row for row in _builds() if row["model"].startswith(f"`{spec.name}`")]
    if builds:
        yield "| build | export | peak while exporting | on disk | served, resident |\n|---|---|---|---|---|"
        keys = ("model", "export", "peak", "on_disk", "resident")
        yield from ("| " + " | ".join(row[key] for key in keys) + " |" for row in builds)
        yield ""


@cache
def _builds() -> list[dict[str, str]]:
    builds: list[dict[str, str]] = tomllib.loads((DOCS / "measured.toml").read_text(encoding="utf-8"))["builds"]
    return builds


def _files(spec: DetectorSpec) -> Iterator[str]:
    checkpoint = spec.checkpoint
    yield f"Published at <{checkpoint.page}>; {checkpoint.size} are used.\n"
    for file in checkpoint.files:
        digest = (
            f"SHA-256 `{file.sha256}`" if file.sha256 else "its digest is not published; a build records what it found"
        )
        other = ", or from " + ", ".join(f"<{mirror}>" for mirror in file.mirrors) if file.mirrors else ""
        how = f"is downloaded by `dfexport build` from <{file.url}>{other}" if file.url else _BY_HAND
        yield f"- `{file.name}` {how}; {digest}"
    yield ""


def _encoder_citation(encoder: str) -> Iterator[str]:
    if encoder.startswith("xlsr"):
        yield f"And its encoder:\n\n```bibtex\n{citations()['xlsr']}\n```\n"


@cache
def citations() -> Mapping[str, str]:
    """Key → entry of citations.bib."""
    text = (DOCS / "citations.bib").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in re.finditer(r"^@\w+\{(\w+),.*?^\}", text, re.MULTILINE | re.DOTALL)}


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:,.0f} M" if parameters >= 1e6 else f"{parameters:,}"
