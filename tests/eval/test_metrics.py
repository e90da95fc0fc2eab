"""Figures against independent references, and properties they must have whatever the scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import fsolve, minimize
from scipy.stats import norm
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from dfeval.errors import EvalError, OneClassError
from dfeval.metrics.cllr import cllr, min_cllr
from dfeval.metrics.confusion import confusion
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.dcf import DcfCosts, act_dcf, min_dcf
from dfeval.metrics.eer import eer, error_rates
from dfeval.metrics.sasv import verification_rates
from dfeval.metrics.tdcf import AsvRates, TdcfCosts, min_tdcf_2019
from dfeval.metrics.teer import concurrent_teer

SCORES = st.lists(st.integers(-8, 8).map(float), min_size=1, max_size=40).map(np.array)


def labelled(bonafide, spoof):
    """Scores and labels (spoof = 1, the positive class) in one array each."""
    return np.concatenate((bonafide, spoof)), np.repeat((0, 1), (bonafide.size, spoof.size))


@given(SCORES, SCORES)
def test_auc_is_sklearns(bonafide, spoof):
    scores, labels = labelled(bonafide, spoof)
    assert error_rates(bonafide, spoof).auc == pytest.approx(roc_auc_score(1 - labels, scores), abs=1e-12)


@given(SCORES, SCORES, st.integers(-9, 9))
def test_decisions_are_sklearns(bonafide, spoof, threshold):
    scores, labels = labelled(bonafide, spoof)
    called_spoof = (scores < threshold).astype(int)
    table = confusion(error_rates(bonafide, spoof), threshold)
    assert table.accuracy == pytest.approx(accuracy_score(labels, called_spoof))
    assert table.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, called_spoof))
    assert table.recall == pytest.approx(recall_score(labels, called_spoof))
    assert table.f1 == pytest.approx(f1_score(labels, called_spoof, zero_division=0))
    if called_spoof.any():
        assert table.precision == pytest.approx(precision_score(labels, called_spoof))


@given(SCORES, SCORES)
def test_ranking_is_all_that_an_eer_depends_on(bonafide, spoof):
    before, after = error_rates(bonafide, spoof), error_rates(np.exp(bonafide / 3), np.exp(spoof / 3))
    assert before.eer.value == after.eer.value
    assert convex_hull(before).eer == pytest.approx(convex_hull(after).eer, abs=1e-12)


@given(SCORES, SCORES)
def test_bounds_that_hold_for_any_scores(bonafide, spoof):
    rates = error_rates(bonafide, spoof)
    hull, costs = convex_hull(rates), DcfCosts()
    assert 0 <= hull.eer <= 0.5
    assert 0 <= min_dcf(rates, costs).value <= min(1.0, act_dcf(rates, costs).value) + 1e-12
    assert -1e-12 <= min_cllr(hull) <= min(1.0, cllr(bonafide, spoof)) + 1e-12
    assert hull.n_bonafide.sum() == bonafide.size
    assert hull.n_spoof.sum() == spoof.size


@given(SCORES, SCORES)
def test_hull_eer_is_the_minimax_bayes_error(bonafide, spoof):
    """The convex hull's EER is the largest Bayes error over all priors (Brümmer & de Villiers 2011)."""
    rates = error_rates(bonafide, spoof)
    reachable = rates.distinct
    priors = np.linspace(0, 1, 2001)
    errors = np.outer(priors, rates.frr[reachable]) + np.outer(1 - priors, rates.far[reachable])
    assert convex_hull(rates).eer == pytest.approx(errors.min(axis=1).max(), abs=1e-3)


def test_min_cllr_is_the_least_over_piecewise_constant_maps():
    rng = np.random.default_rng(5)
    bonafide, spoof = rng.integers(0, 5, 60).astype(float), rng.integers(-2, 3, 80).astype(float)
    values = np.unique(np.concatenate((bonafide, spoof)))

    def cost(steps):
        levels = np.cumsum(np.concatenate((steps[:1], np.abs(steps[1:]))))
        lookup = dict(zip(values, levels, strict=True))
        return cllr(np.array([lookup[v] for v in bonafide]), np.array([lookup[v] for v in spoof]))

    best = min(
        minimize(cost, start, method="Powell", options={"maxiter": 20000, "xtol": 1e-9, "ftol": 1e-12}).fun
        for start in (np.linspace(-1, 1, values.size), np.full(values.size, 0.5))
    )
    assert min_cllr(convex_hull(error_rates(bonafide, spoof))) == pytest.approx(best, abs=2e-4)


