"""Evidently says what our verdict says: the same figures on the same rows."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from credit_risk.schema.attributes import LABEL
from monitoring.drift import evidently_adapter
from monitoring.drift.drift import ALPHA, compare
from tests.support.german_credit import GERMAN_CREDIT

MEASURED = {*GERMAN_CREDIT.quantities, "risk"}


@pytest.fixture
def window(draw, scorer):
    frame = draw(200, drifted=True, labelled=True)
    holes = frame["own_telephone"].where(np.arange(200) % 3 > 0)
    return frame.assign(
        risk=scorer.predict_proba(frame)[:, 0], own_telephone=holes, age=np.nan, job="skilled"
    )


def test_evidently_computes_the_same_figures(reference, window):
    """Evidently's are SciPy's of the values, ours come from counts."""
    theirs, ours = (
        compare(GERMAN_CREDIT, reference, window, tester=evidently_adapter.p_values),
        compare(GERMAN_CREDIT, reference, window),
    )
    assert len(ours.features) == 20
    assert theirs.unjudged == ours.unjudged
    for a, b in zip(theirs.features, ours.features, strict=True):
        assert (a.feature, a.test, a.n, a.drifted) == (b.feature, b.test, b.n, b.drifted)
        assert (a.psi, a.psi_limit) == (b.psi, b.psi_limit)
        assert (a.p_value, a.adjusted) == (
            pytest.approx(b.p_value, rel=1e-6),
            pytest.approx(b.adjusted, rel=1e-6),
        )


def test_the_report_calls_drifted_what_the_verdict_does(reference, window):
    verdict = compare(GERMAN_CREDIT, reference, window)
    assert 0 < len(verdict.drifted) < len(verdict.features)
    snapshot, _ = evidently_adapter.drift_report(MEASURED, reference, window, verdict)
    count, *columns = evidently_adapter.figures(snapshot)
    assert count["value"] == {"count": len(verdict.drifted), "share": pytest.approx(verdict.share)}
    p_values = {f.feature: pytest.approx(f.p_value, rel=1e-6) for f in verdict.features}
    assert {c["column"]: c["value"] for c in columns} == p_values
    assert {c["method"] for c in columns} == {evidently_adapter.KS, evidently_adapter.CHI_SQUARE}
    assert {c["threshold"] for c in columns} == {verdict.cutoff}
    page = evidently_adapter.html(snapshot)
    assert "Dataset Drift is detected" in page
    assert "two-sample chi-square p-value, with PSI" in page


def test_the_report_does_not_call_significant_but_small_drifted(reference):
    many = reference.sample(20_000, replace=True, random_state=0, ignore_index=True)
    many["credit_amount"] += 200
    verdict = compare(GERMAN_CREDIT, reference, many)
    amount = next(f for f in verdict.features if f.feature == "credit_amount")
    assert amount.adjusted < ALPHA
    assert not verdict.drifted
    count, *_ = evidently_adapter.figures(
        evidently_adapter.drift_report(MEASURED, reference, many, verdict).snapshot
    )
    assert count["value"]["count"] == 0


def test_performance_is_that_of_the_decisions_with_good_as_positive(reference, window):
    threshold = 1 / 6
    snapshot = evidently_adapter.performance_report(reference, window, threshold)
    values = {f["metric"]: f["value"] for f in evidently_adapter.figures(snapshot)}
    called = np.where(window["risk"] >= threshold, "bad", "good")
    assert values["Accuracy"] == pytest.approx(accuracy_score(window[LABEL], called))
    assert values["Recall"] == pytest.approx(recall_score(window[LABEL], called, pos_label="good"))
    assert values["RocAuc"] == pytest.approx(roc_auc_score(window[LABEL] == "bad", window["risk"]))


def test_two_reports_make_one_page_with_one_script(reference, window):
    drift, _ = evidently_adapter.drift_report(
        MEASURED, reference, window, compare(GERMAN_CREDIT, reference, window)
    )
    performance = evidently_adapter.performance_report(reference, window, 1 / 6)
    page = evidently_adapter.html(drift, performance, above="<p>what stands above</p>")
    assert "Dataset Drift is detected" in page
    assert "Confusion Matrix" in page
    assert page.partition("<body>")[2].partition("<div id")[0].strip() == "<p>what stands above</p>"
    assert len(page) < 6_000_000


def test_a_feature_on_which_evidently_fails_is_named_and_the_others_shown(
    reference, window, fail_on, caplog
):
    fail_on("duration")
    verdict = compare(GERMAN_CREDIT, reference, window, tester=evidently_adapter.p_values)
    assert verdict.unjudged == {"duration": "test failed", "age": "empty"}
    assert len(verdict.features) == 19
    assert "Evidently fails on duration" in caplog.text
    report = evidently_adapter.drift_report(
        MEASURED, reference, window, compare(GERMAN_CREDIT, reference, window)
    )
    assert report.failed == ["duration"]
    _, *columns = evidently_adapter.figures(report.snapshot)
    assert [c["column"] for c in columns] == [f.feature for f in verdict.features]
    assert "Dataset Drift is detected" in evidently_adapter.html(report.snapshot)


def test_figures_are_json(reference, window):
    figures = evidently_adapter.figures(
        evidently_adapter.drift_report(
            MEASURED, reference, window, compare(GERMAN_CREDIT, reference, window)
        ).snapshot
    )
    assert json.loads(json.dumps(figures, allow_nan=False))
