"""Past uploads and decisions, found by file, client, date or id."""

from datetime import UTC, datetime, timedelta
from typing import Any

from dash import dcc, html

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.history import search
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import overrides_of
from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.storage.documents import LogUnavailable
from credit_risk.texts import one_line
from model_deployment.ui.decision_detail import badge

_FIELDS = (
    ("find-text", "File, client or id", "search"),
    ("find-since", "From", "date"),
    ("find-until", "To", "date"),
)
_BRANCH = ("find-branch", "Branch", "search")
_BATCH_TITLES = ("File", "Time (UTC)", "Clients", "Green", "Red", "Rejected", "Version")
_DECISION_TITLES = (
    "Client",
    "From",
    "Time (UTC)",
    "Prediction",
    "Override",
    "Default risk",
    "Version",
)


def layout(*, all_branches: bool) -> list[Any]:
    """Return the fields of a search and the place of its results.

    Parameters
    ----------
    all_branches : bool
        Whether decisions of several branches are found, so that one can be chosen.
    """
    fields = []
    for id, title, kind in (*_FIELDS, _BRANCH):
        label = html.Label(title, htmlFor=id)
        field = dcc.Input(id=id, type=kind, n_submit=0)
        is_hidden = id == _BRANCH[0] and not all_branches
        fields.append(html.Div([label, field], className="field", hidden=is_hidden))
    button = html.Button("Find", id="find", type="button", className="primary")

    return [
        html.H2("History", tabIndex=-1),
        html.Div([*fields, button], className="fields"),
        html.P("Days and times are those of UTC.", className="hint"),
        html.Div(
            id="found", role="region", **{"aria-label": "What was found", "aria-live": "polite"}
        ),
    ]


def found(
    log: DecisionLog, text: str, since: str | None, until: str | None, before: str | None
) -> list[Any]:
    """Return what a search finds; days are in UTC, and the last one is included."""
    try:
        start, end = _day(since), _day(until)
        end = end + timedelta(days=1) if end else None
    except (ValueError, OverflowError):
        return [html.P("A day is written 2026-11-25.", role="alert", className="trouble")]
    try:
        hits = search(log, text, start, end, before)
        decisions = _decisions(log, hits.decisions)
    except LogUnavailable:
        return [html.P("The decision log cannot be reached. Try again in a moment.", role="alert")]

    parts: list[Any] = []
    if hits.decisions:
        parts += [html.H3("Decisions"), decisions]
    if hits.batches:
        parts += [html.H3("Files and requests"), _batches(hits.batches)]
    if not parts:
        parts.append(html.P("Nothing was found."))
    if hits.before is not None:
        older = html.Button(
            "Older", id="older", type="button", className="quiet", value=hits.before
        )
        parts.append(older)
    return parts


def _day(text: str | None) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None


def _batches(records: list[BatchRecord]) -> Any:
    rows = []
    for record in records:
        link = dcc.Link(_source(record.source), href=f"./?batch={record.id}")
        file = [link, *_labels(record)]
        counts = (
            record.n_decided + record.n_rejected,
            record.n_decided - record.n_red,
            record.n_red,
            record.n_rejected,
        )
        rows.append(
            [
                file,
                f"{record.time:%d %b %Y, %H:%M}",
                *[f"{n:,}" for n in counts],
                record.model_version,
            ]
        )
    return _table(_BATCH_TITLES, rows)


def _decisions(log: DecisionLog, decisions: list[dict[str, Any]]) -> Any:
    records = log.records({decision["batch"] for decision in decisions})
    batches = {record.id: record for record in records}
    overridden = overrides_of(log, [decision["id"] for decision in decisions])

    rows = []
    for decision in decisions:
        id = decision["id"]
        batch = batches[decision["batch"]]
        source = f"{_source(batch.source)}, row {decision['row'] + 1:,}"
        rows.append(
            [
                dcc.Link(_client(decision), href=f"decision?id={id}"),
                [source, *_labels(batch)],
                f"{decision['time']:%d %b %Y, %H:%M}",
                badge(decision["prediction"]),
                _override(overridden.get(id)),
                f"{decision['risk']:.1%}",
                decision["model_version"],
            ]
        )
    return _table(_DECISION_TITLES, rows)


def _labels(record: BatchRecord) -> list[Any]:
    """Return the label of a batch that holds no decisions on applications, and its branch."""
    labels: list[str] = [] if record.kind == "decision" else [record.kind]
    labels += [one_line(record.branch)] if record.branch else []
    return [part for text in labels for part in (" ", html.Span(text, className="hint"))]


def _source(name: str | None) -> str:
    return one_line(name or "") or "sent by the API"


def _client(decision: dict[str, Any]) -> str:
    return one_line(decision[CLIENT_ID] or "") or f"row {decision['row'] + 1}"


def _override(event: dict[str, Any] | None) -> Any:
    return [badge(event["prediction"]), f" by {one_line(event['by'])}"] if event else ""


def _table(titles: tuple[str, ...], rows: list[list[Any]]) -> Any:
    head = html.Thead(html.Tr([html.Th(title, scope="col") for title in titles]))
    body = html.Tbody([html.Tr([html.Td(cell) for cell in row]) for row in rows])
    return html.Div(html.Table([head, body]), className="wide")
