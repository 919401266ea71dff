import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

from monitoring.drift.bins import RISK, FeatureBins
from monitoring.drift.drift import Drift, FeatureDrift, compare, holm, psi, psi_limit
from tests.support.german_credit import GERMAN_CREDIT, NAMES

FEATURES = (*NAMES, RISK)
MEASURED = {*GERMAN_CREDIT.quantities, RISK}


def windows(reference, n, count=40, seed=0):
    """Pairs of reference and window without drift: both drawn from the reference's clients."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        drawn = (reference.iloc[rng.integers(0, len(reference), k)] for k in (len(reference), n))
        yield tuple(frame.reset_index(drop=True) for frame in drawn)


@pytest.mark.parametrize("n", [100, 1000])
def test_without_drift_hardly_a_window_flags_a_feature(reference, n):
    verdicts = [compare(GERMAN_CREDIT, *pair) for pair in windows(reference, n)]
    assert np.mean([bool(v.drifted) for v in verdicts]) <= 0.10
    assert not any(v.dataset for v in verdicts)


@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("feature", ["credit_amount", "age", "duration"])
def test_half_a_standard_deviation_is_found(reference, n, feature):
    shift = int(reference[feature].std() / 2)
    found = [
        feature in compare(GERMAN_CREDIT, a, b.assign(**{feature: b[feature] + shift})).drifted
        for a, b in windows(reference, n, count=10)
    ]
    assert np.mean(found) >= 0.8


def test_a_doubled_category_is_found(reference):
    rng = np.random.default_rng(0)

    def double(window):
        status = window["checking_status"].to_numpy(object)
        others = np.flatnonzero(status != "<0")
        status[rng.choice(others, (status == "<0").sum(), replace=False)] = "<0"
        return window.assign(checking_status=status)

    found = [
        "checking_status" in compare(GERMAN_CREDIT, a, double(b)).drifted
        for a, b in windows(reference, 200, count=10)
    ]
    assert np.mean(found) >= 0.8


def test_only_unlike_clients_are_drift(draw, reference, scorer):
    verdicts = [
        compare(GERMAN_CREDIT, reference, frame.assign(risk=scorer.predict_proba(frame)[:, 0]))
        for frame in (draw(200), draw(200, drifted=True))
    ]
    assert not verdicts[0].drifted
    assert not verdicts[0].dataset
    assert {"checking_status", "savings_status", "credit_amount", "risk"} <= set(
        verdicts[1].drifted
    )
    assert verdicts[1].dataset
    assert verdicts[1].share == len(verdicts[1].drifted) / 21


def test_each_feature_has_the_test_that_suits_it(reference):
    verdict = compare(GERMAN_CREDIT, reference, reference)
    assert [f.feature for f in verdict.features] == [*NAMES, "risk"]
    assert {f.feature for f in verdict.features if f.test == "Kolmogorov-Smirnov"} == MEASURED
    assert all(f.adjusted == 1 and f.psi == 0 and not f.drifted for f in verdict.features)


def test_dead_columns_are_named_and_the_others_judged(reference):
    window = reference.head(200).assign(
        duration=np.nan,
        age=[*[30] * 40, *[np.nan] * 160],
        foreign_worker="yes",
        purpose=None,
    )
    window = window.drop(columns="job")
    same = reference.assign(foreign_worker="yes", housing=None)
    verdict = compare(GERMAN_CREDIT, same, window)
    assert verdict.unjudged == {
        "duration": "empty",
        "purpose": "empty",
        "age": "too few decisions",
        "housing": "empty in the reference",
        "job": "empty",
        "foreign_worker": "constant",
    }
    assert len(verdict.features) == 15


def test_a_feature_that_became_constant_has_drifted(reference):
    window = reference.head(200).assign(credit_amount=1000, employment="<1")
    assert set(compare(GERMAN_CREDIT, reference, window).drifted) == {"credit_amount", "employment"}


def test_nothing_to_judge_is_no_drift(reference):
    verdict = compare(GERMAN_CREDIT, reference, reference.head(50))
    assert verdict.unjudged == dict.fromkeys(FEATURES, "too few decisions")
    assert (verdict.features, verdict.drifted, verdict.share, verdict.dataset) == ((), (), 0, False)


def test_missing_values_are_left_out(reference):
    holes = reference.assign(age=reference["age"].where(np.arange(len(reference)) % 2 == 0))
    verdict = {f.feature: f for f in compare(GERMAN_CREDIT, reference, holes).features}
    assert verdict["age"].n == 400
    assert not verdict["age"].drifted


def test_a_feature_that_was_constant_and_has_another_value_has_drifted(reference):
    same = reference.assign(age=30, employment="<1")
    window = reference.head(200).assign(age=25, employment=">=7")
    assert set(compare(GERMAN_CREDIT, same, window).drifted) == {"age", "employment"}


def test_the_p_values_are_those_of_scipy_on_the_values(reference, draw, scorer):
    drawn = draw(300, drifted=True)
    window = drawn.assign(risk=scorer.predict_proba(drawn)[:, 0])
    for feature in compare(GERMAN_CREDIT, reference, window).features:
        a, b = reference[feature.feature], window[feature.feature]
        if feature.feature in MEASURED:
            expected = scipy.stats.ks_2samp(a, b, method="asymp").pvalue
        else:
            table = pd.crosstab(
                pd.concat([a, b], ignore_index=True), np.arange(len(a) + len(b)) < len(a)
            )
            expected = scipy.stats.chi2_contingency(table, correction=False).pvalue
        assert feature.p_value == pytest.approx(expected, rel=1e-6), feature.feature


def test_holms_correction_is_that_of_statsmodels():
    p = np.random.default_rng(0).beta(0.3, 1, 21)
    _, expected, _, _ = multipletests(p, method="holm")
    assert holm(p) == pytest.approx(expected)


def test_holms_correction_of_few_values():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_psi_of_two_shares():
    counts = np.array([5000, 5000]), np.array([8000, 2000])
    assert psi(*counts) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4), rel=1e-3)
    assert psi(*counts[::-1]) == pytest.approx(psi(*counts))
    assert np.isfinite(psi(np.array([100, 0]), np.array([0, 100])))


def test_psi_by_chance_exceeds_its_limit_once_in_a_hundred():
    rng = np.random.default_rng(0)
    shares = [0.4, 0.3, 0.2, 0.06, 0.04]
    exceeded = [
        psi(a, b) > psi_limit(a, b)
        for a, b in (
            (rng.multinomial(100, shares), rng.multinomial(100, shares)) for _ in range(4000)
        )
    ]
    assert 0.003 <= np.mean(exceeded) <= 0.017


def test_measured_features_are_binned_by_tenths_of_the_reference(reference):
    cells = FeatureBins(GERMAN_CREDIT, reference)
    window = cells.count(cells.place(reference.head(100)))
    assert cells.binned("credit_amount", cells.reference).tolist() == pytest.approx(
        [80] * 10, abs=3
    )
    assert cells.binned("credit_amount", window).sum() == 100


def feature(name, adjusted, psi=1.0):
    return FeatureDrift(name, "chi-square", 100, adjusted, adjusted, psi, 0.1)


@pytest.mark.parametrize(
    ("drifted", "dataset"),
    [((), False), (("purpose",), False), (("risk",), True), (("purpose", "job"), True)],
)
def test_the_risk_alone_is_dataset_drift_and_of_the_others_two_are(drifted, dataset):
    verdict = Drift(tuple(feature(name, 0.0 if name in drifted else 1.0) for name in FEATURES), {})
    assert verdict.drifted == drifted
    assert verdict.dataset is dataset
    assert (verdict.share >= verdict.dataset_share) is dataset


def test_significant_but_small_is_no_drift():
    assert not feature("age", adjusted=0.0, psi=0.09).drifted


def test_the_cutoff_tells_significant_p_values_as_holm_does():
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.beta(0.2, 1, size=21)
        features = [
            FeatureDrift(name, "chi-square", 100, a, b, 1, 0.1)
            for name, a, b in zip(FEATURES, p, holm(p), strict=True)
        ]
        verdict = Drift(tuple(features), {})
        assert [f.p_value <= verdict.cutoff for f in features] == [
            f.adjusted <= 0.05 for f in features
        ]
