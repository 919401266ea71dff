"""The figures of a training run.

Drawn on `Figure` objects, which need no display and no global state; each is a function of plain arrays, so that the
notebook can draw the same ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score, roc_curve

from credit_risk.application import ATTRIBUTE, BAD, Floats
from credit_risk.model import CreditScorer

BLUE = "#1f5a92"
ORANGE = "#c8641b"
GREY = "#8a8a8a"

Part = tuple[ArrayLike, Floats]  # labels ("good" or "bad") and risk, both of shape (n,)


def _figure(title: str, width: float = 6.0, height: float = 4.5) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=12)
    return figure


def _plain(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def confusion(parts: Mapping[str, Part], threshold: float) -> Figure:
    """Draw who was called what, for each part: at p(bad) = .5 and at the cost threshold."""
    cuts = {"at p(bad) = 0.5": 0.5, f"at the cost threshold {threshold:.3f}": threshold}
    figure = _figure("Confusion matrix", 3.6 * len(cuts), 3.1 * len(parts))
    grid = figure.subplots(len(parts), len(cuts), squeeze=False)
    for row, (part, (labels, risk)) in zip(grid, parts.items(), strict=True):
        bad = np.asarray(labels) == BAD
        for axes, (title, cut) in zip(row, cuts.items(), strict=True):
            red = risk >= cut
            counts = np.array([[np.sum(~bad & ~red), np.sum(~bad & red)], [np.sum(bad & ~red), np.sum(bad & red)]])
            shares = counts / counts.sum(axis=1, keepdims=True)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (i, j), count in np.ndenumerate(counts):
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, f"{count}\n{shares[i, j]:.0%}", ha="center", va="center", color=colour)
            axes.set_xticks([0, 1], ["called green", "called red"])
            axes.set_yticks([0, 1], ["good", "bad"])
            axes.set_title(f"{part}\n{title}", fontsize=9)
    return figure


def roc(parts: Mapping[str, Part], threshold: float) -> Figure:
    """Draw specificity given up against recall won, with both thresholds marked."""
    figure = _figure("ROC curve")
    axes = _plain(figure.subplots())
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    for colour, (part, (labels, risk)) in zip((BLUE, ORANGE), parts.items(), strict=False):
        good = np.asarray(labels) != BAD
        false_green, true_green, _ = roc_curve(good, 1 - risk)
        area = roc_auc_score(good, 1 - risk)
        axes.plot(false_green, true_green, color=colour, label=f"{part}, AUC {area:.3f}")
        for cut, marker in ((0.5, "o"), (threshold, "s")):
            axes.plot(np.mean(risk[~good] < cut), np.mean(risk[good] < cut), marker, color=colour)
    axes.plot([], [], "o", color=GREY, label="p(bad) = 0.5")
    axes.plot([], [], "s", color=GREY, label=f"cost threshold {threshold:.3f}")
    axes.set_xlabel("share of bad clients called green (1 - specificity)")
    axes.set_ylabel("share of good clients called green (recall)")
    axes.legend(frameon=False, loc="lower right")
    return figure


def cv_scores(folds: Mapping[str, Sequence[float]], chosen: str) -> Figure:
    """Draw the AUC of each fold for each candidate, with the mean; the chosen one stands out."""
    figure = _figure("AUC over the cross-validation's folds")
    axes = _plain(figure.subplots())
    for place, (name, scores) in enumerate(folds.items()):
        colour = BLUE if name == chosen else GREY
        jitter = np.linspace(-0.12, 0.12, len(scores))
        axes.plot(place + jitter, scores, "o", color=colour, alpha=0.6, markersize=5)
        mean = float(np.mean(scores))
        axes.plot([place - 0.25, place + 0.25], [mean, mean], color=colour, linewidth=2)
        axes.annotate(f"{mean:.3f}", (place + 0.27, mean), va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(folds)), [f"{name}\n(best)" if name == chosen else name for name in folds])
    axes.set_xlim(-0.5, len(folds) - 0.2)
    axes.set_ylabel("AUC (a dot a fold, the line their mean)")
    return figure


def calibration(parts: Mapping[str, Part], n_bins: int = 10) -> Figure:
    """Draw the share of bad clients against the risk given, in bins of as many clients each."""
    figure = _figure("Calibration")
    axes = _plain(figure.subplots())
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect")
    for colour, (part, (labels, risk)) in zip((BLUE, ORANGE), parts.items(), strict=False):
        bad = np.asarray(labels) == BAD
        bins = np.array_split(np.argsort(risk), n_bins)
        given = np.array([risk[b].mean() for b in bins])
        seen = np.array([bad[b].mean() for b in bins])
        # One standard error of a share that is as expected: what to make of a dot off the line.
        error = np.sqrt(given * (1 - given) / np.array([len(b) for b in bins]))
        axes.errorbar(given, seen, yerr=error, fmt="o-", color=colour, linewidth=1, capsize=2, label=part)
    axes.set_xlabel("mean risk given")
    axes.set_ylabel("share of bad clients")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, loc="upper left")
    return figure


def importance(scorer: CreditScorer) -> Figure:
    """Draw each attribute's share of the loss that the trees' splits saved."""
    gain = scorer.booster.feature_importance("gain")
    order = np.argsort(gain)
    names = [ATTRIBUTE[name].label for name in scorer.booster.feature_name()]
    figure = _figure("Feature importance", height=5.5)
    axes = _plain(figure.subplots())
    axes.barh(range(len(gain)), gain[order] / max(gain.sum(), 1e-12), color=BLUE)
    axes.set_yticks(range(len(gain)), [names[i] for i in order])
    axes.set_xlabel("share of the total gain")
    return figure
