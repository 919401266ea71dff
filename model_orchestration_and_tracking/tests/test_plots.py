"""Each figure can be drawn and saved without a display, also of few clients."""

import io

import numpy as np
import pytest
from PIL import Image

from credit_risk.data import read_training
from credit_risk.model import CreditScorer
from model_orchestration_and_tracking import plots

rng = np.random.default_rng(0)


def part(n):
    labels = np.array(["good", "bad"])[(np.arange(n) % 3 == 0).astype(int)]
    return labels, np.clip(rng.normal(0.3 + 0.2 * (labels == "bad"), 0.15), 0, 1)


@pytest.fixture(scope="module")
def scorer():
    clients = read_training("data/test.csv")
    return CreditScorer(num_boost_round=5).fit(clients, clients["class"])


@pytest.fixture(params=[300, 12])
def parts(request):
    return {"validation": part(request.param), "test": part(request.param)}


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("L"))


@pytest.mark.parametrize("draw", [plots.confusion, plots.roc])
def test_figures_at_thresholds(draw, parts):
    assert pixels(draw(parts, 1 / 6)).std() > 10


def test_calibration(parts):
    assert pixels(plots.calibration(parts)).std() > 10


def test_cv_scores():
    figure = plots.cv_scores({"candidate 1": [0.7, 0.8], "candidate 2": [0.6, 0.7]}, "candidate 1")
    assert pixels(figure).std() > 10
    assert "best" in figure.axes[0].get_xticklabels()[0].get_text()


def test_confusion_counts():
    labels, risk = ["good", "good", "bad", "bad"], np.array([0.1, 0.6, 0.3, 0.9])
    figure = plots.confusion({"test": (labels, risk)}, 1 / 6)
    texts = [[text.get_text().split("\n")[0] for text in axes.texts] for axes in figure.axes]
    assert texts == [["1", "1", "1", "1"], ["1", "1", "0", "2"]]


def test_importance_names_every_scored_attribute(scorer):
    figure = plots.importance(scorer)
    assert len(figure.axes[0].patches) == 17
    assert "Checking account" in [label.get_text() for label in figure.axes[0].get_yticklabels()]
