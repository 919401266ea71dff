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


def layout() -> list[Any]:
    """Return the fields of a search and the place of what it finds."""
    fields = [
        html.Div([html.Label(title, htmlFor=id), dcc.Input(id=id, type=kind, n_submit=0)], className="field")
        for id, title, kind in _FIELDS
    ]
    return [
        html.H2("History", tabIndex=-1),
        html.Div([*fields, html.Button("Find", id="find", type="button", className="primary")], className="fields"),
        html.P("Days and times are those of UTC.", className="hint"),
        html.Div(id="found", role="region", **{"aria-label": "What was found", "aria-live": "polite"}),
    ]


def found(log: DecisionLog, text: str, since: str | None, until: str | None, before: int | None) -> list[Any]:
    """Return what a search finds; days are those of UTC, the last one included."""
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
        parts.append(html.P("Nothing was found." if hits.before is None else "Nothing was found so far."))
    if hits.before is not None:
        parts.append(html.Button("Older", id="older", type="button", className="quiet", value=str(hits.before)))
    return parts


def _day(text: str | None) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None


def _batches(records: list[BatchRecord]) -> Any:
    rows = [
        [
            dcc.Link(one_line(record.source or "") or "sent by the API", href=f"./?batch={record.id}"),
            f"{record.time:%d %b %Y, %H:%M}",
            f"{record.n_decided + record.n_rejected:,}",
            f"{record.n_decided - record.n_red:,}",
            f"{record.n_red:,}",
            f"{record.n_rejected:,}",
            record.model_version,
        ]
        for record in records
    ]
    return _table(("File", "Time (UTC)", "Clients", "Green", "Red", "Rejected", "Version"), rows)


def _decisions(log: DecisionLog, decisions: list[dict[str, Any]]) -> Any:
    sources = {record.id: record.source for record in log.records({decision["batch"] for decision in decisions})}
    overridden = overrides_of(log, [decision["id"] for decision in decisions])
    rows = [
        [
            dcc.Link(
                one_line(decision[CLIENT_ID] or "") or f"row {decision['row'] + 1}",
                href=f"decision?id={decision['id']}",
            ),
            f"{one_line(sources.get(decision['batch']) or '') or 'sent by the API'}, row {decision['row'] + 1:,}",
            f"{decision['time']:%d %b %Y, %H:%M}",
            badge(decision["prediction"]),
            _override(overridden.get(decision["id"])),
            f"{decision['risk']:.1%}",
            decision["model_version"],
        ]
        for decision in decisions
    ]
    return _table(("Client", "From", "Time (UTC)", "Prediction", "Override", "Default risk", "Version"), rows)


def _client(decision: dict[str, Any]) -> str:
    return one_line(decision[CLIENT_ID] or "") or f"row {decision['row'] + 1}"


def _override(event: dict[str, Any] | None) -> Any:
    return [badge(event["prediction"]), f" by {one_line(event['by'])}"] if event else ""


def _table(titles: tuple[str, ...], rows: list[list[Any]]) -> Any:
    head = html.Thead(html.Tr([html.Th(title, scope="col") for title in titles]))
    body = html.Tbody([html.Tr([html.Td(cell) for cell in row]) for row in rows])
    return html.Div(html.Table([head, body]), className="wide")
