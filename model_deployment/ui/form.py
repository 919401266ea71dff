"""One client by hand: a form made from the schema, whose risk changes as its fields do.

Until a person takes the decision, what is typed is only previewed: it is not recorded as a
decision.
"""

import json
from typing import Any

from dash import dcc, html

from credit_risk.access.caller import Caller
from credit_risk.decision_log.batch import Batch
from credit_risk.decision_log.log import DecisionLog
from credit_risk.schema.attributes import CLIENT_ID, MAX_CLIENT_ID, Attribute, Labels
from credit_risk.schema.dataset import Dataset
from credit_risk.storage.documents import LogUnavailable
from model_deployment.api.request_data import key_of
from model_deployment.http.problem import Problem
from model_deployment.scoring.errors import NotDecided
from model_deployment.scoring.live_model import LiveModel, ScoringOff
from model_deployment.scoring.service import Scoring
from model_deployment.ui.decision_detail import judged, previewed
from model_deployment.ui.wording import in_words, optional

SOURCE = "One client by hand"
# As many numbers are chosen from a list.
_MAX_LISTED = 10
# Missing attributes that are named in a hint.
_MAX_NAMED = 3


def layout(dataset: Dataset, labels: Labels) -> list[Any]:
    """Return the form and the place of its result; the script reads the fields by their ids."""
    client = _field(
        CLIENT_ID,
        "Client",
        "your name for the client",
        _input(CLIENT_ID, "text", maxLength=MAX_CLIENT_ID),
    )
    fields = [client, *(_attribute(attribute, labels) for attribute in dataset.attributes)]
    buttons = [
        html.Button(
            "Take this decision", id="take", type="button", className="primary", disabled=True
        ),
        html.Button("Next client", id="clear", type="button", className="quiet"),
    ]
    hint = "The lists say what a value means; in brackets is the word that files have for it."
    if labels == "file":
        hint = "The lists hold the words of the data; in brackets is what a word stands for."

    return [
        html.H2("One client", tabIndex=-1),
        html.P(hint, className="hint"),
        html.Form(
            [html.Div(fields, className="fields"), html.Div(buttons, className="buttons")],
            id="application-form",
        ),
        html.Section(id="judged", **{"aria-label": "Decision", "aria-live": "polite"}),
        dcc.Store(id="application"),
    ]


def preview(
    scoring: Scoring, production: LiveModel, application: dict[str, Any]
) -> tuple[Any, bool]:
    """Return the model's prediction for the fields so far.

    Returns
    -------
    parts : list
        What the page shows.
    off : bool
        Whether no decision can be taken.
    """
    missing = _missing(application, production.dataset)
    if missing:
        named = ", ".join(missing[:_MAX_NAMED])
        if len(missing) > _MAX_NAMED:
            named += f" and {len(missing) - _MAX_NAMED} more"
        return [html.P(f"To be filled in: {named}.", className="hint")], True

    try:
        batch = scoring.preview(_row(application, production.dataset))
    except ScoringOff as error:
        return [_trouble(str(error))], True
    if not len(batch.applications):
        return _faults(batch), True
    return [*previewed(production, batch), *_warnings(batch)], False


def take(
    scoring: Scoring,
    production: LiveModel,
    log: DecisionLog,
    application: dict[str, Any],
    key: str,
    caller: Caller,
) -> tuple[Any, bool, str | None]:
    """Decide for good.

    Returns
    -------
    parts : list
        What the page shows.
    off : bool
        Whether there is no decision left to be taken.
    id : str or None
        The decision's id.
    """
    row = _row(application, production.dataset)
    body = json.dumps([row]).encode()
    try:
        batch = scoring.rows(body, [row], caller=caller, key=key_of(key), source=SOURCE).batch
        if not len(batch.applications):
            return _faults(batch), True, None

        id = batch.decision_id(0)
        return [*judged(log, production, id), *_warnings(batch)], True, id
    except (NotDecided, Problem, ScoringOff, LogUnavailable) as error:
        # Without a decision the clerk may try again.
        return [_trouble(str(error))], False, None


def _missing(application: dict[str, Any], dataset: Dataset) -> list[str]:
    """Return the labels of attributes that have to be filled in and are not."""
    needed = [a for a in dataset.attributes if not a.may_be_absent]
    return [a.label for a in needed if not str(application.get(a.name) or "").strip()]


def _row(application: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return what is typed, its decimals behind the mark that files have.

    A browser gives a number with a dot, whichever mark its user types.
    """
    row = {name: value for name, value in application.items() if str(value).strip()}
    for attribute in dataset.attributes:
        value = row.get(attribute.name)
        if attribute.decimals and isinstance(value, str):
            row[attribute.name] = value.replace(".", attribute.decimal_mark)
    return row


def _warnings(batch: Batch) -> list[Any]:
    """Return which values were taken in another form than they were typed in."""
    return [html.P(f"{text}.", className="hint") for text in batch.applications.warnings]


def _faults(batch: Batch) -> list[Any]:
    return [_trouble(fault.message.partition(": ")[2]) for fault in batch.applications.faults]


def _trouble(text: str) -> Any:
    return html.P(f"{text}.".replace("..", "."), role="alert", className="trouble")


def _attribute(a: Attribute, labels: Labels) -> Any:
    is_short = not a.decimals and a.maximum - a.minimum < _MAX_LISTED
    is_listed = bool(a.categories) or is_short
    if not is_listed:
        step = 10.0**-a.decimals if a.decimals else 1
        field = _input(a.name, "number", min=a.minimum, max=a.maximum, step=step)
        return _field(a.name, a.title, optional(a), field)

    words = a.categories or [str(n) for n in a.classes]
    options = [html.Option("", value="")]
    options += [html.Option(in_words(a, word, labels), value=word) for word in words]
    return _field(a.name, a.title, optional(a), html.Select(options, id=_id(a.name)))


def _input(name: str, kind: str, **more: Any) -> Any:
    return dcc.Input(id=_id(name), type=kind, autoComplete="off", **more)


def _field(name: str, title: str, hint: str, field: Any) -> Any:
    note = html.Span(f" {hint}", className="hint") if hint else None
    label = html.Label([title, note], htmlFor=_id(name))
    return html.Div([label, field], className="field")


def _id(name: str) -> str:
    return f"a-{name}"
