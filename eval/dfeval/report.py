"""One self-contained HTML page about one or several detectors, and its parts as files.

DIR/index.html       everything, pictures inline, no network, light and dark
DIR/metrics.json     every figure
DIR/metrics.csv      every figure, a row each
DIR/transfer.json    what the threshold of one condition does in the others, where that was asked for
DIR/pictures/*.png, *.svg
"""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfeval.comparison import compare_trials
from dfeval.console import NOTHING, bounds, difference, drawn, figure, rate
from dfeval.drift import PAIR_COLUMN, ConditionTransfer
from dfeval.errors import EvalError
from dfeval.evaluation import Evaluation, GroupFigures, columns_of
from dfeval.figures import METRICS
from dfeval.formats import BONAFIDE, SPOOF
from dfeval.metrics.intervals import Interval
from dfeval.plots import Picture, draw_all
from dfeval.plots.style import DETECTORS, inline_svg, save, undrawable

MAX_COMPARED = 20_000  # trials
CSV_HEADER = ("detector", "column", "group", "n_bonafide", "n_spoof", "metric", "value", "low", "high")
TRANSFERRED = ("frr", "far", "eer")  # figures of a condition at the threshold of another
CLASSES = {BONAFIDE: "bona fide", SPOOF: "spoof"}
FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")  # those that OWASP names


@dataclass(frozen=True)
class Cell:
    """A table cell: what it shows, what it sorts by, and a smaller second line."""

    text: str
    sort: float | str
    detail: str = ""


@dataclass(frozen=True)
class _Row:
    name: str
    note: str
    cells: Sequence[Cell]


def write_report(evaluations: Sequence[Evaluation], folder: Path, transfers: Sequence[ConditionTransfer] = ()) -> Path:
    """Write the report of evaluations on one protocol into a folder (made if need be); returns the page's path.

    Args:
        evaluations: a detector each.
        folder: that it goes in.
        transfers: what each detector's threshold of one condition does in the others; none, or one a detector.

    Raises:
        EvalError: the folder can't be written, or two detectors have the same name.
    """
    names = [evaluation.trials.detector for evaluation in evaluations]
    if len(set(names)) < len(names):
        raise EvalError(f"the score files name their detectors {', '.join(names)}: give each a name of its own")
    pictures_folder = folder / "pictures"
    try:
        pictures_folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps([e.as_dict() for e in evaluations], indent=2) + "\n")
        with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([CSV_HEADER, *(map(_cell, row) for row in _csv_rows(evaluations))])
        if transfers:
            of_detector = dict(zip(names, (one.as_dict() for one in transfers), strict=True))
            (folder / "transfer.json").write_text(json.dumps(of_detector, indent=2) + "\n")
        pictures = []
        for picture in draw_all(evaluations, transfers):
            save(picture.figure, pictures_folder, picture.name)
            pictures.append((picture, inline_svg(picture.figure, picture.name)))
        page = folder / "index.html"
        page.write_text(_render(evaluations, pictures, transfers), encoding="utf-8")
    except OSError as error:
        raise EvalError(f"{folder}: can't write the report: {error.strerror}") from error
    return page


