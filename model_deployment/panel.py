"""One decision, opened: its reasons in words and as a figure, what would change it, and what a person makes of it."""

from typing import Any

from dash import dcc, html

from credit_risk.application import CLIENT_ID, SCORED
from credit_risk.changes import what_would_change_it
from credit_risk.decisions import GREEN, RED, DecisionLog
from credit_risk.model import CreditScorer, NotExplainable
from credit_risk.overrides import MAX_TEXT, overrides, standing
from credit_risk.reasons import Reason
from credit_risk.registry import DigestMismatch, NoSuchVersion, RegistryUnavailable
from model_deployment.answer import codes_of
from model_deployment.charts import waterfall
from model_deployment.serving import Production

OTHER = {GREEN: RED, RED: GREEN}


def panel(log: DecisionLog, production: Production, id: str, trouble: str = "") -> list[Any]:
    """Return what the page shows of a decision; `trouble` is why an override of it was not taken."""
    decision = log.decision(id)
    record = log.batch(decision["batch"]) if decision else None
    if decision is None or record is None:
        return [_title("This decision is not in the log."), _close()]
    overridden = overrides(log, id)
    stands = standing(decision, overridden)
    name = decision[CLIENT_ID] or f"row {decision['row'] + 1}"
    parts: list[Any] = [
        _close(),
        _title(f"Client {name}"),
        html.P(
            [
                html.Strong(stands, className=f"badge {stands}"),
                f" Default risk {decision['risk']:.1%}, red from {record.threshold:.1%}.",
            ]
        ),
        html.P(
            f"Confidence {decision['confidence']:.0%}: how clear the decision is, given the costs.", className="hint"
        ),
        *[html.P(warning, className="hint") for warning in decision["warnings"]],
        *_explanation(production, decision, record.digest),
        html.H3("Another decision"),
        *[_override(one) for one in overridden],
        *([html.P("A preview: nothing rests on it.")] if record.kind == "preview" else _form(OTHER[stands], trouble)),
        html.P(
            f"Decision {id}, {decision['time']:%d %b %Y, %H:%M} UTC, by model version {decision['model_version']}"
            + (f", from {record.source}" if record.source else ""),
            className="hint",
        ),
    ]
    return parts


def _title(text: str) -> Any:
    return html.H2(text, id="panel-title", tabIndex=-1)


def _close() -> Any:
    return html.Button("Close", id="panel-close", type="button", className="quiet")


def _explanation(production: Production, decision: dict[str, Any], digest: str) -> list[Any]:
    codes = codes_of(decision)
    try:
        scorer: CreditScorer = production.scorer(decision["model_version"], digest)
        found, effects = scorer.reasons(codes)[0], scorer.explain(codes).effects[0]
    except NotExplainable:
        return [html.P("This version was trained without what reasons need.")]
    except (RegistryUnavailable, NoSuchVersion, DigestMismatch) as error:
        return [html.P(f"The reasons cannot be had: {error}.")]
    parts: list[Any] = []
    for title, reasons in (("What raises the risk", found.raising), ("What lowers it", found.lowering)):
        if reasons:
            parts += [html.H3(title), html.Ul([html.Li(_reason(reason)) for reason in reasons])]
    if decision["prediction"] == RED:
        change = what_would_change_it(scorer, codes[0])
        text = f"{change.text}, at a risk of {change.risk:.1%}." if change else "None found."
        parts += [html.H3("What would change it"), html.P(text)]
    recorded = [f"{decision[name]}" for name in SCORED]
    figure = html.Div(waterfall(effects, recorded), className="scroll", tabIndex=0)
    note = html.P("Log-odds of class bad that each attribute adds, compared with accepted clients.", className="hint")
    return [*parts, html.Details([html.Summary("All of it, as a figure"), figure, note])]


def _reason(reason: Reason) -> list[Any]:
    return [reason.text, html.Span(f" ({reason.meaning})", className="hint")] if reason.meaning else [reason.text]


def _override(event: dict[str, Any]) -> Any:
    when = str(event["time"])[:16].replace("T", " ")
    badge = html.Strong(event["prediction"], className=f"badge {event['prediction']}")
    return html.P([badge, f" by {event['by']}, {when} UTC: {event['reason']}"])


def _form(other: str, trouble: str) -> list[Any]:
    """Return the fields of an override; the browser keeps the name."""
    return [
        html.Label("Your name", htmlFor="override-by"),
        dcc.Input(id="override-by", type="text", maxLength=MAX_TEXT, persistence=True, autoComplete="name"),
        html.Label("Reason", htmlFor="override-reason"),
        dcc.Input(id="override-reason", type="text", maxLength=MAX_TEXT),
        html.P(trouble, role="alert", className="trouble") if trouble else None,
        html.Button(f"Set to {other}", id="override-set", type="button", className="primary", value=other),
    ]
