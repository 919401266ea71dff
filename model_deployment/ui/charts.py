"""Figures as plain HTML: in the page's colours, read by a screen reader, without a plotting library in the browser."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from dash import html

from credit_risk.schema.attributes import ATTRIBUTE, SCORED, Floats

BINS = 25
# Attributes beyond these are summed up in one bar.
MOST_BARS = 8


def histogram(risk: Floats, threshold: float) -> Any:
    """Draw how many clients have which risk, shape (n,), with the threshold marked."""
    counts, edges = np.histogram(risk, bins=BINS, range=(0, 1))
    top = max(int(counts.max()), 1)
    # A bin that the threshold cuts shows both colours.
    parts = [np.histogram(risk[side], bins=BINS, range=(0, 1))[0] for side in (risk < threshold, risk >= threshold)]
    bars = [
        html.Div(
            [html.Div(className=colour, style={"height": f"{100 * n / top:.1f}%"}) for colour, n in part if n],
            className="bar",
            title=f"{low:.0%} to {high:.0%}: {sum(n for _, n in part)}",
        )
        for low, high, *part in (
            (low, high, ("red", int(over)), ("green", int(under)))
            for low, high, under, over in zip(edges[:-1], edges[1:], *parts, strict=True)
        )
    ]
    said = f"Histogram of the risk of {len(risk)} clients: {int((risk < threshold).sum())} below the threshold of "
    mark = html.Div(html.Span(f"red from {threshold:.1%}"), className="mark", style={"left": f"{100 * threshold:.2f}%"})
    plot = html.Div([*bars, mark], className="bars")
    axis = html.Div([html.Span(f"{share} %") for share in (0, 25, 50, 75, 100)], className="axis")
    return html.Div(
        [plot, axis, html.Div("Risk of the clients", className="caption")],
        className="histogram",
        role="img",
        **{"aria-label": f"{said}{threshold:.1%}, the highest bar has {top}"},
    )


def waterfall(effects: Floats, recorded: Sequence[str]) -> Any:
    """Draw what raised and what lowered a risk compared with accepted clients, one bar after the other.

    Parameters
    ----------
    effects : array of shape (17,)
        Log-odds that each scored attribute adds.
    recorded : sequence of str
        What is recorded for each.
    """
    order = np.argsort(-np.abs(effects))
    steps = [(f"{ATTRIBUTE[SCORED[i]].label}: {recorded[i]}", float(effects[i])) for i in order[:MOST_BARS]]
    steps.append((f"{len(order) - MOST_BARS} others", float(effects[order[MOST_BARS:]].sum())))
    ends = np.cumsum([0.0, *(step for _, step in steps)])
    low, width = float(ends.min()), max(float(np.ptp(ends)), 1e-9)
    rows = [_bar(label, start, step, low, width) for (label, step), start in zip(steps, ends, strict=False)]
    rows.append(_bar("all together", 0.0, float(ends[-1]), low, width))
    return html.Table(html.Tbody(rows), className="waterfall")


def _bar(label: str, start: float, step: float, low: float, width: float) -> Any:
    left = 100 * (min(start, start + step) - low) / width
    style = {"marginLeft": f"{left:.1f}%", "width": f"{100 * abs(step) / width:.1f}%"}
    bar = html.Div(className="red" if step > 0 else "green", style=style)
    return html.Tr([html.Th(label, scope="row"), html.Td(bar, className="track"), html.Td(f"{step:+.2f}")])
