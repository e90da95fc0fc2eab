"""Write the tables of README.md and docs/*.md from the rows that the code works by.

    python docs/tables.py            rewrite what is stale (make docs-tables)
    python docs/tables.py --check    say what is stale, and fail if anything is

A page marks the place: a line `<!-- table: NAME -->`, the table, a line `<!-- end -->`. The names are those of TABLES.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from dfcontract.errors import ErrorCode
from dfcontract.published import Eer
from dfcontract.score_file import COLUMNS
from dfcontract.tensors import SAMPLE_RATE_HZ
from dfeval.degrade.kinds import KINDS
from dfeval.figures import METRICS, Metric
from dfeval.formats import FORMATS
from dfexport.registry import DETECTORS
from dfexport.rows.common import ARENA
from dfexport.spec import DetectorSpec

ROOT = Path(__file__).resolve().parents[1]
COMPARED_SETS = ("In-the-Wild", "ASVspoof 2021 DF", "ASVspoof 5")
MEASURED = ROOT / "docs" / "measured.toml"
BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n)(?P<table>.*?)(<!-- end -->)", re.DOTALL)
MARK = re.compile(r"<!-- (?:table: [^>]*|end) -->")

Rows = Iterable[tuple[str, ...]]


def markdown(header: tuple[str, ...], rows: Rows) -> str:
    """A table; a bar in a cell is escaped."""
    return _line(header) + "|---" * len(header) + "|\n" + "".join(map(_line, rows))


def _line(cells: tuple[str, ...]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in (c.replace("|", r"\|") for c in cells)) + "\n"


def detectors() -> str:
    """What can be built: who published it, how large and how fast it is."""
    header = (
        "name",
        "parameters",
        "checkpoint",
        "size",
        "licence",
        "published",
        "window",
        "seconds a window",
        "precision",
    )
    return markdown(header, map(_detector, DETECTORS.values()))


def _detector(spec: DetectorSpec) -> tuple[str, ...]:
    checkpoint = spec.checkpoint
    page = "/".join(checkpoint.page.split("/")[-2:])
    files = ", ".join(f"`{file.name}`" for file in checkpoint.files)
    by_hand = "" if all(file.url for file in checkpoint.files) else ", to be fetched by hand"
    return (
        f"`{spec.name}`",
        f"{spec.parameters:,}" if spec.parameters < 1e6 else f"{spec.parameters / 1e6:.0f} M",
        f"{files}, [{page}]({checkpoint.page}){by_hand}",
        checkpoint.size,
        checkpoint.licence.partition(":")[0],
        spec.result.replace("ASVspoof 20", "20"),
        f"{spec.window_s:.4g} s" if spec.clip is None else f"the clip, to {spec.clip.most / SAMPLE_RATE_HZ:g} s",
        _seconds(spec.seconds_per_window),
        ", ".join(spec.precisions),
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def checkpoints() -> str:
    """What the detectors' authors published, in full."""
    header = ("name", "parameters", "files", "licence", "windows, samples", "threshold", "paper")
    return markdown(header, map(_checkpoint, DETECTORS.values()))


def _checkpoint(spec: DetectorSpec) -> tuple[str, ...]:
    files = (
        f"`{file.name}`" + ("" if file.url else " (by hand: only its page is known)") for file in spec.checkpoint.files
    )
    windows = [f"{samples:,}" for samples in (spec.window_samples, *spec.other_windows)]
    if spec.clip is not None:
        windows.insert(0, "the clip, {:,} to {:,}".format(*spec.clip))
    threshold = f"{spec.threshold.score:g}: {spec.threshold.set_on}" if spec.threshold else "none stated"
    return (
        f"`{spec.name}`",
        f"{spec.parameters:,}",
        ", ".join(files),
        spec.checkpoint.licence,
        " or ".join(windows),
        threshold,
        spec.paper,
    )


