"""The figures of a training run.

Drawn on `Figure` objects, which need neither display nor global state. Most are functions of plain
arrays, so that the notebook can draw the same ones.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.metrics import roc_curve

from credit_risk.metrics.calibration import deciles
from credit_risk.metrics.cost import costs
from credit_risk.metrics.discrimination import auc
from credit_risk.schema.attributes import BAD, Floats
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.model import CreditScorer
from model_orchestration_and_tracking.evaluation.fairness import Slice
from model_orchestration_and_tracking.gate import Difference

BLUE = "#1f5a92"
ORANGE = "#c8641b"
GREEN = "#2a8f6f"
GREY = "#8a8a8a"
PARTS = (BLUE, ORANGE, GREEN)  # the colours of parts, in their order

Part = tuple[ArrayLike, Floats]  # labels ("good" or "bad") and risk, both of shape (n,)


def _figure(title: str, width: float = 6.0, height: float = 4.5) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=12)
    return figure


def _without_frame(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def confusion(parts: Mapping[str, Part], threshold: float) -> Figure:
    """Draw each part's confusion matrix at p(bad) = .5 and at the cost threshold."""
    cuts = {"at p(bad) = 0.5": 0.5, f"at the cost threshold {threshold:.3f}": threshold}
    figure = _figure("Confusion matrix", 3.6 * len(cuts), 3.1 * len(parts))
    grid = figure.subplots(len(parts), len(cuts), squeeze=False)

    for row, (part, (labels, risk)) in zip(grid, parts.items(), strict=True):
        bad = np.asarray(labels) == BAD
        for axes, (title, cut) in zip(row, cuts.items(), strict=True):
            red = risk >= cut
            counts = np.array(
                [[np.sum(~bad & ~red), np.sum(~bad & red)], [np.sum(bad & ~red), np.sum(bad & red)]]
            )
            shares = counts / counts.sum(axis=1, keepdims=True)

            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (i, j), count in np.ndenumerate(counts):
                colour = "white" if shares[i, j] > 0.6 else "black"
                axes.text(
                    j, i, f"{count}\n{shares[i, j]:.0%}", ha="center", va="center", color=colour
                )
            axes.set_xticks([0, 1], ["called green", "called red"])
            axes.set_yticks([0, 1], ["good", "bad"])
            axes.set_title(f"{part}\n{title}", fontsize=9)

    return figure


def roc(parts: Mapping[str, Part], threshold: float) -> Figure:
    """Draw recall against specificity given up, with both thresholds marked."""
    figure = _figure("ROC curve")
    axes = _without_frame(figure.subplots())
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")

    for colour, (part, (labels, risk)) in zip(PARTS, parts.items(), strict=False):
        good = np.asarray(labels) != BAD
        false_green, true_green, _ = roc_curve(good, 1 - risk)
        area = auc(risk, ~good)
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
    axes = _without_frame(figure.subplots())

    for place, (name, scores) in enumerate(folds.items()):
        colour = BLUE if name == chosen else GREY
        jitter = np.linspace(-0.12, 0.12, len(scores))
        axes.plot(place + jitter, scores, "o", color=colour, alpha=0.6, markersize=5)
        mean = float(np.mean(scores))
        axes.plot([place - 0.25, place + 0.25], [mean, mean], color=colour, linewidth=2)
        axes.annotate(f"{mean:.3f}", (place + 0.27, mean), va="center", color=colour, fontsize=9)

    axes.set_xticks(
        range(len(folds)), [f"{name}\n(best)" if name == chosen else name for name in folds]
    )
    axes.set_xlim(-0.5, len(folds) - 0.2)
    axes.set_ylabel("AUC (a dot a fold, the line their mean)")
    return figure


