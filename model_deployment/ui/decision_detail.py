"""One decision, opened: its reasons, what would change it, and its overrides."""

from datetime import datetime
from typing import Any

from dash import dcc, html

from credit_risk.decision_log.batch import Batch, BatchRecord, Kind
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import MAX_TEXT, current_prediction, overrides
from credit_risk.decision_log.tables import attribute_names
from credit_risk.registry.errors import NoSuchVersion, RegistryUnavailable
from credit_risk.schema.attributes import CLIENT_ID, GREEN, RED, Attribute, Labels
from credit_risk.schema.dataset import Dataset
from credit_risk.scoring.counterfactual import counterfactual
from credit_risk.scoring.explanation import NotExplainable
from credit_risk.scoring.model import CreditScorer
from credit_risk.scoring.reason_codes import Reason
from credit_risk.scoring.stored import ModelRefused
from credit_risk.storage.documents import LogUnavailable
from credit_risk.texts import one_line
from model_deployment.api.serializers import as_decided, inputs
from model_deployment.scoring.live_model import LiveModel
from model_deployment.ui.charts import waterfall

OTHER = {GREEN: RED, RED: GREEN}
# What is said where there is nothing to override.
_NO_DECISION: dict[Kind, str] = {
    "portfolio": "A score in a portfolio: the client has the loan already and applied for nothing.",
    "preview": "A preview: it is not recorded as a decision.",
}


def panel(
    log: DecisionLog,
    production: LiveModel,
    id: str,
    user: str | None = None,
    trouble: str = "",
    *,
    can_override: bool = True,
) -> list[Any]:
    """Return what the page shows of a decision.

    Parameters
    ----------
    log : DecisionLog
        Holds the decision.
    production : LiveModel
        Gives the version that made it.
    id : str
        The decision's id.
    user : str, optional
        The user's name, where they have signed in; otherwise the form of an override asks for a
        name.
    trouble : str
        Why an override of the decision was refused.
    can_override : bool
        Whether there is a form for an override.
    """
    try:
        decision = log.decision(id)
        record = log.batch(decision["batch"]) if decision else None
        overridden = overrides(log, id) if decision else []
    except LogUnavailable:
        return [_title("The decision log cannot be reached."), _close()]
    if decision is None or record is None:
        return [_title("This decision is not in the log."), _close()]

    stands = current_prediction(decision, overridden)
    preview, is_decision = record.kind == "preview", record.kind == "decision"
    client = one_line(decision[CLIENT_ID] or "") or f"in row {decision['row'] + 1}"

    parts = [_close(), _title(f"Client {client}")]
    if stands != decision["prediction"]:
        parts.append(_set_by(overridden[-1], decision["prediction"]))
    parts += _judged(log, production, decision, record)

    if is_decision and (overridden or can_override):
        heading = html.H3("Another decision", className=None if overridden else "unprinted")
        parts += [heading, *map(_override, overridden)]
        parts += _form(OTHER[stands], user, trouble) if can_override else []
    elif not is_decision:
        parts += [html.H3("No decision"), html.P(_NO_DECISION[record.kind])]

    parts += [_inputs(decision, log.dataset, production.labels), _origin(decision, record)]
    if not preview:
        parts.append(_keep(id))
    return parts


def judged(log: DecisionLog, production: LiveModel, id: str) -> list[Any]:
    """Return a decision with its reasons, without the form of an override."""
    decision = log.decision(id)
    record = log.batch(decision["batch"]) if decision else None
    assert decision is not None
    assert record is not None

    return [
        html.P("Decision taken.", className="taken"),
        *_judged(log, production, decision, record),
        _origin(decision, record),
        _keep(id),
    ]


def previewed(production: LiveModel, batch: Batch) -> list[Any]:
    """Return the model's prediction for a batch's one client, who is not decided on."""
    (decision,) = batch.table.to_pylist()
    hint = html.P("Preview: not recorded until you take the decision.", className="hint")
    return [hint, *_judged(None, production, decision, batch)]


def _set_by(event: dict[str, Any], said: str) -> Any:
    text = f" Set by {one_line(event['by'])}. The model said {said}:"
    return html.P([badge(event["prediction"]), text])


def _judged(
    log: DecisionLog | None,
    production: LiveModel,
    decision: dict[str, Any],
    record: Batch | BatchRecord,
) -> list[Any]:
    risk = f" Default risk {decision['risk']:.1%}, red from {record.threshold:.1%}."
    confidence = (
        f"Confidence {decision['confidence']:.0%}: how clear the decision is, given the costs."
    )
    hints = [confidence, *decision["warnings"]]
    return [
        html.P([badge(decision["prediction"]), risk]),
        *[html.P(hint, className="hint") for hint in hints],
        *_explanation(log, production, decision, record.digest),
    ]


