"""The page: a clerk drops a file of clients and reads green or red.

The drop zone is plain script (assets/riskometer.js): it posts each file to `/api/v1/files`, the path that integrators
take, and hands the answer to Dash. What Dash shows of the decisions it reads from the decision log, so that the page
shows what is stored, and nothing else.
"""

from typing import Any

import dash_ag_grid
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from flask import Flask

from credit_risk.application import ATTRIBUTES, CLIENT_ID
from credit_risk.decisions import DecisionLog, LogUnavailable
from credit_risk.overrides import OVERRIDE, NoSuchDecision, NotAllowed, override
from model_deployment.charts import histogram
from model_deployment.panel import panel
from model_deployment.problems import size_text
from model_deployment.serving import Production

# A browser holds so many rows with ease; the download has them all.
SHOWN_ROWS = 10_000
_GRID_ROWS = 15
_BANNER_MS = 5_000

# Files come in by this element, outside of what React renders: the script empties it after each choice, and the same
# file can be chosen again.
_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
  {%metas%}
  <title>{%title%}</title>
  <link rel="icon" type="image/svg+xml" href="assets/logo.svg">
  {%css%}
</head>
<body>
  <input type="file" id="file-input" accept=".csv,.tsv,.txt,.xlsx,.parquet" multiple hidden
    aria-label="Files of clients">
  {%app_entry%}
  <footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""

# Colours come from the style sheet, which knows light and dark.
_GRID_THEME = """themeQuartz.withParams({
    backgroundColor: 'var(--surface)', foregroundColor: 'var(--ink)', accentColor: 'var(--accent)',
    borderColor: 'var(--line)', headerBackgroundColor: 'var(--surface-2)', headerTextColor: 'var(--muted)',
    browserColorScheme: 'inherit', fontFamily: 'inherit', fontSize: 14, headerFontSize: 13,
    headerFontWeight: 600, wrapperBorderRadius: 10
})"""


class _Page(Dash):  # type: ignore[misc]
    """Dash without its answer to every other address: what is not there is a 404."""

    def _add_url(self, name: str, *rest: Any, **more: Any) -> None:
        if name != "<path:path>":
            super()._add_url(name, *rest, **more)


