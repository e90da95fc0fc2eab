"""What a threshold set in one condition does in the others, and how far their scores moved."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfeval.drift import ConditionFigures, ConditionTransfer
from dfeval.formats import BONAFIDE as BONAFIDE_LABEL
from dfeval.formats import SPOOF as SPOOF_LABEL
from dfeval.plots.distributions import MAX_ROWS, shorten
from dfeval.plots.style import BONAFIDE, INK, SPOOF, legend, styled

# Of each rate: what it is called, its colour, its marker, and how far from the row's middle it is drawn.
RATES = (
    ("frr", "bona fide rejected", BONAFIDE, "o", 0.2),
    ("eer", "EER there", INK, "D", 0.0),
    ("far", "spoof accepted", SPOOF, "s", -0.2),
)
DRIFTS = ((BONAFIDE_LABEL, BONAFIDE, "o", 0.12), (SPOOF_LABEL, SPOOF, "s", -0.12))


@styled
def draw_condition_transfer(found: ConditionTransfer) -> tuple[Figure, str]:
    """Error rates at the reference's threshold and drift of the scores, a row a condition, and what was left out.

    The reference stands on top, then the others by the mean of their two error rates, the worst first.
    """
    first, *others = found.conditions
    ranked = [first, *sorted(others, key=lambda name: -found.conditions[name].transfer.figures["hter"])]
    shown = ranked[:MAX_ROWS][::-1]
    figure = Figure(figsize=(7.6, 1.6 + 0.42 * len(shown)), layout="constrained")
    rates, drift = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    for y, name in enumerate(shown):
        _draw_rates(rates, found.conditions[name], y, is_first=y == 0)
        _draw_drift(drift, found.conditions[name], y)
    rates.set_yticks(range(len(shown)), [shorten(name) for name in shown])
    rates.set(xlabel="% of trials", ylim=(-0.6, len(shown) - 0.4))
    rates.set_xlim(-2, min(1.03 * rates.get_xlim()[1], 102))
    drift.axvline(0, color=INK, linewidth=1.2, linestyle=(0, (2, 2)))
    drift.set(xlabel=f"score, less that of {shorten(found.reference)}")
    legend(figure, len(RATES))
    left_out = len(ranked) - len(shown)
    return figure, f"; {left_out} conditions of fewer errors are not drawn" if left_out else ""


def _draw_rates(ax: Axes, figures: ConditionFigures, y: int, *, is_first: bool) -> None:
    for key, label, colour, marker, offset in RATES:
        interval = figures.transfer.intervals.get(key)
        if interval is not None:
            ax.plot([100 * interval.low, 100 * interval.high], [y + offset] * 2, color=colour, linewidth=2, alpha=0.5)
        value = 100 * figures.transfer.figures[key]
        ax.plot(value, y + offset, marker, color=colour, markersize=6, label=label if is_first else None)


def _draw_drift(ax: Axes, figures: ConditionFigures, y: int) -> None:
    for label, colour, marker, offset in DRIFTS:
        if label not in figures.drift:
            continue
        moved = figures.drift[label]
        if moved.low is not None and moved.high is not None:
            ax.plot([moved.low, moved.high], [y + offset] * 2, color=colour, linewidth=2, alpha=0.5)
        ax.plot(moved.median, y + offset, marker, color=colour, markersize=6)
