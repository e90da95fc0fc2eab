"""All pictures of one or several evaluations, in the order of a report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from dfeval.drift import ConditionTransfer
from dfeval.evaluation import Evaluation, columns_of
from dfeval.plots.curves import draw_det, draw_reliability, draw_roc, draw_tippett
from dfeval.plots.distributions import MAX_RUG, draw_scores, draw_scores_by_group
from dfeval.plots.rates import draw_confusion, draw_rates
from dfeval.plots.transfer import draw_condition_transfer


@dataclass(frozen=True)
class Picture:
    """A figure with its file name (no suffix), title and caption; ``detector`` counts from 0, None = all of them."""

    name: str
    title: str
    caption: str
    figure: Figure
    detector: int | None = None


def draw_all(evaluations: Sequence[Evaluation], transfers: Sequence[ConditionTransfer] = ()) -> Iterator[Picture]:
    """Draw every picture that the evaluations allow, and one of each detector's transfer, where there are any."""
    band = " The bands are bootstrap intervals." if evaluations[0].replicates else ""
    caption = f"Lower left is better; the marks are the equal error rates.{band}"
    yield Picture("det", "Detection error trade-off", caption, draw_det(evaluations))
    yield Picture("roc", "ROC", "Upper left is better; the dotted line is chance.", draw_roc(evaluations))
    for column in columns_of(evaluations):
        figure, left_out = draw_rates(evaluations, column)
        groups = [group for evaluation in evaluations for group in evaluation.groups if group.group.column == column]
        lines = "Lines are intervals" if any(group.interval for group in groups) else "Too few trials for intervals"
        caption = f"{lines}; hollow marks are groups of under 30 trials, dashes the pooled EER{left_out}."
        yield Picture(f"eer-by-{column}", f"EER by {column}", caption, figure)
    for index, found in enumerate(transfers):
        figure, left_out = draw_condition_transfer(found)
        caption = (
            f"Left: errors at the threshold set on {found.reference}, and each condition's own EER; lines are "
            f"intervals. Right: how far scores moved, median and 5 to 95 %{left_out}."
        )
        yield Picture(f"{index + 1}-transfer", f"The threshold of {found.reference} elsewhere", caption, figure, index)
    for index, evaluation in enumerate(evaluations):
        yield from _of_detector(evaluation, index)


def _of_detector(evaluation: Evaluation, index: int) -> Iterator[Picture]:
    prefix = f"{index + 1}-"
    source = evaluation.threshold_source
    caption = f"The threshold is {source}."
    yield Picture(f"{prefix}scores", "Scores", caption, draw_scores(evaluation), index)
    for column in columns_of([evaluation])[:1]:
        figure, left_out = draw_scores_by_group(evaluation, column)
        caption = f"The hardest on top, a tick a trial where there are no more than {MAX_RUG}{left_out}."
        yield Picture(f"{prefix}scores-by-{column}", f"Scores by {column}", caption, figure, index)
    caption = f"Spoof is the positive class. The threshold is {source}."
    yield Picture(f"{prefix}confusion", "Decisions", caption, draw_confusion(evaluation), index)
    caption = "Is the score a log-likelihood ratio as it stands? Only then do the points lie on the line."
    yield Picture(f"{prefix}reliability", "Reliability", caption, draw_reliability(evaluation), index)
    caption = "The further apart at either side of 0, the better."
    yield Picture(f"{prefix}tippett", "Tippett plot", caption, draw_tippett(evaluation), index)
