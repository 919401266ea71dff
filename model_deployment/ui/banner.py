"""Which model serves, at the top of the page."""

from datetime import UTC, datetime, timedelta
from typing import Any

from dash import html

from credit_risk.texts import one_line
from model_deployment.scoring.live_model import LiveModel

_NEW = timedelta(hours=24)  # how long a version is called new


def banner(production: LiveModel) -> Any:
    """Return which model serves, or why none does."""
    serving, trouble = production.serving, production.status_message
    if serving is None or production.log_away:
        return html.P([html.Strong("Scoring is off."), f" {trouble}"], className="off")

    version, approval = serving.version, serving.approval
    when = f", {approval.time:%d %b %Y, %H:%M} UTC" if approval.time else ""
    approved = html.Span(f"approved by {one_line(approval.by)}{when}")
    lines = [html.P([html.Strong(f"Model version {version}"), approved], className="on")]

    if serving.before and approval.time and datetime.now(UTC) - approval.time < _NEW:
        text = f"New: version {version} took over from version {serving.before}."
        lines.append(html.P(text, className="new"))
    scorer = serving.scorer
    if scorer.acceptance is not None:
        accepted = (
            f"It accepts about {10 * scorer.acceptance:.0f} of 10 clients like those it was "
            "trained on"
        )
        lines.append(html.P(f"{accepted}: {scorer.costs}.", className="hint"))
    if trouble:
        lines.append(html.P(f"{trouble} Version {version} serves on.", className="note"))
    return lines