def _render(
    evaluations: Sequence[Evaluation],
    pictures: Sequence[tuple[Picture, str]],
    transfers: Sequence[ConditionTransfer],
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("dfeval", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        evaluations=evaluations,
        protocol=evaluations[0].trials.protocol,
        pooled=list(_pooled_rows(evaluations)),
        groups=[(column, list(_group_rows(evaluations, column))) for column in columns_of(evaluations)],
        shared=[(picture, svg) for picture, svg in pictures if picture.detector is None],
        own=[[(p, svg) for p, svg in pictures if p.detector == index] for index in range(len(evaluations))],
        transfers=transfers,
        has_copies=PAIR_COLUMN in evaluations[0].trials.table.columns,
        transferred=list(_transfer_rows(transfers)),
        comparisons=list(_comparisons(evaluations)),
        intervals=_interval_note(evaluations),
        left_out=_left_out(evaluations),
        undrawable=undrawable_in(evaluations),
        colours=DETECTORS,
        rate=rate,
        is_any_random=any(evaluation.trials.source.is_random for evaluation in evaluations),
    )


def _names(evaluations: Sequence[Evaluation]) -> list[str]:
    return [name for name in METRICS if any(name in evaluation.pooled for evaluation in evaluations)]


def _pooled_rows(evaluations: Sequence[Evaluation]) -> Iterator[_Row]:
    for name in _names(evaluations):
        metric = METRICS[name]
        cells = []
        for evaluation in evaluations:
            value, interval = evaluation.pooled[name], evaluation.intervals.get(name)
            cells.append(Cell(figure(name, value), value, bounds(interval, metric.is_rate) if interval else ""))
        yield _Row(metric.title, metric.meaning, cells)


def _group_rows(evaluations: Sequence[Evaluation], column: str) -> Iterator[_Row]:
    by_detector = [{g.group.name: g for g in e.groups if g.group.column == column} for e in evaluations]
    for name in dict.fromkeys(name for figures in by_detector for name in figures):
        group = next(figures[name].group for figures in by_detector if name in figures)
        cells = [
            Cell(f"{group.n_bonafide:,}", group.n_bonafide),
            Cell(f"{group.n_spoof:,}", group.n_spoof),
            Cell(group.against, group.against),
        ]
        for figures in by_detector:
            cells += _group_cells(figures.get(name))
        yield _Row(name, "small" if group.is_small else "", cells)


def _group_cells(figures: GroupFigures | None) -> list[Cell]:
    if figures is None:
        return [Cell(NOTHING, -1.0)] * 2
    # One column for both classes: which of the two error rates is meant follows from the class that is there.
    wrong = [
        (name, value)
        for name, value in (("rejected", figures.frr_at_threshold), ("accepted", figures.far_at_threshold))
        if not math.isnan(value)
    ]
    names, values = zip(*wrong, strict=True)
    return [
        Cell(rate(figures.eer), figures.eer, bounds(figures.interval) if figures.interval else ""),
        Cell(" / ".join(map(rate, values)), max(values), " / ".join(names)),
    ]


def _transfer_rows(transfers: Sequence[ConditionTransfer]) -> Iterator[_Row]:
    """A condition a row: of each detector the rates at its threshold, the EER there, and how far scores moved."""
    for name in dict.fromkeys(name for one in transfers for name in one.conditions):
        cells = []
        for one in transfers:
            figures = one.conditions.get(name)
            if figures is None:
                cells += [Cell(NOTHING, -1.0)] * (len(TRANSFERRED) + 1)
                continue
            for key in TRANSFERRED:
                value, interval = figures.transfer.figures[key], figures.transfer.intervals.get(key)
                cells.append(Cell(rate(value), value, bounds(interval) if interval else ""))
            moved = {CLASSES[label]: drift.median for label, drift in figures.drift.items()}
            text = " / ".join(f"{value:+.3g}" for value in moved.values()) or NOTHING
            cells.append(Cell(text, max(map(abs, moved.values()), default=0.0), " / ".join(moved)))
        yield _Row(name, "", cells)


def _comparisons(evaluations: Sequence[Evaluation]) -> Iterator[tuple[str, str]]:
    """Every other detector against the first, in words, where that takes seconds (dfeval compare does the rest)."""
    first, *others = evaluations
    n_replicates = first.settings.n_replicates
    if not n_replicates or first.trials.matching.n_matched > MAX_COMPARED:
        return
    for other in others:
        comparison = compare_trials(first.trials, other.trials, n_replicates, first.settings.seed)
        yield f"{other.trials.detector} against {first.trials.detector}", difference(comparison)


def undrawable_in(evaluations: Sequence[Evaluation]) -> str:
    """Characters of detectors' and groups' names that no font at hand has."""
    names = {one.trials.detector for one in evaluations} | {g.group.name for one in evaluations for g in one.groups}
    return undrawable(names)


def _left_out(evaluations: Sequence[Evaluation]) -> str:
    """Why no detectors are compared, where they could be; empty where they are."""
    n_trials = evaluations[0].trials.matching.n_matched
    if len(evaluations) < 2 or n_trials <= MAX_COMPARED:
        return ""
    return (
        f"Detectors are not compared in pairs here: {n_trials:,} trials are more than {MAX_COMPARED:,}, for which it "
        "takes minutes; dfeval compare does it."
    )


def _interval_note(evaluations: Sequence[Evaluation]) -> str:
    known = [evaluation.intervals["eer"] for evaluation in evaluations if "eer" in evaluation.intervals]
    if not known:
        return ""
    return f"Small figures are {known[0].level:.0%} bootstrap intervals ({drawn(known[0])})."


def _csv_rows(evaluations: Sequence[Evaluation]) -> Iterator[tuple[object, ...]]:
    for evaluation in evaluations:
        detector, rates = evaluation.trials.detector, evaluation.rates
        for name, value in evaluation.pooled.items():
            counts = (rates.n_bonafide, rates.n_spoof)
            yield detector, "pooled", "", *counts, name, value, *_ends(evaluation.intervals.get(name))
        for figures in evaluation.groups:
            group = figures.group
            head = (detector, group.column, group.name, group.n_bonafide, group.n_spoof)
            for name, value in figures.figures.items():
                yield *head, name, value, *_ends(figures.interval if name == "eer" else None)
            yield *head, "frr_at_threshold", figures.frr_at_threshold, "", ""
            yield *head, "far_at_threshold", figures.far_at_threshold, "", ""


def _cell(value: object) -> object:
    """A stranger's text that a spreadsheet would take for a formula gets an apostrophe; numbers, and a dash, stay."""
    is_formula = isinstance(value, str) and len(value) > 1 and value.startswith(FORMULA_MARKS)
    return f"'{value}" if is_formula else value


def _ends(interval: Interval | None) -> tuple[object, object]:
    return (interval.low, interval.high) if interval else ("", "")
