"""Each figure can be drawn and saved without a display, also of few clients."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from credit_risk.scoring.explanation import NotExplainable
from credit_risk.scoring.model import CreditScorer
from model_orchestration_and_tracking import plots
from model_orchestration_and_tracking.evaluation import fairness
from model_orchestration_and_tracking.gate import Difference
from tests.support.german_credit import GERMAN_CREDIT, encode, read_training

rng = np.random.default_rng(0)


def part(n):
    labels = np.array(["good", "bad"])[(np.arange(n) % 3 == 0).astype(int)]
    return labels, np.clip(rng.normal(0.3 + 0.2 * (labels == "bad"), 0.15), 0, 1)


@pytest.fixture(scope="module")
def client_frame():
    return read_training("data/test.csv")


@pytest.fixture(scope="module")
def scorer(client_frame):
    scorer = CreditScorer(num_boost_round=5)
    return scorer.fit(client_frame, client_frame["class"], np.linspace(0, 1, len(client_frame)))


@pytest.fixture(params=[300, 12])
def parts(request):
    return {"validation": part(request.param), "test": part(request.param)}


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("L"))


@pytest.mark.parametrize("draw", [plots.confusion, plots.roc])
def test_plots_with_thresholds_are_drawn(draw, parts):
    assert pixels(draw(parts, 1 / 6)).std() > 10


def test_calibration_plot_is_drawn(parts):
    assert pixels(plots.calibration(parts)).std() > 10


def test_cv_scores_plot_highlights_the_chosen_candidate():
    figure = plots.cv_scores({"candidate 1": [0.7, 0.8], "candidate 2": [0.6, 0.7]}, "candidate 1")
    assert pixels(figure).std() > 10
    assert "best" in figure.axes[0].get_xticklabels()[0].get_text()


def test_confusion_matrix_shows_the_counts():
    labels, risk = ["good", "good", "bad", "bad"], np.array([0.1, 0.6, 0.3, 0.9])
    figure = plots.confusion({"test": (labels, risk)}, 1 / 6)
    texts = [[text.get_text().split("\n")[0] for text in axes.texts] for axes in figure.axes]
    assert texts == [["1", "1", "1", "1"], ["1", "1", "0", "2"]]


def test_importance_names_every_scored_attribute(scorer):
    figure = plots.importance(scorer)
    assert len(figure.axes[0].patches) == 17
    assert "Checking account" in [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_cost_curve_is_drawn(parts):
    assert pixels(plots.cost_curve(parts, 1 / 6, 5, 1)).std() > 10


def test_cost_curve_equals_a_worked_example():
    labels, risk = ["good", "good", "bad", "bad"], np.array([0.1, 0.6, 0.3, 0.05])
    left, right = plots.cost_curve({"test": (labels, risk)}, 1 / 6, 5, 1).axes
    cost, accepted = (axes.lines[0].get_ydata() for axes in (left, right))
    # Nobody accepted: two good ones are refused. Everybody: two bad ones are taken in.
    assert (cost[0], cost[-1]) == (2 / 4, 10 / 4)
    assert (accepted[0], accepted[-1]) == (0, 1)
    # At 1/6 the bad client at .05 is accepted and the good one at .6 refused.
    assert left.get_legend().get_texts()[0].get_text() == "test: 1.50"
    assert right.get_legend().get_texts()[0].get_text() == "test: 50%"


def test_slices_mark_small_groups(client_frame):
    found = fairness.slices(
        client_frame, np.linspace(0, 1, len(client_frame)), GERMAN_CREDIT, draws=10
    )
    figure = plots.slices(found, GERMAN_CREDIT)
    assert pixels(figure).std() > 10
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == len(found) > 5
    for one, name, dot in zip(found, names, figure.axes[0].lines[1::2], strict=False):
        assert f"{one.group}, n={one.n}" in name
        assert name.endswith("(shown only)") != one.gated
        assert to_rgba(dot.get_color()) == to_rgba(plots.BLUE if one.gated else plots.GREY)


def test_slices_plot_skips_missing_figures(client_frame):
    """Nobody is accepted, so there is no share of bad ones among them."""
    assert (
        pixels(
            plots.slices(
                fairness.slices(client_frame, np.ones(len(client_frame)), GERMAN_CREDIT, draws=10),
                GERMAN_CREDIT,
            )
        ).std()
        > 10
    )


def test_shap_summary_shows_the_contributions_by_size(scorer, client_frame):
    codes = encode(client_frame)
    figure = plots.shap_summary(scorer, codes)
    assert pixels(figure).std() > 10
    axes = figure.axes[0]
    drawn = np.column_stack([np.asarray(dots.get_offsets())[:, 0] for dots in axes.collections])
    sizes = np.abs(drawn).mean(axis=0)
    assert (np.diff(sizes) >= 0).all()
    assert np.sort(drawn, axis=1) == pytest.approx(
        np.sort(scorer.explain(codes).contributions, axis=1)
    )
    assert axes.get_yticklabels()[-1].get_text() == "Checking account"
    # Dots stay in the row of their attribute.
    assert all(
        (np.abs(dots.get_offsets()[:, 1] - row) < 0.5).all()
        for row, dots in enumerate(axes.collections)
    )


def test_shap_summary_draws_a_single_client(scorer, client_frame):
    assert pixels(plots.shap_summary(scorer, encode(client_frame[:1]))).std() > 5


def test_shap_summary_needs_out_of_fold_risks(client_frame):
    unexplained = CreditScorer(num_boost_round=2).fit(client_frame, client_frame["class"])
    with pytest.raises(NotExplainable):
        plots.shap_summary(unexplained, encode(client_frame))


def test_gate_has_a_panel_for_each_difference():
    differences = [
        Difference("AUC", 0.78, 0.80, -0.02, -0.03, -0.01, more_is_better=True),
        Difference("Brier score", 0.16, 0.16, 0.0, -0.01, 0.01, more_is_better=False),
    ]
    figure = plots.gate(differences, "7")
    assert [axes.get_title() for axes in figure.axes] == [
        "AUC\nmore is better",
        "Brier score\nless is better",
    ]
    assert [axes.lines[1].get_color() for axes in figure.axes] == [plots.ORANGE, plots.BLUE]
    assert pixels(figure).std() > 10
