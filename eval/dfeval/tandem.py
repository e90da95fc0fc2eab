"""Countermeasure and speaker verifier (ASV) together: the verifier's rates, and the figures of ASVspoof 5, track 2."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfeval.errors import EvalError, ScoreFileError
from dfeval.formats import ALL_PHASES, BONAFIDE
from dfeval.metrics.eer import Floats, error_rates
from dfeval.metrics.sasv import ASVSPOOF5_COSTS, VerificationRates, min_a_dcf, verification_rates
from dfeval.metrics.tdcf import AsvRates, TdcfCosts, asv_rates, min_tdcf_2021
from dfeval.metrics.teer import concurrent_teer

KINDS = ("target", "nontarget", "spoof")
CM, ASV, SASV = SCORES = ("cm-score", "asv-score", "sasv-score")
ABSENT = "-"
KEY_COLUMN, PHASE_COLUMN = 5, 7  # ASVspoof 2021's ASV/trial_metadata.txt: speaker utt codec tx attack key trim phase
# The organisers' verifier, by whose rates the ASVspoof 5 package computes the t-DCF of every submission.
ASVSPOOF5_ASV = AsvRates(p_fa=0.01881016557566423, p_miss=0.01880141010575793, p_fa_spoof=0.4607082907604729)


def load_asv_rates(scores: Path, key: Path | None = None, phase: str = ALL_PHASES) -> AsvRates:
    """Rates of a verifier at its EER.

    Args:
        scores: ASVspoof 2019's file (``attack key score``, key = target, nontarget or spoof), or, with ``key``,
            ASVspoof 2021's (``speaker utt score``).
        key: 2021's trial metadata, line by line with the scores.
        phase: whose trials count, where there is a key.

    Raises:
        ScoreFileError: unreadable, or the two files do not belong together.
        EvalError: a kind of trials is absent.
    """
    table = _read(scores)
    if table.shape[1] != 3:
        raise ScoreFileError(f"{scores}: expected three fields a line (… … score), found {table.shape[1]}")
    kinds, wanted = table[1], np.ones(len(table), dtype=bool)
    if key is not None:
        metadata = _read(key)
        if metadata.shape[1] <= PHASE_COLUMN or len(metadata) != len(table) or (metadata[1] != table[1]).any():
            raise ScoreFileError(
                f"{key}: expected a line of ASV trial metadata (8 fields) for each of the {len(table):,} lines of "
                f"{scores.name}, in the same order; found {len(metadata):,} lines of {metadata.shape[1]} fields"
            )
        kinds = metadata[KEY_COLUMN]
        if phase != ALL_PHASES:
            wanted = (metadata[PHASE_COLUMN] == phase).to_numpy(dtype=bool)
    values = _numbers(table[2], scores)
    parts = [values[wanted & (kinds == kind).to_numpy(dtype=bool)] for kind in KINDS]
    if not all(part.size for part in parts):
        found = ", ".join(f"{part.size} {kind}" for part, kind in zip(parts, KINDS, strict=True))
        raise EvalError(f"{scores}: expected ASV scores of target, nontarget and spoof trials, found {found}")
    return asv_rates(*parts)


def load_tandem(scores: Path, key: Path) -> pd.DataFrame:
    """Trials of ASVspoof 5, track 2, scored by a countermeasure, a verifier and both.

    Args:
        scores: TSV with the header ``spk filename cm-score asv-score sasv-score``; a system that a submission does
            not have is ``-`` throughout, and its column is left out of what is returned.
        key: TSV with the header ``spk filename cm-label asv-label``.

    Returns:
        Both, joined on speaker and file.

    Raises:
        ScoreFileError: unreadable, a column is missing, the files do not have the same trials, a label is unknown or
            the two labels of a trial contradict each other.
    """
    ids = ["spk", "filename"]
    tables = [
        _read_headed(path, ids, columns) for path, columns in ((scores, list(SCORES)), (key, ["cm-label", "asv-label"]))
    ]
    joined = tables[0].merge(tables[1], on=ids, how="inner", validate="one_to_one")
    if not len(joined) == len(tables[0]) == len(tables[1]):
        raise ScoreFileError(
            f"{scores.name} has {len(tables[0]):,} trials and {key.name} {len(tables[1]):,}, of which {len(joined):,} "
            "are the same; expected the same trials in both"
        )
    _check_labels(joined, key)
    for column in SCORES:
        if (joined[column] == ABSENT).all():
            del joined[column]
        else:
            joined[column] = _numbers(joined[column], scores)
    return joined


def evaluate_tandem(scores: Path, key: Path) -> dict[str, float | int]:
    """Figures of ASVspoof 5, track 2, as its package defines them since June 2024, with the trials of each kind.

    `a_dcf` needs SASV scores, `cm_eer` and `min_tdcf` those of the countermeasure, `t_eer` those of both systems; what
    can't be computed from a submission is left out.

    Raises:
        ScoreFileError: see load_tandem.
        EvalError: a kind of trials is absent.
    """
    table = load_tandem(scores, key)
    of_kind = {kind: (table["asv-label"] == kind).to_numpy(dtype=bool) for kind in KINDS}
    values = {name: table[name].to_numpy(dtype=np.float64) for name in SCORES if name in table}
    figures: dict[str, float | int] = {f"n_{kind}": int(mask.sum()) for kind, mask in of_kind.items()}

    def verifier(column: str) -> VerificationRates:
        return verification_rates(*(values[column][of_kind[kind]] for kind in KINDS))

    if SASV in values:
        figures["a_dcf"] = min_a_dcf(verifier(SASV), ASVSPOOF5_COSTS).value
    if CM in values:
        detector = error_rates(values[CM][~of_kind["spoof"]], values[CM][of_kind["spoof"]])
        if ASV in values:
            figures["t_eer"] = concurrent_teer(detector, verifier(ASV))
        figures["min_tdcf"] = min_tdcf_2021(detector, ASVSPOOF5_ASV, TdcfCosts()).value
        figures["cm_eer"] = detector.eer.value
    return figures


def _check_labels(table: pd.DataFrame, key: Path) -> None:
    unknown = sorted(set(table["asv-label"]) - set(KINDS))
    if unknown:
        raise ScoreFileError(f"{key}: expected the asv-labels {', '.join(KINDS)}, found {', '.join(unknown[:5])}")
    contradicts = (table["cm-label"] == BONAFIDE) == (table["asv-label"] == "spoof")
    if contradicts.any():
        spk, filename = table.loc[contradicts, ["spk", "filename"]].iloc[0]
        raise ScoreFileError(
            f"{key}: the labels of {int(contradicts.sum()):,} trials contradict each other, such as {spk} {filename}: "
            "expected cm-label bonafide for targets and nontargets, spoof for spoofs"
        )


def _numbers(column: "pd.Series[Any]", path: Path) -> Floats:
    values = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ScoreFileError(f"{path}: line {int(np.argmin(np.isfinite(values))) + 1} has no finite score")
    return values


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep=r"\s+", header=None, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ScoreFileError(f"{path}: can't be read as ASV scores: {error}") from error


def _read_headed(path: Path, ids: list[str], columns: list[str]) -> pd.DataFrame:
    renamed = {"tar_spk_anon": "spk", "trial_anon": "filename"}
    try:
        table = pd.read_csv(path, sep=r"\s+", dtype=str, keep_default_na=False).rename(columns=renamed)
    except (OSError, ValueError) as error:
        raise ScoreFileError(f"{path}: can't be read: {error}") from error
    missing = [name for name in (*ids, *columns) if name not in table.columns]
    if missing:
        raise ScoreFileError(f"{path}: expected the columns {' '.join((*ids, *columns))}; {' '.join(missing)} missing")
    repeated = table.duplicated(ids)
    if repeated.any():
        raise ScoreFileError(
            f"{path}: {int(repeated.sum()):,} trials come twice, as {table[repeated].iloc[0].tolist()}"
        )
    return table[[*ids, *columns]]
