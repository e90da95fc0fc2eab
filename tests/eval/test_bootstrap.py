"""The bootstrap that sorts nothing against the one that sorts everything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfeval.metrics.bootstrap import N_CELLS, bootstrap, crossing, drawable
from dfeval.metrics.compare import compare
from dfeval.metrics.eer import error_rates


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
    interval = replicates.interval(replicates.aucs)
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
    assert replicates.interval(replicates.eers) is None


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
    assert clear.difference.high < 0
    assert clear.first == error_rates(bad[is_bonafide], bad[~is_bonafide]).eer.value
    same = compare(good, good, is_bonafide, n_replicates=100)
    assert same.p_value == 1
    assert (same.difference.low, same.difference.high) == (0, 0)


def test_comparison_rarely_cries_wolf():
    rng = np.random.default_rng(9)
    p_values = []
    for seed in range(60):
        is_bonafide = np.arange(200) < 100
        hardness = rng.normal(0, 0.7, 200) + is_bonafide
        first, second = (hardness + rng.normal(0, 0.7, 200) for _ in range(2))
        p_values.append(compare(first, second, is_bonafide, n_replicates=150, seed=seed).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.12
