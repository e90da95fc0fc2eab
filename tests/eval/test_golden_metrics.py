"""Every figure of the ASVspoof packages, to 1e-9."""

import pytest

from dfeval.metrics.cllr import cllr
from dfeval.metrics.dcf import DcfCosts, act_dcf, min_dcf
from dfeval.metrics.eer import eer, error_rates
from dfeval.metrics.sasv import AdcfCosts, min_a_dcf, verification_rates
from dfeval.metrics.tdcf import TdcfCosts, asv_rates, min_tdcf_2019, min_tdcf_2021

CASES = ("continuous", "ties", "separable", "inverted")


@pytest.mark.parametrize("case", CASES)
def test_figures_are_the_packages(case, golden, golden_scores, golden_asv):
    bonafide, spoof = golden_scores[case]
    rates, asv, costs = error_rates(bonafide, spoof), asv_rates(*golden_asv), DcfCosts()
    ours = {
        "eer": rates.eer.value,
        "eer_threshold": rates.eer.threshold,
        "min_dcf": min_dcf(rates, costs).value,
        "act_dcf": act_dcf(rates, costs).value,
        "cllr": cllr(bonafide, spoof),
        "min_tdcf_2019": min_tdcf_2019(rates, asv, TdcfCosts()).value,
        "min_tdcf_2021": min_tdcf_2021(rates, asv, TdcfCosts()).value,
    }
    assert ours == pytest.approx(golden[case], abs=1e-9, rel=1e-9)


def test_rates_of_the_verifier(golden, golden_asv):
    target, nontarget, spoof = golden_asv
    rates = asv_rates(target, nontarget, spoof)
    assert eer(target, nontarget).threshold == pytest.approx(golden["asv"]["threshold"], abs=1e-9)
    assert rates.p_fa == pytest.approx(golden["asv"]["pfa"], abs=1e-9)
    assert rates.p_miss == pytest.approx(golden["asv"]["pmiss"], abs=1e-9)
    assert rates.p_fa_spoof == pytest.approx(golden["asv"]["pfa_spoof"], abs=1e-9)


def test_a_dcf(golden, golden_asv):
    assert min_a_dcf(verification_rates(*golden_asv), AdcfCosts()).value == pytest.approx(golden["a_dcf"], abs=1e-9)


def test_bayes_threshold_of_the_default_costs():
    assert DcfCosts().bayes_threshold == pytest.approx(-0.641853886, abs=1e-9)


@pytest.mark.parametrize(("detector", "rate", "threshold"), [("aasist", 0.3456, -0.954), ("aasist_l", 0.3553, None)])
def test_eer_on_the_corpus(detector, rate, threshold, corpus_scores, corpus_protocol):
    from dfeval import join, load_protocol, load_scores

    trials = join(load_scores(corpus_scores[detector]), load_protocol(corpus_protocol, "csv"))
    found = eer(trials.bonafide, trials.spoof)
    assert trials.matching.n_matched == 301
    assert found.value == pytest.approx(rate, abs=5e-5)
    assert threshold is None or found.threshold == pytest.approx(threshold, abs=5e-4)