def calibration(parts: Mapping[str, Part]) -> Figure:
    """Draw the share of bad clients against the risk given, by decile of risk."""
    figure = _figure("Calibration")
    axes = _without_frame(figure.subplots())
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfect")

    for colour, (part, (labels, risk)) in zip(PARTS, parts.items(), strict=False):
        bad = np.asarray(labels) == BAD
        decile = deciles(risk)
        occupied, n = np.unique(decile, return_counts=True)
        given = np.bincount(decile, risk)[occupied] / n
        seen = np.bincount(decile, bad)[occupied] / n
        # One standard error of a share that is as expected, to judge a dot off the line by.
        error = np.sqrt(given * (1 - given) / n)
        axes.errorbar(
            given, seen, yerr=error, fmt="o-", color=colour, linewidth=1, capsize=2, label=part
        )

    axes.set_xlabel("mean risk given")
    axes.set_ylabel("share of bad clients")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, loc="upper left")
    return figure


def cost_curve(
    parts: Mapping[str, Part], threshold: float, cost_bad: float, cost_good: float
) -> Figure:
    """Draw the mean cost per client and the share accepted at each threshold on the risk."""
    figure = _figure("Cost and acceptance by threshold", 9.0, 4.0)
    left, right = (_without_frame(axes) for axes in figure.subplots(1, 2, sharex=True))
    cuts = np.linspace(0, 1, 201)

    for colour, (part, (labels, risk)) in zip(PARTS, parts.items(), strict=False):
        bad = np.asarray(labels) == BAD
        green = risk < np.append(cuts, threshold)[:, None]
        cost = costs(green, bad, cost_bad, cost_good).mean(axis=1)
        accepted = green.mean(axis=1)
        for axes, values, word in (
            (left, cost, f"{cost[-1]:.2f}"),
            (right, accepted, f"{accepted[-1]:.0%}"),
        ):
            axes.plot(cuts, values[:-1], color=colour, label=f"{part}: {word}")
            axes.plot(threshold, values[-1], "s", color=colour, markersize=5)

    for axes in (left, right):
        axes.axvline(threshold, color=GREY, linewidth=1, linestyle="--", zorder=0)
        axes.set_xlabel("refused from this risk on")
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.legend(
            frameon=False,
            loc="lower right",
            title=f"at the cost threshold {threshold:.3f}",
            alignment="left",
        )

    left.set_ylabel(
        f"mean cost per client\n(bad one accepted {cost_bad:g}, good one refused {cost_good:g})"
    )
    right.set_ylabel("share accepted")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return figure


def slices(found: Sequence[Slice], dataset: Dataset) -> Figure:
    """Draw how each group fares, with 95 % intervals; groups too small to be judged are grey."""
    panels = {
        "acceptance": "accepted",
        "recall": "accepted of the good\n(recall)",
        "bad_rate": "bad among\nthe accepted",
        "calibration": "share of bad\nless mean risk",
    }
    figure = _figure(
        "Groups of clients at the cost threshold, with 95 % intervals",
        11.0,
        1.6 + 0.36 * len(found),
    )
    grid = figure.subplots(1, len(panels), sharey=True)

    for axes, (name, title) in zip(grid, panels.items(), strict=True):
        for place, group in enumerate(found):
            value = group.figures[name]  # NaN, where no client is counted, draws nothing
            colour = BLUE if group.gated else GREY
            axes.plot([value.low, value.high], [place, place], color=colour, linewidth=2, alpha=0.6)
            axes.plot(value.value, place, "o", color=colour)

        _without_frame(axes).set_title(title, fontsize=9)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y", linewidth=0.4)
        axes.tick_params(axis="y", length=0)
        # A line where one attribute's groups end and the next one's begin.
        for place in range(1, len(found)):
            if found[place].attribute != found[place - 1].attribute:
                axes.axhline(place - 0.5, color=GREY, linewidth=0.8)

    grid[-1].axvline(0, color=GREY, linewidth=1, linestyle=":")
    names = []
    for group in found:
        name = f"{dataset.by_name[group.attribute].label}: {group.group}, n={group.n}"
        names.append(name if group.gated else f"{name} (shown only)")
    grid[0].set_yticks(range(len(found)), names)
    grid[0].set_ylim(len(found) - 0.5, -0.5)
    return figure


