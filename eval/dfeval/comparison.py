"""Two detectors, one protocol: the trials that both have scored, compared in pairs."""

import numpy as np

from dfeval.errors import EvalError, OneClassError
from dfeval.formats import BONAFIDE
from dfeval.metrics.compare import Comparison, compare
from dfeval.trials import Trials


def compare_trials(first: Trials, second: Trials, n_replicates: int = 1000, seed: int = 0) -> Comparison:
    """Compare two detectors on their common trials (of one protocol), by speaker where speakers are known.

    Raises:
        EvalError: no replicates were asked for.
        OneClassError: the common trials are all of one class.
    """
    if n_replicates < 1:
        raise EvalError("a comparison needs bootstrap replicates: --bootstrap 1000")
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
    )
