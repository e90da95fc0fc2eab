"""Two detectors, one protocol: the trials that both have scored, compared in pairs."""

import numpy as np

from dfeval.errors import EvalError, OneClassError
from dfeval.formats import BONAFIDE
from dfeval.metrics.compare import COMPARABLE, Comparison, Figure, compare
from dfeval.trials import Trials


def compare_trials(
    first: Trials, second: Trials, n_replicates: int = 1000, seed: int = 0, figure: Figure | None = None
) -> Comparison:
    """Compare two detectors on their common trials (of one protocol), by speaker where speakers are known.

    ``figure`` says what is compared, the EER by default.

    Raises:
        EvalError: under two replicates were asked for; a figure that is not known, or has no paired test.
        OneClassError: the common trials are all of one class.
    """
    if n_replicates < 2:
        raise EvalError("a comparison needs two bootstrap replicates or more: --bootstrap 1000")
    if figure and figure.metric not in COMPARABLE:
        raise EvalError(f"{figure.metric!r} can't be compared in pairs; known are {', '.join(COMPARABLE)}")
    if figure and figure.metric.startswith("min_tdcf") and figure.asv is None:
        raise EvalError(f"{figure.metric} needs the speaker verifier's errors: --asv-rates P_FA P_MISS P_FA_SPOOF")
    ours, theirs = first.table.set_index("utt_id"), second.table.set_index("utt_id")
    common = ours.index.intersection(theirs.index, sort=False)
    is_bonafide = (ours.loc[common, "label"] == BONAFIDE).to_numpy(dtype=bool)
    if is_bonafide.all() or not is_bonafide.any():
        n_bonafide = int(is_bonafide.sum())
        raise OneClassError(n_bonafide, len(common) - n_bonafide, "a comparison on the trials that both have scored")
    speakers = first.speakers
    return compare(
        ours.loc[common, "score"].to_numpy(dtype=np.float64),
        theirs.loc[common, "score"].to_numpy(dtype=np.float64),
        is_bonafide,
        speakers=None if speakers is None else speakers[ours.index.get_indexer(common)],
        n_replicates=n_replicates,
        seed=seed,
        figure=figure,
    )