def shap_summary(scorer: CreditScorer, codes: Floats) -> Figure:
    """Draw what each attribute adds to the log-odds of bad.

    A dot is a client, coloured by the attribute's value.

    Raises
    ------
    NotExplainable
        When the scorer was fitted without out-of-fold risks.
    """
    contributions = scorer.explain(codes).contributions
    order = np.argsort(np.abs(contributions).mean(axis=0))
    shades = LinearSegmentedColormap.from_list("value", [BLUE, "#d8d8d8", ORANGE])

    figure = _figure("What the attributes add to the risk", 8.0, 6.5)
    axes = _without_frame(figure.subplots())
    axes.axvline(0, color=GREY, linewidth=1)

    for place, column in enumerate(order):
        values = contributions[:, column]
        place_among_all = scorer.dataset.scored_columns[column]
        ranks = rankdata(codes[:, place_among_all], "dense", nan_policy="omit") - 1
        dots = axes.scatter(
            values,
            place + _swarm(values),
            c=ranks / max(np.nanmax(ranks), 1),
            cmap=shades,
            vmin=0,
            vmax=1,
            s=5,
            linewidths=0,
        )

    labels = [scorer.dataset.scored_attributes[column].label for column in order]
    axes.set_yticks(range(len(order)), labels)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xlabel("contribution to the log-odds of bad (to the right: raises the risk)")

    bar = figure.colorbar(dots, ax=axes, ticks=[0, 1], aspect=40, shrink=0.6)
    bar.ax.set_yticklabels(["lowest\nor first", "highest\nor last"], fontsize=8)
    bar.set_label("value of the attribute", labelpad=-20)
    bar.outline.set_visible(False)
    return figure


def _swarm(values: Floats, width: float = 0.4, n_bins: int = 80) -> Floats:
    """Return how far to push dots off their line so that they lie beside each other.

    The denser the dots, the wider they spread.
    """
    bins = np.digitize(values, np.linspace(values.min(), values.max(), n_bins))
    offsets = np.zeros(len(values))
    fullest = np.bincount(bins).max()

    for number in np.unique(bins):
        members = np.flatnonzero(bins == number)
        reach = width * len(members) / fullest
        offsets[members] = np.linspace(-reach, reach, len(members)) if len(members) > 1 else 0

    return offsets


def importance(scorer: CreditScorer) -> Figure:
    """Draw each attribute's share of the loss that the trees' splits saved."""
    gain = scorer.booster.feature_importance("gain")
    order = np.argsort(gain)
    names = [attribute.label for attribute in scorer.dataset.scored_attributes]
    figure = _figure("Feature importance", height=5.5)
    axes = _without_frame(figure.subplots())
    axes.barh(range(len(gain)), gain[order] / max(gain.sum(), 1e-12), color=BLUE)
    axes.set_yticks(range(len(gain)), [names[i] for i in order])
    axes.set_xlabel("share of the total gain")
    return figure


def gate(differences: Sequence[Difference], production: str) -> Figure:
    """Draw the challenger's differences from Production, with 95 % intervals.

    Those on the worse side stand out.
    """
    figure = _figure(f"Challenger less version {production}", 3.2 * len(differences), 2.4)
    grid = figure.subplots(1, len(differences), squeeze=False)

    for axes, difference in zip(grid[0], differences, strict=True):
        colour = ORANGE if difference.worse else BLUE
        _without_frame(axes).axvline(0, color=GREY, linewidth=1, linestyle=":")
        axes.plot([difference.low, difference.high], [0, 0], color=colour, linewidth=2)
        axes.plot([difference.value], [0], "o", color=colour)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=4)
        better = "more" if difference.more_is_better else "less"
        axes.set_title(f"{difference.name}\n{better} is better", fontsize=9)

    return figure