def test_cllr_of_gaussian_llrs_matches_its_integral():
    """LLRs that are calibrated Gaussians (mean ±s²/2, variance s²) have the EER Φ(-s/2)."""
    rng, spread = np.random.default_rng(0), 2.5
    bonafide = rng.normal(spread**2 / 2, spread, 400_000)
    spoof = rng.normal(-(spread**2) / 2, spread, 400_000)
    rates = error_rates(bonafide, spoof)
    assert rates.eer.value == pytest.approx(norm.cdf(-spread / 2), abs=2e-3)
    assert min_cllr(convex_hull(rates)) == pytest.approx(cllr(bonafide, spoof), abs=2e-3)


def test_concurrent_teer_is_the_exhaustive_search():
    rng = np.random.default_rng(2)
    for _ in range(20):
        cm = error_rates(rng.normal(1.5, 1, 60).round(1), rng.normal(-0.5, 1, 50).round(1))
        asv = verification_rates(rng.normal(2, 1, 30), rng.normal(-1, 1, 30), rng.normal(1, 1, 50))
        best, answer = np.inf, None
        for miss, fa, fa_spoof in zip(asv.miss, asv.fa_nontarget, asv.fa_spoof, strict=True):
            if miss >= fa or fa_spoof == 0:
                continue
            gap = np.abs(cm.frr + (1 - cm.frr) * miss - (1 - cm.frr) * fa)
            point = int(np.argmin(gap.round(12)))
            distance = abs(fa / fa_spoof - cm.far[point] / (1 - cm.frr[point]))
            if distance < best:
                best, answer = distance, fa_spoof * cm.far[point]
        assert concurrent_teer(cm, asv) == pytest.approx(answer, abs=1e-12)


def test_concurrent_teer_of_gaussian_scores_solves_its_equations():
    """The point where the tandem misses as often as nontargets, and as often as spoofs, get through it."""

    def excess(thresholds):
        cm, asv = thresholds
        passes = norm.sf(cm, 1.5)  # bona fide through the countermeasure
        miss = 1 - passes * norm.sf(asv, 2)
        return miss - passes * norm.sf(asv, -1), miss - norm.sf(cm, -0.5) * norm.sf(asv, 1)

    cm, asv = fsolve(excess, (0.0, 0.5))
    rng, size = np.random.default_rng(4), 20_000
    found = concurrent_teer(
        error_rates(rng.normal(1.5, 1, size), rng.normal(-0.5, 1, size)),
        verification_rates(rng.normal(2, 1, size), rng.normal(-1, 1, size), rng.normal(1, 1, size)),
    )
    assert found == pytest.approx(norm.sf(cm, -0.5) * norm.sf(asv, 1), abs=0.01)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_one_class_is_an_error_that_counts(sizes):
    with pytest.raises(OneClassError, match=f"{sizes[0]} bona fide and {sizes[1]} spoof"):
        error_rates(np.zeros(sizes[0]), np.zeros(sizes[1]))


def test_tdcf_refuses_rates_that_leave_it_undefined():
    rates = error_rates(np.array([1.0, 2.0]), np.array([0.0, 1.5]))
    with pytest.raises(EvalError, match="undefined"):
        min_tdcf_2019(rates, AsvRates(0.0, 1.0, 0.5), TdcfCosts())
    with pytest.raises(EvalError, match="fractions"):
        AsvRates(1.9, 1.0, 46.0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_score_that_is_no_number_is_refused(place):
    """Sorting would put it above all others: the best of all bona fide."""
    kinds = [np.array([1.0, 2.0]), np.array([0.0, 1.5]), np.array([-1.0, 0.5])]
    kinds[place] = np.append(kinds[place], np.nan)
    with pytest.raises(EvalError, match="found 1 NaN among 3"):
        verification_rates(*kinds)
    if place < 2:
        for measure in (error_rates, eer, cllr):
            with pytest.raises(EvalError, match=f"found 1 NaN among 3 {('bonafide', 'spoof')[place]} trials"):
                measure(*kinds[:2])


@given(SCORES, SCORES)
def test_whether_a_threshold_reaches_the_eer(bonafide, spoof):
    rates = error_rates(bonafide, spoof)
    closest = int(np.argmin(np.abs(rates.frr - rates.far)))
    reached = {rates.at(threshold) for threshold in (*rates.scores, np.inf)}
    assert rates.has_threshold_at_eer == ((rates.frr[closest], rates.far[closest]) in reached)


@given(SCORES, SCORES)
def test_decisions_at_the_eer_make_its_errors(bonafide, spoof):
    """The threshold as such is the last score that is rejected: from it on would be one error more."""
    rates = error_rates(bonafide, spoof)
    assert (np.mean(rates.at(rates.decision_at_eer)) == rates.eer.value) or not rates.has_threshold_at_eer
    separate = error_rates(bonafide + 20, spoof)
    assert separate.at(separate.decision_at_eer) == (0, 0)
