"""One client by hand: a form made of the schema, whose risk changes as the fields do.

What is typed is decided as a preview, on which nothing rests, until a person takes the decision.
"""

import json
from typing import Any

from dash import dcc, html

from credit_risk.access.caller import Caller
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.attributes import ATTRIBUTES, CLIENT_ID, MAX_CLIENT_ID, SCORED, Attribute
from credit_risk.schema.code_book import meaning
from credit_risk.storage.documents import LogUnavailable
from model_deployment.api.routes import key_of
from model_deployment.http.problem import Problem
from model_deployment.scoring.errors import NotDecided
from model_deployment.scoring.live_model import Production, ScoringOff
from model_deployment.scoring.service import Scoring
from model_deployment.ui.decision_detail import judged, previewed

SOURCE = "One client by hand"


def layout() -> list[Any]:
    """Return the form and the place of its result. The script reads the fields, by their ids."""
    client = _field(CLIENT_ID, "Client", "your name for the client", _input(CLIENT_ID, "text", maxLength=MAX_CLIENT_ID))
    fields = [client, *(_attribute(attribute) for attribute in ATTRIBUTES)]
    buttons = [
        html.Button("Take this decision", id="take", type="button", className="primary", disabled=True),
        html.Button("Next client", id="clear", type="button", className="quiet"),
    ]
    return [
        html.H2("One client", tabIndex=-1),
        html.P("The lists hold the words of the data; in brackets is what a word stands for.", className="hint"),
        html.Form(
            [html.Div(fields, className="fields"), html.Div(buttons, className="buttons")], id="application-form"
        ),
        html.Section(id="judged", **{"aria-label": "Decision", "aria-live": "polite"}),
        dcc.Store(id="application"),
    ]


def preview(scoring: Scoring, production: Production, application: dict[str, Any]) -> tuple[Any, bool]:
    """Return what the model makes of what is typed so far, and whether no decision can be taken on it."""
    left = [a.label for a in ATTRIBUTES if a.name in SCORED and not str(application.get(a.name) or "").strip()]
    if left:
        named = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        return [html.P(f"To be filled in: {named}.", className="hint")], True
    try:
        batch = scoring.preview(_row(application))
    except ScoringOff as error:
        return [_trouble(str(error))], True
    if not len(batch.applications):
        return _faults(batch), True
    return [*previewed(production, batch), *_said(batch)], False


def take(
    scoring: Scoring, production: Production, log: DecisionLog, application: dict[str, Any], key: str, caller: Caller
) -> tuple[Any, bool, str | None]:
    """Decide for good; return what is shown, whether there is no decision left to be taken, and the decision's id."""
    row = _row(application)
    body = json.dumps([row]).encode()
    try:
        batch = scoring.rows(body, [row], caller=caller, key=key_of(key), source=SOURCE).batch
        if not len(batch.applications):
            return _faults(batch), True, None
        id = batch.decision_id(0)
        return [*judged(log, production, id), *_said(batch)], True, id
    except (NotDecided, Problem, ScoringOff, LogUnavailable) as error:
        # Without a decision it may be tried again.
        return [_trouble(str(error))], False, None


def _row(application: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in application.items() if str(value).strip()}


def _said(batch: Batch) -> list[Any]:
    """Return what was taken in another form than it was typed in."""
    return [html.P(f"{text}.", className="hint") for text in batch.applications.warnings]


def _faults(batch: Batch) -> list[Any]:
    return [_trouble(fault.message.partition(": ")[2]) for fault in batch.applications.faults]


def _trouble(text: str) -> Any:
    return html.P(f"{text}.".replace("..", "."), role="alert", className="trouble")


def _attribute(a: Attribute) -> Any:
    title = f"{a.label} ({a.unit})" if a.unit else a.label
    hint = "optional, never scored" if a.protected else ""
    if a.kind == "number" and a.maximum > 10:
        return _field(a.name, title, hint, _input(a.name, "number", min=a.minimum, max=a.maximum, step=1))
    words = a.categories or [str(n) for n in range(a.minimum, a.maximum + 1)]
    options = [html.Option("", value=""), *(html.Option(_choice(a.name, word), value=word) for word in words)]
    return _field(a.name, title, hint, html.Select(options, id=_id(a.name)))


def _choice(name: str, word: str) -> str:
    meant = meaning(name, word)
    return f"{word} ({meant})" if meant not in ("", word) else word


def _input(name: str, kind: str, **more: Any) -> Any:
    return dcc.Input(id=_id(name), type=kind, autoComplete="off", **more)


def _field(name: str, title: str, hint: str, field: Any) -> Any:
    label = html.Label([title, html.Span(f" {hint}", className="hint") if hint else None], htmlFor=_id(name))
    return html.Div([label, field], className="field")


def _id(name: str) -> str:
    return f"a-{name}"