def _inputs(decision: dict[str, Any], dataset: Dataset, labels: Labels) -> Any:
    rows = []
    for name in attribute_names(decision):
        attribute = dataset.by_name.get(name)  # None: an earlier definition's
        value = "" if decision[name] is None else str(decision[name])
        first, behind = attribute.shown(value, labels) if attribute else (value, "")
        title = name if attribute is None else attribute.title
        rows.append(html.Tr([html.Th(title, scope="row"), html.Td([first, _behind(behind)])]))
    return html.Details([html.Summary("What was recorded"), html.Table(html.Tbody(rows))])


def _origin(decision: dict[str, Any], record: BatchRecord) -> Any:
    when = f"{decision['time']:%d %b %Y, %H:%M} UTC"
    source = f", from {one_line(record.source)}" if record.source else ""
    branch = f", branch {one_line(record.branch)}" if record.branch else ""
    what = "Score" if record.kind == "portfolio" else "Decision"
    return html.P(
        f"{what} {decision['id']}, {when}, by model version {decision['model_version']}"
        f"{source}{branch}",
        className="hint",
    )


def badge(colour: str) -> Any:
    """Return green or red as a word on its colour."""
    return html.Strong(colour, className=f"badge {colour}")


def _keep(id: str) -> Any:
    """Return the ways to keep a decision: its own page, and paper."""
    page = dcc.Link("Page of this decision", href=f"decision?id={id}")
    button = html.Button("Print", id="print", type="button", className="quiet")
    return html.P([page, button], className="keep")


def _title(text: str) -> Any:
    return html.H2(text, id="panel-title", tabIndex=-1)


def _close() -> Any:
    return html.Button("Close", id="panel-close", type="button", className="quiet")


def _explanation(
    log: DecisionLog | None, production: LiveModel, decision: dict[str, Any], digest: str
) -> list[Any]:
    try:
        scorer: CreditScorer = production.scorer(decision["model_version"], digest)
        if log is not None:
            decision = as_decided(decision, scorer.dataset, log)
        codes = inputs(decision, scorer.dataset)
        found = scorer.reasons(codes, labels=production.labels)[0]
        effects = scorer.explain(codes).effects[0]
    except NotExplainable:
        return [html.P("This version was trained without what reasons need.")]
    except (RegistryUnavailable, NoSuchVersion, ModelRefused, LogUnavailable) as error:
        return [html.P(f"The reasons are unavailable: {error}.")]

    parts: list[Any] = []
    if found.raising:
        raising = _reasons(found.raising, production.labels)
        parts += [html.H3("What raises the risk"), raising]
    if found.lowering:
        parts += [html.H3("What lowers it"), _reasons(found.lowering, production.labels)]
    if decision["prediction"] == RED:
        change = counterfactual(scorer, codes[0], labels=production.labels)
        text = f"{change.text}, at a risk of {change.risk:.1%}." if change else "None found."
        parts += [html.H3("What would change it"), html.P(text)]

    scored = scorer.dataset.scored_attributes
    labels = [f"{a.label}: {_recorded(a, decision.get(a.name), production)}" for a in scored]
    note = html.P(
        "Log-odds of class bad that each attribute adds, compared with accepted clients.",
        className="hint",
    )
    figure = [html.Summary("All of it, as a figure"), waterfall(effects, labels), note]
    return [*parts, html.Details(figure)]


def _recorded(attribute: Attribute, value: object, production: LiveModel) -> str:
    return "not given" if value is None else attribute.shown(str(value), production.labels)[0]


def _behind(text: str) -> Any:
    """Return the other words for a value, small; None where there are none."""
    return html.Span(f" ({text})", className="hint") if text else None


def _reasons(reasons: tuple[Reason, ...], labels: Labels) -> Any:
    return html.Ul([html.Li(_reason(reason, labels)) for reason in reasons])


def _reason(reason: Reason, labels: Labels) -> list[Any]:
    if reason.meaning in ("", reason.value) or f"({reason.meaning})" in reason.text:
        return [reason.text]
    other = f"in files: {reason.value}"
    if labels == "file":
        other = f"the label stands for: {reason.meaning}"
    return [reason.text, _behind(other)]


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
        html.Button(
            f"Set to {other}", id="override-set", type="button", className="primary", value=other
        ),
    ]