def comparison() -> str:
    """All detectors side by side: what they ask for, and what they are worth on data that many were scored on."""
    header = (
        "name",
        "parameters",
        "licence",
        "s a window",
        "with fewer bits",
        "memory",
        *COMPARED_SETS,
        "worst of all",
    )
    served = {row["name"]: row for row in _measured("served")}
    return markdown(header, (_compared(spec, served.get(spec.name, {})) for spec in DETECTORS.values()))


def _compared(spec: DetectorSpec, served: Mapping[str, str]) -> tuple[str, ...]:
    licence = spec.checkpoint.licence.partition(":")[0].partition(" (")[0]
    unseen = [eer for eer in spec.eers if not eer.trained_on]
    worst = max(unseen, key=lambda eer: eer.percent, default=None)
    return (
        f"`{spec.name}`",
        f"{spec.parameters / 1e6:.{0 if spec.parameters >= 1e6 else 1}f} M",
        licence.replace("for the weights by their authors", "").replace("by its authors", "").strip(),
        _seconds(spec.seconds_per_window),
        served.get("fewer_bits", ""),
        served.get("resident", ""),
        *(_of_set(spec, name) for name in COMPARED_SETS),
        f"{worst.percent:.3g}, {worst.data}" if worst else "",
    )


def _of_set(spec: DetectorSpec, data: str) -> str:
    """The rates of a data set in percent; marked are those of whole clips, of the arena, and of sets trained on."""
    return "; ".join(f"{eer.percent:.3g}{_marks(eer)}" for eer in spec.eers if eer.data.startswith(data))


def _marks(eer: Eer) -> str:
    marks = {"whole": ", whole clips" in eer.data, "arena": eer.source == ARENA, "other": eer.source not in ("", ARENA)}
    return "".join(f" {mark}" for mark, holds in (marks | {"trained on": eer.trained_on}).items() if holds)


def worth() -> str:
    """What is published of each detector's scores, by data set, and what it was trained on."""
    header = ("name", "its authors' EER", "others' EER", "trained on")
    return markdown(header, map(_worth, DETECTORS.values()))


def _worth(spec: DetectorSpec) -> tuple[str, ...]:
    stated = [str(eer) for eer in spec.eers if not eer.source]
    others = [str(eer).replace(ARENA, "arena") for eer in spec.eers if eer.source]
    return (f"`{spec.name}`", "; ".join(stated), "; ".join(others), spec.trained_on or "not known here")


def builds() -> str:
    """What a build takes, and what it weighs afterwards."""
    header = ("", "export", "peak while exporting", "on disk", "served, resident")
    keys = ("model", "export", "peak", "on_disk", "resident")
    return markdown(header, (tuple(row[key] for key in keys) for row in _measured("builds")))


