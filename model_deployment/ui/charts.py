"""Charts as plain HTML, in the page's colours and readable by a screen reader.

The browser needs no plotting library for them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from dash import html

from credit_risk.schema.attributes import Floats

BINS = 25
# Attributes beyond these are summed up in one bar.
MOST_BARS = 8


def histogram(risk: Floats, threshold: float) -> Any:
    """Draw how many clients have which risk, with the threshold marked.

    Parameters
    ----------
    risk : array of shape (n,)
        Risk of each client.
    threshold : float
        The risk from which a client is red.
    """
    accepted = risk < threshold
    counts, edges = np.histogram(risk, bins=BINS, range=(0, 1))
    # A bin that the threshold cuts shows both colours.
    green, _ = np.histogram(risk[accepted], bins=BINS, range=(0, 1))
    red, _ = np.histogram(risk[risk >= threshold], bins=BINS, range=(0, 1))
    highest = max(int(counts.max()), 1)

    bars = []
    for i in range(BINS):
        span = f"{edges[i]:.0%} to {edges[i + 1]:.0%}"
        bars.append(_stacked_bar(span, int(red[i]), int(green[i]), highest))

    mark = html.Div(
        html.Span(f"red from {threshold:.1%}"),
        className="mark",
        style={"left": f"{100 * threshold:.2f}%"},
    )
    plot = html.Div([*bars, mark], className="bars")
    axis = html.Div([html.Span(f"{share} %") for share in (0, 25, 50, 75, 100)], className="axis")
    caption = html.Div("Risk of the clients", className="caption")

    description = (
        f"Histogram of the risk of {len(risk)} clients: {int(accepted.sum())} below the "
        f"threshold of {threshold:.1%}, the highest bar has {highest}"
    )
    return html.Div(
        [plot, axis, caption],
        className="histogram",
        role="img",
        **{"aria-label": description},
    )


def _stacked_bar(span: str, red: int, green: int, highest: int) -> Any:
    """Return the bar of one bin: its red clients above its green ones."""
    parts = []
    for colour, n in (("red", red), ("green", green)):
        if n:
            height = f"{100 * n / highest:.1f}%"
            parts.append(html.Div(className=colour, style={"height": height}))
    return html.Div(parts, className="bar", title=f"{span}: {red + green}")


def waterfall(effects: Floats, labels: Sequence[str]) -> Any:
    """Draw what raised and what lowered a risk, one bar after the other.

    The baseline is the risk of accepted clients.

    Parameters
    ----------
    effects : array of shape (n_scored,)
        Log-odds that each scored attribute adds.
    labels : sequence of str
        The name and the recorded value of each.
    """
    order = np.argsort(-np.abs(effects))
    steps = [(labels[i], float(effects[i])) for i in order[:MOST_BARS]]
    others = order[MOST_BARS:]
    steps.append((f"{len(others)} others", float(effects[others].sum())))

    ends = np.cumsum([0.0, *(step for _, step in steps)])
    low = float(ends.min())
    width = max(float(np.ptp(ends)), 1e-9)

    rows = [
        _bar(label, start, step, low, width)
        for (label, step), start in zip(steps, ends, strict=False)
    ]
    rows.append(_bar("all together", 0.0, float(ends[-1]), low, width))
    return html.Table(html.Tbody(rows), className="waterfall")


def _bar(label: str, start: float, step: float, low: float, width: float) -> Any:
    left = 100 * (min(start, start + step) - low) / width
    style = {"marginLeft": f"{left:.1f}%", "width": f"{100 * abs(step) / width:.1f}%"}
    bar = html.Div(className="red" if step > 0 else "green", style=style)
    return html.Tr(
        [html.Th(label, scope="row"), html.Td(bar, className="track"), html.Td(f"{step:+.2f}")]
    )
