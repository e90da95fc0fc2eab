"""A page for each detector, from its row of the registry and what was measured; nothing here is written by hand."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dfcontract.tensors import SAMPLE_RATE_HZ
from dfexport.precision import FP32, REDUCTIONS, Reduction
from dfexport.registry import DETECTORS
from dfexport.spec import DetectorSpec
from maker import architectures

DOCS = Path(__file__).resolve().parents[1]
ARENA = "Speech Anti-Spoofing Arena"
MEASURED = "measured for dfserve"  # as the rows of the registry name their source
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
        f"```sh\ndfexport build {spec.name}\n```\n",
        *_facts(spec),
        "## Architecture\n",
        f'<div class="diagram" markdown="0">{architectures.picture(spec)}</div>\n',
        "## Published figures\n",
        *_figures(spec),
        "## Measured here\n",
        *_measured(spec),
        "## Precision\n",
        *_precisions(spec),
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
        **_whole_clips(spec),
        "preparation": spec.preparation or "none",
        "score": SCORE_WORDS[spec.score_kind],
        "threshold": threshold,
        "licence of the weights": spec.checkpoint.licence,
    }
    yield "| | |\n|---|---|"
    yield from (f"| {name} | {words} |" for name, words in rows.items())
    yield ""


def _whole_clips(spec: DetectorSpec) -> dict[str, str]:
    """What stands in place of a window's length, where its authors score clips as they are."""
    if spec.clip is None:
        return {}
    longest_s = spec.clip.most / SAMPLE_RATE_HZ
    return {
        "window": f"the whole clip, {spec.clip.least:,} samples to {spec.clip.most:,} ({longest_s:g} s), 16 kHz, mono, "
        f"raw amplitude. Of a longer one the mean of windows of {longest_s:g} s, which its row says",
        "sliding and live": f"windows of {spec.window_s:.4g} s ({spec.window_samples:,} samples), shorter clips as "
        "they are: not what its authors score, so their figures are not of these scores",
    }


def _figures(spec: DetectorSpec) -> Iterator[str]:
    if spec.published_result:
        yield f"Its authors: {spec.published_result}.\n"
    published = [eer for eer in spec.eers if eer.source != MEASURED]
    if not published:
        yield "No equal error rates by data set are known here.\n"
        return
    yield "Equal error rates: lower is better, 50 % is guessing.\n"
    yield "| data | EER | who says so | |\n|---|---|---|---|"
    for eer in published:
        note = "data of this set was in the training data" if eer.trained_on else ""
        yield f"| {eer.data} | {eer.percent:g} % | {_source(eer.source)} | {note} |"
    yield ""
    yield from _transfers(spec, is_own=False)
    if any(_is_arena(eer.source) for eer in published):
        yield "The Arena's figures for ASVspoof 2021 pool all phases; the authors' are of the `eval` part.\n"


def _is_arena(source: str) -> bool:
    return "arena" in source.lower()


def _source(source: str) -> str:
    if _is_arena(source):
        return f"[{ARENA}]({ARENA_PAGE})"
    return source or "its authors"


def _transfers(spec: DetectorSpec, *, is_own: bool) -> Iterator[str]:
    """How a threshold of one set did on another, a sentence each."""
    for transfer in spec.transfers:
        if (transfer.source == MEASURED) == is_own:
            yield f"{str(transfer)[0].upper()}{str(transfer)[1:]}.\n"


def _measured(spec: DetectorSpec) -> Iterator[str]:
    own = [f"{eer.percent:g} % on {eer.data}" for eer in spec.eers if eer.source == MEASURED]
    served = next((row for row in _measured_rows("served") if row["name"] == spec.name), {})
    speed = "not measured"
    if spec.seconds_per_window is not None:
        times = spec.window_s / spec.seconds_per_window
        speed = f"{spec.seconds_per_window:g} s a window in fp32, {times:.0f} times as fast as it plays"
    found = {
        "EER": ", ".join(own) or "not measured",
        "speed, two cores of an AMD EPYC": speed,
        "seconds a window with fewer bits": served.get("fewer_bits", ""),
        "memory of a process that serves it": served.get("resident", ""),
    }
    yield "| | |\n|---|---|"
    yield from (f"| {name} | {words} |" for name, words in found.items() if words)
    yield ""
    yield from _transfers(spec, is_own=True)
    if longest := served.get("longest"):
        yield f"The longest clip takes {longest}.\n"
    if builds := [row for row in _measured_rows("builds") if row["model"].startswith(f"`{spec.name}`")]:
        yield "| build | export | peak while exporting | on disk | served, resident |\n|---|---|---|---|---|"
        keys = ("model", "export", "peak", "on_disk", "resident")
        yield from ("| " + " | ".join(row[key] for key in keys) + " |" for row in builds)
        yield ""


def _precisions(spec: DetectorSpec) -> Iterator[str]:
    yield (
        f"Every build compares the graph with the network in PyTorch: logits may differ by {spec.tolerance:g} at most. "
        "Fewer bits are compared with fp32, and a build fails past the limits below. "
        f"At most {spec.max_batch_size} windows go through it at once on a GPU.\n"
    )
    yield "| precision | what it is | one score moves by, at most | in the mean |\n|---|---|---|---|"
    yield f"| {FP32} | as trained | | |"
    yield from (_precision(spec, precision, form, reduction) for (precision, form), reduction in REDUCTIONS.items())
    yield ""
    if rows := [row for row in _measured_rows("precisions") if row["model"] == f"`{spec.name}`"]:
        yield "What was measured of formats and fewer bits, against ONNX Runtime in fp32:\n"
        yield "| | speed | logits moved by, at most | mean | correlation | EER (fp32's) | where |"
        yield "|---|---|---|---|---|---|---|"
        keys = ("runtime", "speed", "largest", "mean", "correlation", "eer", "where")
        yield from ("| " + " | ".join(row[key] for key in keys) + " |" for row in rows)
        yield ""


def _precision(spec: DetectorSpec, name: str, form: str, reduction: Reduction) -> str:
    if name not in spec.precisions:
        return f"| {name} | not offered: {reduction.without_encoder} | | |"
    limits = reduction.limits
    option = "" if form == "onnx" else f"With `--format {form}`: "
    return f"| {name} | {option}{reduction.note} | {limits.max_difference:g} | {limits.mean_difference:g} |"


@cache
def _measured_rows(table: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = tomllib.loads((DOCS / "measured.toml").read_text(encoding="utf-8"))[table]
    return rows


def _files(spec: DetectorSpec) -> Iterator[str]:
    checkpoint = spec.checkpoint
    yield f"Published at <{checkpoint.page}>; {checkpoint.size} are used.\n"
    for file in checkpoint.files:
        digest = (
            f"SHA-256 `{file.sha256}`" if file.sha256 else "its digest is not published; a build records what it found"
        )
        other = ", or from " + ", ".join(f"<{mirror}>" for mirror in file.mirrors) if file.mirrors else ""
        how = f"is downloaded by `dfexport build` from <{file.url}>{other}" if file.url else _BY_HAND
        newest = "/resolve/main/" in (file.url or "") and file.sha256 is None
        which = ". No revision of it is known here: whatever is the newest there is fetched" if newest else ""
        yield f"- `{file.name}` {how}; {digest}{which}"
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