def _measured(table: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = tomllib.loads(MEASURED.read_text(encoding="utf-8"))[table]
    return rows


def sizing() -> str:
    """What a node of two cores does in an hour, and how many node-hours much audio takes."""
    header = (
        "detector",
        "windows/s a node",
        "hours of audio a node-hour",
        "a million hours, node-hours",
        "at 0.10 each",
    )
    measured = (spec for spec in DETECTORS.values() if spec.seconds_per_window is not None)
    return markdown(header, map(_sizing, measured))


def _sizing(spec: DetectorSpec) -> tuple[str, ...]:
    assert spec.seconds_per_window is not None  # noqa: S101  # chosen above
    node_hours = 1e6 * spec.seconds_per_window / spec.window_s  # a window follows the one before it
    return (
        f"`{spec.name}`",
        f"{1 / spec.seconds_per_window:.3g}",
        f"{spec.window_s / spec.seconds_per_window:.3g}",
        f"{node_hours:,.0f}",
        f"{0.10 * node_hours:,.0f}",
    )


def precisions() -> str:
    """What formats and precisions were found to gain and to cost."""
    keys = ("model", "runtime", "speed", "largest", "mean", "correlation", "eer", "where")
    header = ("", "runtime", "speed", "logits moved by, at most", "mean", "correlation", "EER (fp32's)", "where")
    measured: list[dict[str, str]] = tomllib.loads(MEASURED.read_text(encoding="utf-8"))["precisions"]
    return markdown(header, (tuple(row[key] for key in keys) for row in measured))


def drift_limits() -> str:
    """How far fewer bits may move scores."""
    from dfexport.precision import REDUCTIONS  # loads torch

    limits = {precision: row.limits for (precision, _), row in REDUCTIONS.items()}
    rows = (
        (
            name,
            f"{limit.max_difference:g}",
            f"{limit.mean_difference:g}",
            f"{limit.rank_correlation:g}",
            f"+{100 * limit.eer_difference:g} %",
        )
        for name, limit in limits.items()
    )
    return markdown(("", "one score", "mean", "rank correlation (from 10 clips on)", "EER, absolute"), rows)


def score_columns() -> str:
    """The columns of a score file, in order."""
    return markdown(("column", "what it holds"), ((f"`{column.name}`", column.meaning) for column in COLUMNS))


def metrics() -> str:
    """The figures of an evaluation."""
    rows = ((metric.title, _explained(metric), metric.source) for metric in METRICS.values())
    return markdown(("figure", "what it is", "source"), rows)


def _explained(metric: Metric) -> str:
    return f"{metric.meaning}; {metric.definition}" if metric.definition else metric.meaning


def protocol_formats() -> str:
    """The data sets whose protocols are read."""
    rows = ((f"`{name}`", row.example, ", ".join(row.groups)) for name, row in FORMATS.items())
    return markdown(("format", "a line", "broken down by"), rows)


def degradations() -> str:
    """What `dfeval degrade` can do to a recording."""
    rows = (
        (f"`{name}`", f"{', '.join(f'{value:g}' for value in kind.values)} {kind.unit}".strip(), kind.meaning)
        for name, kind in KINDS.items()
    )
    return markdown(("kind", "by default", "what it is"), rows)


def error_codes() -> str:
    """What our own backends answer in place of scores."""
    return markdown(
        ("text holds", "why", "what to do"),
        ((f"`{code.value}`", code.meaning, code.remedy) for code in ErrorCode),
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "detectors": detectors,
    "checkpoints": checkpoints,
    "comparison": comparison,
    "worth": worth,
    "builds": builds,
    "sizing": sizing,
    "drift-limits": drift_limits,
    "precisions": precisions,
    "score-columns": score_columns,
    "metrics": metrics,
    "protocol-formats": protocol_formats,
    "degradations": degradations,
    "error-codes": error_codes,
}


def pages() -> list[Path]:
    """The pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str, where: str) -> str:
    """A page's text with every marked table as the code says it today.

    Raises:
        ValueError: a mark without its end, or a table that nobody makes.
    """

    def fill(block: re.Match[str]) -> str:
        name = block["name"]
        if name not in TABLES:
            raise ValueError(f"{where}: table {name!r} is unknown; known are {', '.join(TABLES)}")
        return f"<!-- table: {name} -->\n{TABLES[name]()}<!-- end -->"

    if len(MARK.findall(text)) != 2 * len(BLOCK.findall(text)):
        raise ValueError(f"{where}: expected each '<!-- table: NAME -->' to be followed by '<!-- end -->'")
    return BLOCK.sub(fill, text)


def stale() -> Iterator[tuple[Path, str]]:
    """The pages whose tables are not what the code says, with what they should be."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (wanted := filled(text, page.name)) != text:
            yield page, wanted


def main(argv: list[str] | None = None) -> int:
    """Rewrite or check; 1 when the check finds something stale, or a mark is wrong."""
    parser = argparse.ArgumentParser(prog="docs/tables.py", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a table is stale")
    arguments = parser.parse_args(argv)
    try:
        found = list(stale())
    except ValueError as error:
        print(f"docs/tables.py: error: {error}", file=sys.stderr)
        return 1
    for page, text in found:
        print(f"{page.relative_to(ROOT)}: {'stale: run python docs/tables.py' if arguments.check else 'rewritten'}")
        if not arguments.check:
            page.write_text(text, encoding="utf-8")
    return 1 if arguments.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