def attach(app: Flask, production: Production, log: DecisionLog) -> str:
    """Put the page at the root of an app.

    Returns
    -------
    str
        The Content-Security-Policy that the page can live with.
    """
    dash = _Page(
        __name__,
        server=app,
        title="Risk-O-Meter",
        update_title=None,
        add_log_handler=False,
        index_string=_INDEX,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "color-scheme", "content": "light dark"},
        ],
    )
    # The table and what is opened from it come with a result.
    dash.config.suppress_callback_exceptions = True
    dash.layout = _layout(app.config["MAX_CONTENT_LENGTH"])

    @dash.callback(Output("banner", "children"), Input("clock", "n_intervals"))  # type: ignore[untyped-decorator]
    def show_banner(_: int) -> Any:
        return banner(production)

    dash.clientside_callback(
        ClientsideFunction("riskometer", "shown"),
        Output("shown", "data"),
        Input("files", "value"),
        prevent_initial_call=True,
    )

    @dash.callback(  # type: ignore[untyped-decorator]
        Output("result", "children"), Input("shown", "data"), prevent_initial_call=True
    )
    def show_result(upload: dict[str, Any] | None) -> Any:
        return result(log, upload) if upload else []

    @dash.callback(  # type: ignore[untyped-decorator]
        Output("panel", "children"), Input("decisions", "selectedRows"), prevent_initial_call=True
    )
    def open_panel(rows: list[dict[str, Any]] | None) -> Any:
        id = _chosen(rows)
        return panel(log, production, id) if id else []

    @dash.callback(  # type: ignore[untyped-decorator]
        Output("decisions", "deselectAll"),
        Output("panel", "children", allow_duplicate=True),
        Input("panel-close", "n_clicks"),
        prevent_initial_call=True,
    )
    def close_panel(clicks: int | None) -> Any:
        return (True, []) if clicks else (no_update, no_update)

    @dash.callback(  # type: ignore[untyped-decorator]
        Output("panel", "children", allow_duplicate=True),
        Output("decisions", "rowTransaction"),
        Input("override-set", "n_clicks"),
        State("override-set", "value"),
        State("override-by", "value"),
        State("override-reason", "value"),
        State("decisions", "selectedRows"),
        prevent_initial_call=True,
    )
    def set_override(
        clicks: int | None, to: str, by: str | None, reason: str | None, rows: list[dict[str, Any]] | None
    ) -> Any:
        id = _chosen(rows)
        if not clicks or not rows or not id:
            return no_update, no_update
        try:
            event = override(log, id, to, by or "", reason or "")
        except (NotAllowed, NoSuchDecision) as error:
            return panel(log, production, id, f"{error}."), no_update
        return panel(log, production, id), {"update": [rows[0] | {"override": _override_words(event)}]}

    # A process learns which scripts it may hand out when it writes the page; here another one may have written it.
    with app.test_request_context():
        dash.index()
    scripts = " ".join(dash.csp_hashes())
    return (
        f"default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def _layout(limit: int) -> Any:
    return html.Div(
        [
            html.Header(
                [
                    html.Img(src="assets/logo.svg", alt="", className="logo"),
                    html.Div([html.H1("Risk-O-Meter"), html.P("Credit decisions, green or red")], className="brand"),
                    html.Div(id="banner", role="status"),
                ]
            ),
            html.Main(
                [
                    html.Section(
                        [
                            html.H2("Drop a file of clients here"),
                            html.Button("Choose files", id="choose", type="button", className="primary"),
                            html.P(f"CSV, Excel or Parquet, one client a row, up to {size_text(limit)} a file."),
                            html.P(
                                [
                                    html.A("Empty template", href="assets/template.csv", download="template.csv"),
                                    " · ",
                                    html.A("Sample file", href="assets/sample.csv", download="sample.csv"),
                                    " of ten clients to try",
                                ]
                            ),
                            _columns_help(),
                        ],
                        id="drop",
                        **{"data-limit": str(limit), "aria-label": "Upload"},
                    ),
                    html.Div(id="transfers", role="log", **{"aria-label": "Uploads under way"}),
                    dcc.RadioItems(id="files", options=[], value=None, className="files"),
                    html.Section(id="result", **{"aria-label": "Result"}),
                    html.P(id="spoken", role="status", className="spoken"),
                    html.Section(id="panel", **{"aria-label": "Decision", "aria-live": "polite"}),
                ]
            ),
            dcc.Store(id="shown"),
            dcc.Interval(id="clock", interval=_BANNER_MS),
        ]
    )


def _columns_help() -> Any:
    rows = [
        html.Tr(
            [
                html.Th(html.Code(a.name), scope="row"),
                html.Td(", ".join(a.categories) if a.categories else _range(a.minimum, a.maximum, a.unit)),
                html.Td("optional, never scored" if a.protected else ""),
            ]
        )
        for a in ATTRIBUTES
    ]
    rows.append(html.Tr([html.Th(html.Code(CLIENT_ID), scope="row"), html.Td("your name for the client"), "optional"]))
    return html.Details([html.Summary("Which columns?"), html.Div(html.Table(html.Tbody(rows)), className="scroll")])


def _range(minimum: int, maximum: int, unit: str) -> str:
    return f"{minimum:,} to {maximum:,} {unit}".rstrip()


def banner(production: Production) -> Any:
    """Return which model serves, or why none does."""
    serving, trouble = production.serving, production.trouble
    if serving is None:
        return html.P([html.Strong("Scoring is off."), f" {trouble}"], className="off")
    approval = serving.approval
    when = f", {approval.time:%d %b %Y, %H:%M} UTC" if approval.time else ""
    lines = [
        html.P(
            [html.Strong(f"Model version {serving.version}"), html.Span(f"approved by {approval.by}{when}")],
            className="on",
        )
    ]
    scorer = serving.scorer
    if scorer.acceptance is not None:
        accepted = f"It accepts about {10 * scorer.acceptance:.0f} of 10 clients like those it was trained on"
        costs = f"a bad client accepted costs {scorer.cost_bad:g}, a good one refused {scorer.cost_good:g}"
        lines.append(html.P(f"{accepted}: {costs}.", className="hint"))
    if trouble:
        lines.append(html.P(f"{trouble} Version {serving.version} serves on.", className="note"))
    return lines


def result(log: DecisionLog, upload: dict[str, Any]) -> list[Any]:
    """Return what the page shows of one upload.

    Parameters
    ----------
    log : DecisionLog
        Holds its decisions.
    upload : dict
        What the script kept: `name`, `url` of the download, and the API's `answer` but for the decisions.
    """
    answer = upload["answer"]
    n_decided, n_rejected = answer["n_decided"], answer["n_rejected"]
    try:
        record = log.batch(str(answer["batch"]))
        decisions = log.read(record).slice(0, SHOWN_ROWS) if record and n_decided else None
    except LogUnavailable:
        return [html.P("The decisions are stored, but the log cannot be read now. Choose the file above again.")]
    n_red = record.n_red if record else 0
    counts = [
        _count(n_decided + n_rejected, "clients" if n_decided + n_rejected != 1 else "client", "all"),
        _count(n_decided - n_red, "green", "green"),
        _count(n_red, "red", "red"),
        _count(n_rejected, "rejected", "rejected"),
        html.Span(f"Model version {answer['model_version']}", className="version"),
    ]
    title: list[Any] = [html.H2(upload["name"])]
    if upload.get("url"):
        stem = str(upload["name"]).rsplit(".", 1)[0]
        title.append(
            html.A(
                "Download result",
                id="download",
                href=upload["url"],
                download=f"{stem}-result.csv",
                className="primary",
            )
        )
    parts: list[Any] = [html.Div(title, className="title"), html.P(counts, className="summary", id="summary")]
    if answer["warnings"]:
        parts.append(html.P("; ".join(answer["warnings"]) + ".", className="hint"))
    if answer["rejected"]:
        parts.append(_rejected(answer["rejected"], n_rejected, upload))
    if record is not None and decisions is not None:
        if n_decided > SHOWN_ROWS:
            parts.append(
                html.P(f"The first {SHOWN_ROWS:,} clients are shown; the download has them all.", className="hint")
            )
        parts.append(histogram(decisions["risk"].to_numpy(), record.threshold))
        parts.append(_grid(decisions.to_pylist(), _overridden(log)))
        hint = "Confidence says how clear a decision is, given the costs. Choose a row for its reasons."
        parts.append(html.P(hint, className="hint"))
    return parts


def _count(n: int, word: str, kind: str) -> Any:
    return html.Span([html.Strong(f"{n:,}"), f" {word} "], className=f"count {kind}")


def _rejected(faults: list[dict[str, Any]], n_rejected: int, upload: dict[str, Any]) -> Any:
    heading = f"{n_rejected:,} rejected" if n_rejected else "Nothing to decide on"
    rows = [
        html.Tr(
            [
                html.Td("" if fault["row"] is None else f"{fault['row'] + 1:,}"),
                html.Td(fault["column"] or ""),
                html.Td("" if fault["value"] is None else str(fault["value"])),
                html.Td(fault["message"]),
                html.Td(_allowed(fault["allowed"])),
            ]
        )
        for fault in faults
    ]
    titles = ("Row", "Column", "Value", "What is wrong", "What is allowed")
    table = html.Table([html.Thead(html.Tr([html.Th(title, scope="col") for title in titles])), html.Tbody(rows)])
    parts = [html.Summary(heading), html.Div(table, className="scroll", tabIndex=0)]
    if upload.get("rejected_url"):
        stem = str(upload["name"]).rsplit(".", 1)[0]
        link = html.A(
            "Download the rejected rows", id="rejected", href=upload["rejected_url"], download=f"{stem}-rejected.csv"
        )
        parts.append(html.P([link, " to mend them and drop that file here."], className="hint"))
    return html.Details(parts, open=True, className="faults")


def _allowed(allowed: list[str] | dict[str, Any] | None) -> str:
    if isinstance(allowed, dict):
        return _range(allowed["minimum"], allowed["maximum"], "")
    return ", ".join(allowed or [])


def _chosen(rows: list[dict[str, Any]] | None) -> str | None:
    """Return the id of the row that is selected."""
    return str(rows[0].get("id")) if rows else None


def _overridden(log: DecisionLog) -> dict[str, str]:
    """Return the last override of each decision in words."""
    return {event["key"]: _override_words(event) for event in log.events(OVERRIDE)}


def _override_words(event: dict[str, Any]) -> str:
    return f"{event['prediction']} by {event['by']}"


def _grid(rows: list[dict[str, Any]], overridden: dict[str, str]) -> Any:
    named = any(row[CLIENT_ID] for row in rows)
    for row in rows:
        row["warnings"] = "; ".join(row["warnings"])
        row["override"] = overridden.get(row["id"], "")
        row["row"] += 1  # people count from 1
    columns: list[dict[str, Any]] = [
        {"field": CLIENT_ID, "headerName": "Client", "pinned": "left"}
        if named
        else {"field": "row", "headerName": "Row", "pinned": "left", "type": "rightAligned"},
        {
            "field": "prediction",
            "headerName": "Prediction",
            "pinned": "left",
            "cellClassRules": {"green": "params.value == 'green'", "red": "params.value == 'red'"},
        },
        _percent("risk", "Default risk", ".1%") | {"cellStyle": {"function": "riskMeter(params)"}, "minWidth": 150},
        _percent("confidence", "Confidence", ".0%"),
        {"field": "override", "headerName": "Override"},
    ]
    if any(row["warnings"] for row in rows):
        columns.append({"field": "warnings", "headerName": "Warnings", "tooltipField": "warnings", "maxWidth": 240})
    for a in ATTRIBUTES:
        column: dict[str, Any] = {"field": a.name, "headerName": f"{a.label} ({a.unit})" if a.unit else a.label}
        if a.kind == "number":
            column |= {"type": "rightAligned", "filter": "agNumberColumnFilter"}
        columns.append(column)
    fields = ["id", *(column["field"] for column in columns)]
    few = len(rows) <= _GRID_ROWS
    return dash_ag_grid.AgGrid(
        id="decisions",
        columnDefs=columns,
        rowData=[{field: row[field] for field in fields} for row in rows],
        getRowId="params.data.id",
        columnSize="autoSize",
        defaultColDef={"sortable": True, "filter": True, "resizable": True},
        dashGridOptions={
            "theme": {"function": _GRID_THEME},
            "domLayout": "autoHeight" if few else "normal",
            "suppressFieldDotNotation": True,
            "enableCellTextSelection": True,
            "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
        },
        style={} if few else {"height": "36rem"},
    )


def _percent(field: str, title: str, form: str) -> dict[str, Any]:
    return {
        "field": field,
        "headerName": title,
        "type": "rightAligned",
        "filter": "agNumberColumnFilter",
        "valueFormatter": {"function": f"d3.format('{form}')(params.value)"},
    }
