"""What a person reads: one line a recording, the summary, the banner, the tables of models and of health."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfclient.cli.progress import Progress
from dfclient.detector import Detector
from dfclient.fused import FusedDetector, FusedScore
from dfclient.live.stream import LiveStream
from dfclient.results import Failed, Score, WindowScore, calibration_for, window_calibration
from dfclient.server import Health, ModelHealth
from dfcontract.calibration import Calibration
from dfcontract.card import ModelCard
from dfcontract.live import live_name
from dfcontract.published import out_of_domain
from dfcontract.score_appending import errors_path
from dfcontract.text import printable, printable_lines
from dfcontract.windows import PROTOCOL, SLIDING

BANNER_WIDTH = 76


def banner(card: ModelCard) -> str:
    """A box nobody can miss, for a model whose weights were never trained."""
    lines = [
        "RANDOM WEIGHTS",
        f"Model {card.model!r} was built with random weights: it has learned nothing.",
        "These scores show that the machinery works. They say NOTHING about",
        "whether any recording is real or fake. Do not use them.",
    ]
    edge = "!" * BANNER_WIDTH
    return "\n".join([edge, *(f"!!{line:^{BANNER_WIDTH - 4}}!!" for line in lines), edge])


def heading(card: ModelCard, mode: str = PROTOCOL) -> str:
    """What the scores below are and how to read them; a live stream is cut as in sliding mode."""
    about = f"model {card.model} version {card.version}, weights {card.weights}"
    meaning = f"score: {card.score_kind} of bona fide, higher sounds more bona fide"
    lines = [about, f"{meaning}; {_threshold_text(card)}"]
    if mode == SLIDING and card.sliding_note:
        lines.append(card.sliding_note)
    return printable_lines(lines)


def fused_heading(detector: FusedDetector) -> str:
    """What the fused scores below are and how to read them."""
    fusion = detector.fusion
    cards = zip(fusion.members, detector.cards, strict=True)
    members = (
        f"  {card.model} version {card.version}, weights {card.weights}, weight in the sum {member.weight:+.4g}"
        for member, card in cards
    )
    meaning = (
        f"score: log-likelihood ratio, bona fide over spoof; bona fide from {fusion.threshold.llr:+.2f} on: "
        f"{fusion.threshold.rule}, on {fusion.fitted_on.get('protocol', 'unnamed data')}"
    )
    return printable_lines([f"fusion {fusion.digest[:12]} of", *members, meaning])


def score_line(result: Score | FusedScore | Failed) -> str:
    """Score, side of the threshold, length and path of one recording."""
    if isinstance(result, Failed):
        return printable(f"{'error':>10}  {'':5}  {'':>9}  {result.path or result.utt_id}: {result.error}")
    if isinstance(result, FusedScore):
        own = ", ".join(
            f"{name} {one.score:.4f}" for name, one in zip(result.fusion.detectors, result.members, strict=True)
        )
        side = f"{result.verdict} ({own})"
    else:
        side = side_of(result.score, result.card, result.calibration)
    notes = f"  [{'; '.join(result.warnings)}]" if result.warnings else ""
    name = (result.path or result.utt_id) + ("" if result.channel is None else f" #{result.channel}")
    return printable(f"{result.score:>10.4f}  {side:5}  {result.duration_s:>7.2f} s  {name}{notes}")


def side_of(score: float, card: ModelCard, calibration: Calibration | None) -> str:
    """The verdict that there is: by the calibration for scores like this one, else by the card's threshold, else none.

    A card's threshold is its calibration's, where it has one, and says nothing of scores that the latter is not for.
    """
    if calibration is not None:
        return f"{calibration.verdict(score)} (LLR {float(calibration.llr(score)):+.2f})"
    if card.threshold is None or card.calibration is not None or card.is_random:
        return ""
    return "above" if score >= card.threshold else "below"


def window_line(window: WindowScore, card: ModelCard, channel: int | None = None) -> str:
    """A window of a live stream: when, score, side of the threshold, and of which channel where each is scored."""
    when = f"{clock(window.start_s)} to {clock(window.end_s)}"
    line = f"{when}  {window.score:>10.4f}  {side_of(window.score, card, window_calibration(card))}".rstrip()
    return line if channel is None else f"{line}  #{channel}"


def status_line(lives: Sequence[LiveStream]) -> str:
    """How far live streams of one source are: audio heard, the scores so far, whether the server is there."""
    heard = f"listening {clock(lives[0].duration_s)}"
    scored = "  ".join(_so_far(live) for live in lives)
    return f"{heard}  {scored}" + ("" if all(live.is_connected for live in lives) else "  (connecting again)")


def _so_far(live: LiveStream) -> str:
    pooled = live.pooled
    if pooled is None:
        return "no window yet"
    side = side_of(pooled, live.card, calibration_for(live.card, live.windowing.cutting))
    return f"so far {pooled:.4f} {side}".rstrip()


def clock(time_s: float) -> str:
    """Minutes, seconds and tenths; hours where there are any."""
    tenths = round(time_s * 10)
    minutes, rest = divmod(tenths, 600)
    hours = f"{minutes // 60}:" if minutes >= 60 else ""
    return f"{hours}{minutes % 60:02d}:{rest // 10:02d}.{rest % 10}"


def _threshold_text(card: ModelCard) -> str:
    if card.is_random:
        return "no threshold makes sense for random weights"
    if card.calibration is not None:
        protocol = card.calibration.fitted_on["protocol"]
        cut = str(card.calibration.cutting)
        like_those = f"recordings cut like those ({cut}), others get none" if cut else "data like those"
        return f"LLR and verdict: by a calibration fitted on {protocol}, for {like_those}"
    if card.threshold is None:
        return "the card states no threshold"
    return f"above/below: against {card.threshold:g}, the threshold set on {card.threshold_source or 'unnamed data'}"


@dataclass
class Tally:
    """What the summary counts."""

    scored: int = 0
    failed: int = 0
    warned: int = 0
    cut: int = 0  # protocol mode: recordings longer than the one window that was scored
    judged: int = 0  # held against a threshold: not where a calibration is for recordings that are cut otherwise
    above: int = 0
    window_s: float = 0.0  # the shortest window of those that were cut

    def add(self, result: Score | FusedScore | Failed) -> None:
        """Count one result."""
        if isinstance(result, Failed):
            self.failed += 1
            return
        self.scored += 1
        self.warned += bool(result.warnings)
        self.judged += result.above_threshold is not None
        self.above += result.above_threshold is True
        self.cut += result.is_cut
        if result.is_cut:
            cards = [result.card] if isinstance(result, Score) else [one.card for one in result.members]
            self.window_s = min(card.window_s for card in cards)


def threshold_of(detector: Detector | FusedDetector) -> str:
    """The threshold that scores are counted at, and what it was set on; "" where there is none."""
    if isinstance(detector, FusedDetector):
        data = detector.fusion.fitted_on.get("protocol", "unnamed data")
        return f"{detector.fusion.threshold.llr:g}, the fusion's threshold, set on {data}"
    card = detector.card
    if card.threshold is None or card.is_random:
        return ""
    return f"{card.threshold:g}, the threshold set on {card.threshold_source or 'unnamed data'}"


def summary(
    tally: Tally,
    progress: Progress,
    cards: Sequence[ModelCard],
    threshold: str = "",
    *,
    skipped: int,
    rows: Path | None,
) -> str:
    """A few lines at the end: counts, time, where the rows are, what a score does not say.

    Args:
        tally, progress: what was counted.
        cards: of the models that scored.
        threshold: see `threshold_of`.
        skipped: recordings that an earlier run had scored.
        rows: the score file, if there is one.
    """
    done = f"{tally.scored} scored, {tally.failed} failed" + (f", {skipped} already there" if skipped else "")
    speed = f" ({progress.clips_per_s:.1f} clips/s, {progress.real_time_factor:.0f}x real time)" * bool(tally.scored)
    lines = [f"{done}, in {progress.elapsed_s:.1f} s{speed}"]
    if tally.judged and threshold:
        compared = f"{tally.judged} judged" if tally.judged < tally.scored else f"{tally.scored}"
        lines.append(f"{tally.above} of {compared} above {threshold}")
    if tally.warned:
        lines.append(f"{tally.warned} with a warning about their audio")
    if tally.cut:
        lines.append(
            f"{tally.cut} longer than the window: only the first {tally.window_s:.2f} s counted "
            "(--mode sliding scores all of it)"
        )
    if rows is not None:
        lines.append(f"rows: {rows}" + (f"   errors: {errors_path(rows)}" if tally.failed else ""))
    if not tally.scored:
        return printable_lines(lines)
    lines.append("a score is one model's opinion, and far less certain on audio unlike the data it was trained on")
    for card in cards:
        if worth := out_of_domain(card.eers, card.trained_on):
            lines.append(worth if len(cards) == 1 else f"{card.model}: {worth}")
        if card.transfers:
            worst = max(card.transfers, key=lambda one: one.rejected_percent)
            lines.append(str(worst) if len(cards) == 1 else f"{card.model}: {worst}")
    return printable_lines(lines)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns padded to their widest cell."""
    cells = [tuple(map(printable, row)) for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


MODEL_HEADER = (
    "MODEL", "VERSION", "WINDOW", "RATE", "WEIGHTS", "SCORE", "THRESHOLD", "PRECISION", "LIVE", "CHECKPOINT", "LICENCE"
)  # fmt: skip


def model_row(card: ModelCard, *, takes_streams: bool) -> tuple[str, ...]:
    """A row under MODEL_HEADER."""
    return (
        card.model,
        card.version,
        card.window_words,
        f"{card.sample_rate_hz} Hz",
        card.weights.upper() if card.is_random else card.weights,
        card.score_kind,
        "none" if card.threshold is None else f"{card.threshold:g}",
        card.precision,
        "yes" if takes_streams else "no",
        card.checkpoint_sha256[:12] or "unknown",
        card.licence,
    )


def health_table(url: str, health: Health) -> str:
    """The server, then each model, with the server's own reasons."""
    rows = [(f"server {url}", _word(health.is_live, "live") + ", " + _word(health.is_ready, "ready"), "")]
    rows += [(f"model {model.name}", _word(model.is_ready, "ready"), model.reason) for model in health.models]
    return "\n".join([table(("WHAT", "STATE", "REASON"), rows), printable_lines(advice(health))])


def advice(health: Health) -> list[str]:
    """What is the matter and what to do, a line each; one line where nothing is."""
    lines = [_advice_of(model) for model in health.models if not model.is_ready]
    if not health.models:
        lines.append("it holds no model: build one (dfexport build NAME) and serve that repository")
    elif not health.is_live or (not health.is_ready and not lines):
        lines.append("it starts, stops, or has lost a model's process: ask again in a minute, then look into its log")
    if lines and any(model.is_ready for model in health.models):
        lines.append("models that are ready answer meanwhile")
    return lines or ["all are ready; whether their answers are right, `dfdeploy check` proves"]


def _advice_of(model: ModelHealth) -> str:
    detector = model.name.removesuffix(live_name(""))
    what = model.name if not model.version else f"{model.name} version {model.version}"
    if model.reason in ("", "unloaded"):
        remedy = "it is being loaded or was unloaded: ask again in a minute, then start the server anew"
    else:
        remedy = f"it can't be loaded: build it again (dfexport build {detector}), or take it out of the repository"
    return f"{what}: {remedy}{'' if detector == model.name else f'; until then {detector} takes no live streams'}"


def _word(holds: bool, word: str) -> str:
    return word if holds else f"NOT {word}"
