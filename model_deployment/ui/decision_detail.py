"""One decision, opened: its reasons in words and as a figure, what would change it, and what a person makes of it."""

from datetime import datetime
from typing import Any

from dash import dcc, html

from credit_risk.decision_log.batch import Batch, BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import MAX_TEXT, overrides, standing
from credit_risk.registry.registry import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.attributes import ATTRIBUTES, CLIENT_ID, GREEN, RED, SCORED
from credit_risk.scoring.counterfactual import what_would_change_it
from credit_risk.scoring.model import CreditScorer, NotExplainable
from credit_risk.scoring.reason_codes import Reason
from credit_risk.scoring.stored import ModelRefused
from credit_risk.storage.documents import LogUnavailable
from credit_risk.texts import one_line
from model_deployment.api.serializers import inputs
from model_deployment.scoring.live_model import Production
from model_deployment.ui.charts import waterfall

OTHER = {GREEN: RED, RED: GREEN}


def panel(log: DecisionLog, production: Production, id: str, user: str | None = None, trouble: str = "") -> list[Any]:
    """Return what the page shows of a decision.

    Parameters
    ----------
    log, production
        Where the decision is, and what gives the version that made it.
    id : str
        The decision's.
    user : str, optional
        Who a reverse proxy says is asking; otherwise the form of an override asks for a name.
    trouble : str
        Why an override of it was not taken.
    """
    try:
        decision = log.decision(id)
        record = log.batch(decision["batch"]) if decision else None
        overridden = overrides(log, id) if decision else []
    except LogUnavailable:
        return [_title("The decision log cannot be reached."), _close()]
    if decision is None or record is None:
        return [_title("This decision is not in the log."), _close()]
    stands = standing(decision, overridden)
    preview = record.kind == "preview"
    return [
        _close(),
        _title(f"Client {one_line(decision[CLIENT_ID] or '') or 'in row ' + str(decision['row'] + 1)}"),
        *([_set_by(overridden[-1], decision["prediction"])] if stands != decision["prediction"] else []),
        *_judged(production, decision, record),
        html.H3("Another decision", className=None if preview or overridden else "unprinted"),
        *[_override(one) for one in overridden],
        *([html.P("A preview: nothing rests on it.")] if preview else _form(OTHER[stands], user, trouble)),
        _inputs(decision),
        _origin(decision, record),
        *([] if preview else [_keep(id)]),
    ]


def judged(log: DecisionLog, production: Production, id: str) -> list[Any]:
    """Return a decision with its reasons, without what a person may do about it."""
    decision = log.decision(id)
    record = log.batch(decision["batch"]) if decision else None
    assert decision is not None
    assert record is not None
    parts = _judged(production, decision, record)
    return [html.P("Decision taken.", className="taken"), *parts, _origin(decision, record), _keep(id)]


def previewed(production: Production, batch: Batch) -> list[Any]:
    """Return what the model makes of a batch's one client, on whom nothing was decided."""
    (decision,) = batch.table.to_pylist()
    hint = html.P("Preview: nothing rests on it until the decision is taken.", className="hint")
    return [hint, *_judged(production, decision, batch)]


def _set_by(event: dict[str, Any], said: str) -> Any:
    return html.P([badge(event["prediction"]), f" Set by {one_line(event['by'])}. The model said {said}:"])


def _judged(production: Production, decision: dict[str, Any], record: Batch | BatchRecord) -> list[Any]:
    risk = f" Default risk {decision['risk']:.1%}, red from {record.threshold:.1%}."
    return [
        html.P([badge(decision["prediction"]), risk]),
        html.P(
            f"Confidence {decision['confidence']:.0%}: how clear the decision is, given the costs.", className="hint"
        ),
        *[html.P(warning, className="hint") for warning in decision["warnings"]],
        *_explanation(production, decision, record.digest),
    ]


def _inputs(decision: dict[str, Any]) -> Any:
    rows = [
        html.Tr(
            [
                html.Th(f"{a.label} ({a.unit})" if a.unit else a.label, scope="row"),
                html.Td("" if decision[a.name] is None else str(decision[a.name])),
            ]
        )
        for a in ATTRIBUTES
    ]
    return html.Details([html.Summary("What was recorded"), html.Table(html.Tbody(rows))])


def _origin(decision: dict[str, Any], record: BatchRecord) -> Any:
    when = f"{decision['time']:%d %b %Y, %H:%M} UTC"
    source = f", from {one_line(record.source)}" if record.source else ""
    return html.P(
        f"Decision {decision['id']}, {when}, by model version {decision['model_version']}{source}", className="hint"
    )


def badge(colour: str) -> Any:
    """Return green or red as a word on its colour."""
    return html.Strong(colour, className=f"badge {colour}")


def _keep(id: str) -> Any:
    """Return the ways to keep a decision: its own page, and paper."""
    page = dcc.Link("Page of this decision", href=f"decision?id={id}")
    return html.P([page, html.Button("Print", id="print", type="button", className="quiet")], className="keep")


def _title(text: str) -> Any:
    return html.H2(text, id="panel-title", tabIndex=-1)


def _close() -> Any:
    return html.Button("Close", id="panel-close", type="button", className="quiet")


def _explanation(production: Production, decision: dict[str, Any], digest: str) -> list[Any]:
    codes = inputs(decision)
    try:
        scorer: CreditScorer = production.scorer(decision["model_version"], digest)
        found, effects = scorer.reasons(codes)[0], scorer.explain(codes).effects[0]
    except NotExplainable:
        return [html.P("This version was trained without what reasons need.")]
    except (RegistryUnavailable, NoSuchVersion, ModelRefused) as error:
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
    note = html.P("Log-odds of class bad that each attribute adds, compared with accepted clients.", className="hint")
    return [*parts, html.Details([html.Summary("All of it, as a figure"), waterfall(effects, recorded), note])]


def _reason(reason: Reason) -> list[Any]:
    meant = f" (the label stands for: {reason.meaning})"
    return [reason.text, html.Span(meant, className="hint")] if reason.meaning else [reason.text]


def _override(event: dict[str, Any]) -> Any:
    when = f"{datetime.fromisoformat(event['time']):%d %b %Y, %H:%M} UTC"
    said = f" by {one_line(event['by'])}, {when}: {one_line(event['reason'])}"
    return html.P([badge(event["prediction"]), said])


def _form(other: str, user: str | None, trouble: str) -> list[Any]:
    """Return the fields of an override; the browser keeps a name that was entered."""
    name: dict[str, Any] = {"value": user, "disabled": True} if user else {"persistence": True}
    return [
        html.Label("Your name", htmlFor="override-by"),
        dcc.Input(id="override-by", type="text", maxLength=MAX_TEXT, autoComplete="name", **name),
        html.Label("Reason", htmlFor="override-reason"),
        dcc.Input(id="override-reason", type="text", maxLength=MAX_TEXT, autoComplete="off"),
        html.P(trouble, role="alert", className="trouble") if trouble else None,
        html.Button(f"Set to {other}", id="override-set", type="button", className="primary", value=other),
    ]
