"""The bootstrap that sorts nothing against the one that sorts everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, ndtr
from scipy.stats import beta
from scipy.stats import t as student

from dfeval.figures import Basis, figures_of, intervals_of
from dfeval.metrics.bootstrap import N_CELLS, bootstrap, crossing, drawable
from dfeval.metrics.compare import COMPARABLE, Figure, compare
from dfeval.metrics.convex_hull import convex_hull
from dfeval.metrics.dcf import DcfCosts, min_dcf
from dfeval.metrics.eer import error_rates
from dfeval.metrics.intervals import (
    Units,
    clopper_pearson,
    jeffreys,
    loss_interval,
    rate_interval,
    share_interval,
    skewness_of_means,
    units_of,
    variance_of_means,
    weighed_rates,
)
from dfeval.metrics.tdcf import AsvRates


@given(st.data())
def test_eer_of_counted_trials_is_that_of_repeated_trials(data):
    size = data.draw(st.integers(2, 30))
    is_bonafide = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    drawn = np.array(data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)))
    total = (int(drawn[is_bonafide].sum()), int(drawn[~is_bonafide].sum()))
    if not all(total):
        return
    repeated = np.repeat(is_bonafide, drawn)
    bonafide = np.concatenate(([0], np.cumsum(repeated)))
    spoof = np.concatenate(([0], np.cumsum(~repeated)))
    gap = np.abs(bonafide * total[1] + spoof * total[0] - total[0] * total[1])  # whole numbers: ties stay ties
    point = int(np.argmin(gap))
    expected = (bonafide[point] / total[0] + 1 - spoof[point] / total[1]) / 2
    assert crossing(drawn, is_bonafide, (0, 0), total) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_trials", [700, 5 * N_CELLS])  # a cell a trial, and many trials a cell
def test_trial_replicates_are_distributed_as_naive_ones(n_trials):
    rng = np.random.default_rng(0)
    bonafide, spoof = rng.normal(1, 1, n_trials // 3), rng.normal(0, 1, n_trials - n_trials // 3)
    ours = bootstrap(error_rates(bonafide, spoof), None, 3000).eers
    naive = [
        error_rates(rng.choice(bonafide, bonafide.size), rng.choice(spoof, spoof.size)).eer.value for _ in range(1500)
    ]
    assert ours.mean() == pytest.approx(np.mean(naive), abs=5 * np.std(naive) / np.sqrt(1000))
    assert ours.std() == pytest.approx(np.std(naive), rel=0.1)


def test_speaker_replicates_are_distributed_as_naive_ones():
    rng = np.random.default_rng(1)
    n_speakers, per_speaker = 25, 40
    speakers = np.repeat(np.arange(n_speakers), per_speaker)
    is_bonafide = rng.random(speakers.size) < 0.4
    scores = rng.normal(0, 1, n_speakers)[speakers] + rng.normal(is_bonafide * 1.5, 1)
    order = np.lexsort((~is_bonafide, scores))
    rates = error_rates(scores[is_bonafide], scores[~is_bonafide])
    ours = bootstrap(rates, speakers[order], 2000).eers
    naive = []
    for _ in range(1000):
        rows = np.concatenate([np.flatnonzero(speakers == s) for s in rng.integers(n_speakers, size=n_speakers)])
        mask = is_bonafide[rows]
        naive.append(error_rates(scores[rows][mask], scores[rows][~mask]).eer.value)
    assert ours.mean() == pytest.approx(np.mean(naive), abs=5 * np.std(naive) / np.sqrt(1000))
    assert ours.std() == pytest.approx(np.std(naive), rel=0.12)
    assert ours.std() > 1.15 * bootstrap(rates, None, 2000).eers.std()  # speakers differ: trials alone are too sure


@pytest.mark.parametrize("n_trials", [600, 5 * N_CELLS])
@pytest.mark.parametrize("n_levels", [2, 5, 40])
def test_equal_scores_are_one_operating_point(n_trials, n_levels):
    """Scores of few levels, as a vote or a percentage has; the AUC of a tie counts half in each replicate, too."""
    rng = np.random.default_rng(n_levels)
    bonafide = np.round(rng.beta(3, 2, n_trials // 3) * n_levels)
    spoof = np.round(rng.beta(2, 3, n_trials - n_trials // 3) * n_levels)
    rates = error_rates(bonafide, spoof)
    replicates = bootstrap(rates, None, 1500)
    assert np.isin(replicates.points, rates.distinct).all()
    naive = [error_rates(rng.choice(bonafide, bonafide.size), rng.choice(spoof, spoof.size)).auc for _ in range(500)]
    assert replicates.aucs.mean() == pytest.approx(np.mean(naive), abs=5 * np.std(naive) / np.sqrt(400))
    assert replicates.aucs.std() == pytest.approx(np.std(naive), rel=0.15)
    interval = share_interval(rates.auc, replicates.aucs, 1e-4, replicates.units)
    assert interval.low < rates.auc < interval.high


def test_the_areas_of_a_coarse_grid_are_centred_on_the_auc():
    rng = np.random.default_rng(5)
    rates = error_rates(rng.normal(6, 1, 20_000), rng.normal(0, 1, 20_000))  # errors are seen in few cells
    replicates = bootstrap(rates, None, 400)
    assert replicates.aucs.mean() == pytest.approx(rates.auc, abs=5 * replicates.aucs.std() / np.sqrt(400))


def test_same_seed_same_interval():
    rng = np.random.default_rng(3)
    rates = error_rates(rng.normal(1, 1, 50), rng.normal(0, 1, 70))
    assert (bootstrap(rates, None, 50, seed=4).eers == bootstrap(rates, None, 50, seed=4).eers).all()
    assert (bootstrap(rates, None, 50, seed=4).eers != bootstrap(rates, None, 50, seed=5).eers).any()


def test_no_error_seen_gives_no_interval():
    replicates = bootstrap(error_rates(np.arange(5.0) + 10, np.arange(5.0)), None, 100)
    assert (replicates.eers == 0).all()
    assert share_interval(0.0, replicates.eers, 0.1, replicates.units) is None


def test_too_few_speakers_of_a_class_are_not_drawn():
    is_bonafide = np.repeat((True, False), (40, 40))
    many = np.arange(80) % 20
    assert drawable(many, is_bonafide) is not None
    assert drawable(np.where(is_bonafide, many, 3), is_bonafide) is None  # one synthetic voice
    assert drawable(None, is_bonafide) is None


def test_comparison_finds_a_real_difference_and_no_false_one():
    rng = np.random.default_rng(8)
    is_bonafide = np.arange(600) < 300
    hardness = rng.normal(0, 0.8, 600) + is_bonafide
    good, bad = hardness + rng.normal(0, 0.3, 600), hardness + rng.normal(0, 2, 600)
    clear = compare(bad, good, is_bonafide, n_replicates=400)
    assert clear.p_value < 0.02
    assert clear.interval.high < 0
    assert clear.first == error_rates(bad[is_bonafide], bad[~is_bonafide]).eer.value
    same = compare(good, good, is_bonafide, n_replicates=100)
    assert (same.difference, same.interval, same.p_value) == (0, None, None)
    assert same.why_none == "no draw tells the two apart"


def test_what_draws_cannot_tell_has_no_interval():
    rng = np.random.default_rng(1)
    is_bonafide = np.arange(60) < 30
    first, second = is_bonafide + rng.normal(0, 0.1, (2, 60))
    opposite = compare(first, -second, is_bonafide, n_replicates=20)
    assert (opposite.difference, opposite.interval) == (1, None)
    assert opposite.why_none == "each draw finds the same difference"
    all_accepted, all_rejected = first + 50, first - 50
    fixed = compare(all_accepted, all_rejected, is_bonafide, n_replicates=20, figure=Figure("act_dcf"))
    assert (fixed.difference, fixed.interval) == (pytest.approx(1.9 - 1), None)
    assert fixed.why_none == "each draw finds the same difference"
    few = compare(*rng.normal(0, 1, (2, 39)), is_bonafide[:39] & (np.arange(39) < 19), n_replicates=20)
    assert (few.interval, few.p_value, few.why_none) == (None, None, "under 20 trials of a class")


@given(st.integers(0, 2**32 - 1), st.floats(0, 2.5), st.sampled_from(COMPARABLE), st.booleans())
@settings(max_examples=60)
def test_p_is_below_5_percent_exactly_where_the_interval_excludes_0(seed, better, metric, by_speaker):
    rng = np.random.default_rng(seed)
    is_bonafide, speakers = np.arange(80) % 2 == 0, np.arange(80) // 4 if by_speaker else None
    first, second = rng.normal(0, 1, (2, 80)) + is_bonafide * np.array([[1], [1 + better]])
    figure = Figure(metric, DcfCosts(), AsvRates(0.02, 0.02, 0.4))
    found = compare(first, second, is_bonafide, speakers=speakers, n_replicates=30, figure=figure)
    if found.interval is not None:
        assert found.interval.low < found.difference < found.interval.high
        assert (found.p_value < 0.05) == (not found.interval.low <= 0 <= found.interval.high)
        assert 0 <= found.p_value <= 1


def test_comparison_rarely_cries_wolf():
    rng = np.random.default_rng(9)
    p_values = []
    for seed in range(60):
        is_bonafide = np.arange(200) < 100
        hardness = rng.normal(0, 0.7, 200) + is_bonafide
        first, second = (hardness + rng.normal(0, 0.7, 200) for _ in range(2))
        p_values.append(compare(first, second, is_bonafide, n_replicates=150, seed=seed).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.12


def _clopper_pearson(successes, trials):
    failures = trials - successes
    return beta.ppf(0.025, successes, failures + 1), beta.ppf(0.975, successes + 1, failures)


def test_a_rate_of_independent_trials_has_clopper_and_pearsons_interval():
    units = Units("trial", 2_000_000, 1_000_000, 999_999)
    found = rate_interval(0.1, 0.1 * 0.9 / 400, units)
    assert (found.low, found.high) == pytest.approx(_clopper_pearson(40, 400), rel=1e-3)
    few = rate_interval(0.1, 0.1 * 0.9 / 400, Units("speaker", 10, 10, 9))
    n_effective = 400 * (1.959964 / 2.262157) ** 2  # Student's quantile at 9 degrees of freedom
    assert (few.low, few.high) == pytest.approx(_clopper_pearson(0.1 * n_effective, n_effective), rel=1e-5)


def test_a_share_has_students_interval_of_its_log_odds_less_their_bias():
    drawn = expit(np.random.default_rng(3).normal(2, 0.4, 4000))
    found = share_interval(0.9, drawn, 0.01, Units("speaker", 10, 10, 9))
    reach = student.ppf(0.975, 9) * logit(drawn).std(ddof=1) * np.sqrt(10 / 9)
    unbiased = 2 * 0.9 - drawn.mean()
    low, high = expit(logit(unbiased) - reach), expit(logit(unbiased) + reach)
    assert found.high == pytest.approx(high, rel=1e-9)
    # Towards the middle at least as far as Jeffreys' interval of as many trials as have the draws' variance.
    n_trials = unbiased * (1 - unbiased) / (drawn.var(ddof=1) * 10 / 9)
    errors = (1 - unbiased) * n_trials
    jeffreys_low = beta.ppf(0.025, n_trials - errors + 0.5, errors + 0.5)
    assert jeffreys_low < low
    assert found.low == pytest.approx(jeffreys_low, rel=1e-9)
    mirrored = share_interval(0.1, 1 - drawn, 0.01, Units("speaker", 10, 10, 9))
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low), rel=1e-9)
    many = share_interval(0.6, 0.6 + (drawn - drawn.mean()) / 20, 0.01, Units("trial", 10_000, 5_000, 9_998))
    reach = student.ppf(0.975, 9_998) * (drawn.std(ddof=1) / 20) * np.sqrt(5_000 / 4_999)
    assert (many.low, many.high) == pytest.approx((0.6 - reach, 0.6 + reach), abs=2e-5)  # either way, with many errors
    with_ends = share_interval(0.9, np.concatenate((drawn, [1.0])), 0.01, Units("speaker", 10, 10, 9))
    at_half_a_step = share_interval(0.9, np.concatenate((drawn, [0.995])), 0.01, Units("speaker", 10, 10, 9))
    assert with_ends.low == pytest.approx(at_half_a_step.low, abs=1e-4)


def test_a_cost_of_one_rate_has_the_rates_interval_and_of_both_their_distances_squared():
    is_bonafide = np.arange(300) < 100
    is_wrong = np.isin(np.arange(300), (0, 1, 2, 150, 151))
    ends = beta.ppf((0.025, 0.975), (3.5, 3.5), (97.5, 97.5))
    assert weighed_rates((2.0, 0.0), is_wrong, is_bonafide, None) == pytest.approx(tuple(2 * ends), rel=1e-9)
    low, high = weighed_rates((2.0, 1.0), is_wrong, is_bonafide, None, clopper_pearson)
    (low_frr, high_frr), (low_far, high_far) = _clopper_pearson(3, 100), _clopper_pearson(2, 200)
    assert low == pytest.approx(0.07 - np.hypot(2 * (0.03 - low_frr), 0.01 - low_far), rel=1e-9)
    assert high == pytest.approx(0.07 + np.hypot(2 * (high_frr - 0.03), high_far - 0.01), rel=1e-9)
    assert clopper_pearson(0.0, 100) == pytest.approx((0, 1 - 0.025 ** (1 / 100)))  # no error was seen
    assert jeffreys(1.0, 50)[1] == 1


def test_speakers_whose_trials_are_all_alike_count_as_one_trial_each():
    speakers, is_bonafide = np.repeat(np.arange(40), 50), np.arange(2000) < 1000
    is_wrong = np.isin(speakers, (0, 1, 2, 3, 30))
    found = weighed_rates((1.0, 1.0), is_wrong, is_bonafide, speakers)
    student_over_normal = (1.959964 / student.ppf(0.975, 19)) ** 2
    frr, far = (jeffreys(rate, 19 * student_over_normal) for rate in (0.2, 0.05))
    assert found[0] == pytest.approx(0.25 - np.hypot(0.2 - frr[0], 0.05 - far[0]), rel=1e-6)
    assert found[1] == pytest.approx(0.25 + np.hypot(frr[1] - 0.2, far[1] - 0.05), rel=1e-6)


def test_the_upper_end_of_a_mean_loss_is_further_away_on_any_scale_and_may_have_no_bound():
    units = Units("trial", 200, 21, 20)
    found = loss_interval(0.5, 0.01, 0.0, units)
    quantile = student.ppf(0.975, 20)
    reach = quantile * 0.1 / 0.5
    assert found.low == pytest.approx(0.5 * np.exp(-reach))
    assert 1 / np.sqrt(found.high) == pytest.approx((1 - reach / 2) / np.sqrt(0.5))
    assert found.high / 0.5 > 0.5 / found.low > 1
    assert loss_interval(0.5, 0.25, 0.0, units) is None
    skewed = loss_interval(0.5, 0.01, 0.9, units)
    assert skewed.low == found.low
    t = (skewed.high - 0.5) / 0.1  # Hall's transformation of what is t standard errors too low is Student's quantile
    assert -t + 0.9 / 3 * t**2 - 0.9**2 / 27 * t**3 + 0.9 / 6 == pytest.approx(-quantile)
    assert skewed.high > found.high


def test_the_upper_end_holds_a_mean_of_long_tailed_losses_more_often_with_their_skewness():
    rng, is_bonafide, spread = np.random.default_rng(3), np.arange(60) < 20, 1.3
    held = []
    for _ in range(600):
        losses = np.append(np.exp(rng.normal(0, spread, 20)), np.zeros(40))
        variance = variance_of_means(losses, is_bonafide, None)
        of_sample = skewness_of_means(losses, is_bonafide, None, variance)
        value, units = losses.sum() / 20, units_of(is_bonafide, None)
        found = [loss_interval(value, variance, skewness, units) for skewness in (0.0, of_sample)]
        if all(found):
            held.append([interval.high >= np.exp(spread**2 / 2) for interval in found])
    without, with_skewness = np.mean(held, axis=0)
    assert with_skewness > without + 0.015
    assert with_skewness > 0.9


@pytest.mark.parametrize("sizes", [(21, 21), (20, 200), (300, 20)])
def test_degrees_of_freedom_are_welchs(sizes):
    is_bonafide = np.arange(sum(sizes)) < sizes[0]
    shares = 1 / np.array(sizes)
    welch = shares.sum() ** 2 / (shares**2 / (np.array(sizes) - 1)).sum()
    assert units_of(is_bonafide, None).degrees == pytest.approx(welch)
    apart = units_of(is_bonafide, np.arange(sum(sizes)))
    assert (apart.unit, apart.n_units, apart.degrees) == ("speaker", sum(sizes), pytest.approx(welch))
    assert min(sizes) - 1 <= welch <= sum(sizes) - 2 + 1e-9
    shared = np.arange(sum(sizes))
    shared[-1] = 0  # one speaker has trials of both classes
    assert units_of(is_bonafide, shared).degrees == min(sizes[0], sizes[1]) - 1


def test_the_skewness_of_means_is_that_of_redrawn_speakers():
    rng = np.random.default_rng(6)
    speakers, is_bonafide = np.repeat(np.arange(60), 4), np.arange(240) % 2 == 0
    losses = rng.exponential(1, 60)[speakers]
    for known in (speakers, None):
        variance = variance_of_means(losses, is_bonafide, known)
        found = skewness_of_means(losses, is_bonafide, known, variance)
        means = np.array([losses[is_bonafide], losses[~is_bonafide]])  # a speaker's four trials are alike
        if known is None:
            drawn = [rng.choice(means[0], (20_000, 120)).mean(axis=1), rng.choice(means[1], (20_000, 120)).mean(axis=1)]
        else:
            drawn = [2 * rng.choice(means[0][::2], (20_000, 60)).mean(axis=1)]
        total = sum(drawn)
        assert found == pytest.approx(np.mean((total - total.mean()) ** 3) / total.std() ** 3, abs=0.05)
        assert found > 0.1


def test_the_variance_of_means_is_that_of_redrawn_speakers():
    rng = np.random.default_rng(6)
    speakers, is_bonafide = np.repeat(np.arange(200), 6), rng.random(1200) < 0.5
    losses = rng.normal(1, 1, 200)[speakers] + rng.normal(0, 0.3, 1200)

    def total(rows):
        mask = is_bonafide[rows]
        return losses[rows][mask].mean() + losses[rows][~mask].mean()

    members = [np.flatnonzero(speakers == speaker) for speaker in range(200)]
    drawn = [total(np.concatenate([members[s] for s in rng.integers(200, size=200)])) for _ in range(3000)]
    assert variance_of_means(losses, is_bonafide, speakers) == pytest.approx(np.var(drawn), rel=0.1)
    alone = [
        total(np.concatenate([rng.choice(np.flatnonzero(m), m.sum()) for m in (is_bonafide, ~is_bonafide)]))
        for _ in range(3000)
    ]
    assert variance_of_means(losses, is_bonafide, None) == pytest.approx(np.var(alone), rel=0.1)


def _intervals(bonafide, spoof, seed=0):
    rates = error_rates(bonafide, spoof)
    basis = Basis(rates, convex_hull(rates), DcfCosts(), AsvRates(0.02, 0.02, 0.4))
    return figures_of(basis)[0], intervals_of(figures_of(basis)[0], basis, bootstrap(rates, None, 300, seed), None)


def test_every_interval_has_its_figure_inside():
    rng = np.random.default_rng(2)
    figures, intervals = _intervals(rng.normal(0.5, 1, 2000), rng.normal(-0.5, 1, 2000))
    assert set(intervals) == {"eer", "auc", "min_dcf", "act_dcf", "cllr", "min_tdcf_2019", "min_tdcf_2021"}
    assert all(interval.low < figures[name] < interval.high for name, interval in intervals.items())


def test_too_few_trials_or_errors_have_no_interval():
    rng = np.random.default_rng(2)
    assert _intervals(rng.normal(1, 1, 19), rng.normal(-1, 1, 500))[1] == {}
    costs = {"min_dcf", "act_dcf", "min_tdcf_2019", "min_tdcf_2021"}
    assert set(_intervals(rng.normal(1.2, 1, 60), rng.normal(-1.2, 1, 60))[1]) == {"eer", "auc", "cllr", *costs}
    apart = _intervals(np.arange(60.0) + 9, -np.arange(60.0) - 9)[1]  # no error: of costs, what 60 trials still allow
    assert set(apart) == costs
    assert apart["act_dcf"].low == 0
    assert apart["act_dcf"].high > 1.9 * 3 / 120
    nearly = _intervals(np.append(np.arange(59.0) + 9, -9.5), -np.arange(60.0) - 9)[1]  # most draws have one confusion
    assert set(nearly) == {"eer", *costs}


def test_the_interval_of_a_least_cost_goes_up_by_the_bias_of_a_minimum():
    rng = np.random.default_rng(4)
    rates, costs = error_rates(rng.normal(1, 1, 300), rng.normal(0, 1, 300)), DcfCosts()
    basis, replicates = Basis(rates, convex_hull(rates), costs, None), bootstrap(rates, None, 200)
    found = min_dcf(rates, costs)
    drawn = (costs.weight_frr * replicates.frr + costs.weight_far * replicates.far).min(axis=1) / costs.normaliser
    bias = drawn.mean() - found.value  # every threshold is on the grid
    assert bias < -0.005
    is_wrong = (rates.scores > found.threshold) != rates.is_bonafide
    low, high = weighed_rates((1.9, 1.0), is_wrong, rates.is_bonafide, None, clopper_pearson)
    interval = intervals_of({"min_dcf": found.value}, basis, replicates, None)["min_dcf"]
    assert (interval.low, interval.high) == pytest.approx((low - bias / 2, min(high - bias, 1)), abs=1e-12)


def test_the_eers_interval_holds_the_true_one_with_twenty_trials_of_a_class():
    """Percentiles of these draws hold it in under 91 of 100."""
    rng = np.random.default_rng(4)
    held = []
    for seed in range(200):
        rates = error_rates(rng.normal(2, 1, 20), rng.normal(0, 1, 200))
        replicates = bootstrap(rates, None, 60, seed)
        interval = share_interval(rates.eer.value, replicates.eers, 1 / 40, replicates.units)
        held.append(interval is not None and interval.low <= ndtr(-1) <= interval.high)
    assert 0.94 <= np.mean(held) <= 0.99


def test_the_difference_of_least_costs_varies_at_least_as_at_fixed_thresholds():
    rng, costs, is_bonafide = np.random.default_rng(12), DcfCosts(), np.arange(220) < 20
    for _ in range(20):
        first, second = rng.normal(0, 1, (2, 220)) + 2 * is_bonafide
        losses = []
        for scores in (first, second):
            threshold = min_dcf(error_rates(scores[is_bonafide], scores[~is_bonafide]), costs).threshold
            weights = np.where(is_bonafide, costs.weight_frr, costs.weight_far) / costs.normaliser
            losses.append(((scores > threshold) != is_bonafide) * weights)
        variance = variance_of_means(losses[1] - losses[0], is_bonafide, None)
        interval = compare(first, second, is_bonafide, n_replicates=20, figure=Figure("min_dcf")).interval
        reach = student.ppf(0.975, units_of(is_bonafide, None).degrees) * np.sqrt(variance)
        assert interval.high - interval.low >= 2 * reach * (1 - 1e-12)


@pytest.mark.parametrize("metric", COMPARABLE)
def test_each_figure_can_be_compared(metric):
    rng = np.random.default_rng(8)
    is_bonafide = np.arange(400) < 200
    hardness = rng.normal(0, 0.5, 400) + np.where(is_bonafide, 1, -1)
    good, bad = hardness + rng.normal(0, 0.3, 400), hardness + rng.normal(0, 2, 400)
    figure = Figure(metric, DcfCosts(), AsvRates(0.02, 0.02, 0.4))
    found = compare(bad, good, is_bonafide, n_replicates=200, figure=figure)
    for scores, value in ((bad, found.first), (good, found.second)):
        assert value == pytest.approx(_intervals(scores[is_bonafide], scores[~is_bonafide])[0][metric], abs=1e-12)
    assert found.p_value < 0.02
    assert (found.interval.high < 0) == (metric != "auc")  # of an area more is better, of all others less
    assert compare(good, good, is_bonafide, n_replicates=50, figure=figure).interval is None
