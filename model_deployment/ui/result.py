"""The result of a file: counts, histogram of risks, table of clients, and rejected rows."""

from typing import Any

import dash_ag_grid
import pyarrow as pa
from dash import html

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.tables import attribute_names
from credit_risk.schema.attributes import CLIENT_ID, Attribute
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import MAX_FAULTS
from credit_risk.storage.documents import LogUnavailable
from credit_risk.texts import one_line
from model_deployment.files.export import MAX_EXCEL_ROWS
from model_deployment.ui.charts import histogram
from model_deployment.ui.grid_query import Rows

# Rows that the table requests at a time, and how many such blocks it keeps; then it forgets the
# oldest one.
_BLOCK = 100
_BLOCKS = 20
_GRID_ROWS = 15
_WIDEST_PX = 360
_HEAD_PX, _ROW_PX = 51, 42
# Up to this many faults are shown without scrolling.
_FEW_FAULTS = 6

_CONFIDENCE = "Confidence says how clear a decision is, given the costs."

# Colours come from the style sheet, which knows light and dark.
_GRID_THEME = """themeQuartz.withParams({
    backgroundColor: 'var(--surface)', foregroundColor: 'var(--ink)', accentColor: 'var(--accent)',
    borderColor: 'var(--line)', headerBackgroundColor: 'var(--surface-2)',
    headerTextColor: 'var(--muted)', browserColorScheme: 'inherit', fontFamily: 'inherit',
    fontSize: 14, headerFontSize: 13, headerFontWeight: 600, wrapperBorderRadius: 10
})"""


def result(
    log: DecisionLog, rows: Rows, upload: dict[str, Any], serving: str | None = None
) -> list[Any]:
    """Return what the page shows of one upload.

    Parameters
    ----------
    log : DecisionLog
        Holds its decisions.
    rows : Rows
        Reads them.
    upload : dict
        What the script kept: `name`, the API's `answer` without the decisions, and `rejected_url`
        and `rejected_form` where there are rejected rows; or `trouble`, why there is no answer.
    serving : str, optional
        The version that serves now.
    """
    if "trouble" in upload:
        return [html.P(upload["trouble"], role="alert", className="trouble")]

    answer, name = upload["answer"], str(upload["name"])
    try:
        record = log.batch(str(answer["batch"]))
        decisions = rows.table(record) if record and record.n_decided else None
    except LogUnavailable:
        text = (
            "The decisions are stored, but the log cannot be read now. Choose the file above again."
        )
        return [html.P(text)]

    downloads = _downloads(record, name) if record else []
    parts: list[Any] = [
        html.Div([html.H2(name, tabIndex=-1), *downloads], className="title"),
        html.P(id="download-trouble", role="alert", className="trouble"),
        _summary(answer, record.n_red if record else 0),
    ]
    parts += [html.P(hint, className="hint") for hint in _hints(answer, serving)]
    if answer["rejected"]:
        parts.append(_rejected(answer, upload))
    if record is not None and decisions is not None:
        parts.append(histogram(decisions["risk"].to_numpy(), record.threshold))
        parts.append(grid(record, decisions, log.dataset))
        parts.append(html.P(f"{_CONFIDENCE} Choose a row for its reasons.", className="hint"))
    return parts


def logged(record: BatchRecord) -> dict[str, Any]:
    """Return a batch of the log in the form in which `result` takes an upload.

    The log has counts of rejected rows, but not the rows.
    """
    counts = []
    for one in record.reasons:
        reason = one["reason"].replace("_", " ")
        counts.append(f"{one['n']:,} {one['column'] or 'row'}: {reason}")

    answer = {
        "batch": record.id,
        "model_version": record.model_version,
        "n_decided": record.n_decided,
        "n_rejected": record.n_rejected,
        "kinds": [],
        "rejected": [],
        "warnings": [f"rejected: {'; '.join(counts)}"] if counts else [],
    }
    source = one_line(record.source or "") or "Sent by the API"
    if record.kind == "portfolio":
        source += " (portfolio)"
    return {"name": f"{source}, {record.time:%d %b %Y, %H:%M} UTC", "answer": answer}


def _hints(answer: dict[str, Any], serving: str | None) -> list[str]:
    hints = []
    decided_by = answer["model_version"]
    if serving is not None and serving != decided_by:
        hints.append(f"Version {decided_by} decided; version {serving} serves now.")
    if answer["warnings"]:
        said = "; ".join(answer["warnings"])
        hints.append(f"{said[:1].upper()}{said[1:]}.")
    return hints


def _summary(answer: dict[str, Any], n_red: int) -> Any:
    n_decided, n_rejected = answer["n_decided"], answer["n_rejected"]
    n = n_decided + n_rejected
    counts = [
        _count(n, "clients" if n != 1 else "client", "all"),
        _count(n_decided - n_red, "green", "green"),
        _count(n_red, "red", "red"),
        _count(n_rejected, "rejected", "rejected"),
        html.Span(f"Model version {answer['model_version']}", className="version"),
    ]
    return html.P(counts, className="summary", id="summary")


def _count(n: int, word: str, kind: str) -> Any:
    return html.Span([html.Strong(f"{n:,}"), f" {word} "], className=f"count {kind}")


def _downloads(record: BatchRecord, name: str) -> list[Any]:
    """Return the links to the result.

    The script follows them, and sends the file along for its other columns.
    """
    if not record.n_decided:
        return []

    links = [_download(record, name, "csv", "CSV", "primary")]
    if record.n_decided <= MAX_EXCEL_ROWS:
        links.append(_download(record, name, "xlsx", "Excel", "secondary"))
    return [html.Div(links, className="downloads")]


def _download(record: BatchRecord, name: str, form: str, word: str, style: str) -> Any:
    stem = name.rsplit(".", 1)[0]
    return html.A(
        f"Download {word}",
        id=f"download-{form}",
        href=f"api/v1/batches/{record.id}.{form}",
        download=f"{stem}-result.{form}",
        className=style,
        **{"data-batch": record.id},
    )


def _rejected(answer: dict[str, Any], upload: dict[str, Any]) -> Any:
    faults, n_rejected = answer["rejected"], answer["n_rejected"]
    heading = f"{n_rejected:,} rejected" if n_rejected else "Nothing to decide on"

    parts = [html.Summary(heading)]
    if len(faults) > _FEW_FAULTS:
        kinds = [html.Li(kind["message"]) for kind in answer["kinds"]]
        parts.append(html.Ul(kinds, className="kinds"))
    parts.append(_faults(faults))
    if len(faults) == MAX_FAULTS:
        text = f"Only the first {MAX_FAULTS:,} faults are shown; there may be more."
        parts.append(html.P(text, className="hint"))

    if upload.get("rejected_url"):
        stem = str(upload["name"]).rsplit(".", 1)[0]
        name = f"{stem}-rejected.{upload.get('rejected_form', 'csv')}"
        link = html.A(
            "Download the rejected rows", id="rejected", href=upload["rejected_url"], download=name
        )
        parts.append(html.P([link, " to correct them, and drop that file here."], className="hint"))
    return html.Details(parts, open=True, className="faults")


def _faults(faults: list[dict[str, Any]]) -> Any:
    """Return the table of faults.

    It is one component: Dash takes a minute to draw an HTML table of a thousand rows.
    """
    few = len(faults) <= _FEW_FAULTS
    return dash_ag_grid.AgGrid(
        id="faults",
        columnDefs=[
            {"field": "row", "headerName": "Row", "width": 90},
            {"field": "column", "headerName": "Column", "width": 150},
            {"field": "value", "headerName": "Value", "width": 170},
            {"field": "message", "headerName": "What is wrong", "flex": 1, "minWidth": 280},
            {"field": "allowed", "headerName": "What is allowed", "flex": 1, "minWidth": 240},
        ],
        rowData=[_fault(fault) for fault in faults],
        defaultColDef={"sortable": True, "resizable": True, "wrapText": True, "autoHeight": True},
        dashGridOptions={
            "theme": {"function": _GRID_THEME},
            "domLayout": "autoHeight" if few else "normal",
            "enableCellTextSelection": True,
            "ensureDomOrder": True,
        },
        style={} if few else {"height": "20rem"},
    )


def _fault(fault: dict[str, Any]) -> dict[str, Any]:
    row, value = fault["row"], fault["value"]
    return {
        "row": None if row is None else row + 1,
        "column": fault["column"],
        "value": None if value is None else str(value),
        "message": fault["message"],
        "allowed": _allowed(fault["allowed"]),
    }


def _allowed(allowed: list[str] | dict[str, Any] | None) -> str:
    if isinstance(allowed, dict):
        return range_text(allowed["minimum"], allowed["maximum"], "")
    return ", ".join(allowed or [])


def range_text(minimum: float, maximum: float, unit: str) -> str:
    """Return the range of a number in words."""
    return f"{minimum:,} to {maximum:,} {unit}".rstrip()


def grid(record: BatchRecord, decisions: pa.Table, dataset: Dataset) -> Any:
    """Return the table of a batch's decisions.

    It requests its rows as they are scrolled, sorted and filtered. `dataset` is the stack's.
    """
    named = decisions[CLIENT_ID].null_count < len(decisions)
    warned = decisions["warnings"].to_numpy(zero_copy_only=False).astype(bool).any()
    few = len(decisions) <= _GRID_ROWS
    height = f"{_HEAD_PX + _ROW_PX * len(decisions) + 17}px" if few else "36rem"

    return dash_ag_grid.AgGrid(
        id="decisions",
        columnDefs=[
            *_columns(named=named, warned=bool(warned)),
            *_attribute_columns(decisions, dataset),
        ],
        rowModelType="infinite",
        getRowId="params.data.id",
        defaultColDef={"sortable": True, "filter": "agTextColumnFilter", "resizable": True},
        dashGridOptions={
            "theme": {"function": _GRID_THEME},
            "context": {"batch": record.id},
            "cacheBlockSize": _BLOCK,
            "maxBlocksInCache": _BLOCKS,
            # Dash passes on one request at a time: a second one before the answer would take its
            # place.
            "maxConcurrentDatasourceRequests": 1,
            "blockLoadDebounceMillis": 100,
            "infiniteInitialRowCount": len(decisions),
            "suppressFieldDotNotation": True,
            "enableCellTextSelection": True,
            # On a narrow screen the client stays in sight.
            "processUnpinnedColumns": {"function": "[params.api.getColumn('prediction')]"},
            "rowSelection": {
                "mode": "singleRow",
                "checkboxes": False,
                "enableClickSelection": True,
            },
        },
        style={"height": height},
    )


def _columns(*, named: bool, warned: bool) -> list[dict[str, Any]]:
    """Return the columns of the table of decisions.

    Parameters
    ----------
    named : bool
        Whether a client has an id; otherwise the row stands in the first column.
    warned : bool
        Whether a client has warnings.
    """
    columns = [
        _client_column() if named else _row_column(),
        {
            "field": "prediction",
            "headerName": "Prediction",
            "pinned": "left",
            "width": 130,
            "cellClassRules": {"green": "params.value == 'green'", "red": "params.value == 'red'"},
        },
        {
            **_percent("risk", "Default risk", ".1%"),
            "cellStyle": {"function": "riskMeter(params)"},
            "width": 150,
        },
        {
            **_percent("confidence", "Confidence", ".0%"),
            "headerTooltip": _CONFIDENCE,
            "width": 150,
        },
        _text_column("override", "Override", 170),
    ]
    if warned:
        columns.append(_text_column("warnings", "Warnings", 220))
    return columns


def _attribute_columns(decisions: pa.Table, dataset: Dataset) -> list[dict[str, Any]]:
    columns = []
    for name in attribute_names(decisions.column_names):
        if attribute := dataset.by_name.get(name):
            columns.append(_attribute_column(attribute))
        elif name != "override":  # an earlier definition's
            is_text = pa.types.is_string(decisions.schema.field(name).type)
            columns.append({"field": name, "headerName": name} if is_text else _number(name, name))
    return columns


def _client_column() -> dict[str, Any]:
    name = "params.value || (params.data ? 'row ' + params.data.row : '')"
    return {
        **_text_column(CLIENT_ID, "Client", 150),
        "pinned": "left",
        "valueFormatter": {"function": name},
    }


def _row_column() -> dict[str, Any]:
    return {**_number("row", "Row"), "pinned": "left", "width": 90}


def _text_column(field: str, title: str, width: int) -> dict[str, Any]:
    return {"field": field, "headerName": title, "tooltipField": field, "width": width}


def _attribute_column(a: Attribute) -> dict[str, Any]:
    title = a.title
    column = {"field": a.name, "headerName": title} if a.categories else _number(a.name, title)
    # The grid fetches its rows too late to measure them.
    longest = max(len(title) + 4, *(_length(a, word) for word in a.categories or ("",)))
    return {**column, "width": min(36 + 8 * longest, _WIDEST_PX)}


def _length(a: Attribute, word: str) -> int:
    return len(word) + len(a.meaning(word))


def _number(field: str, title: str) -> dict[str, Any]:
    return {
        "field": field,
        "headerName": title,
        "type": "rightAligned",
        "filter": "agNumberColumnFilter",
    }


def _percent(field: str, title: str, form: str) -> dict[str, Any]:
    shown = f"params.value == null ? '' : d3.format('{form}')(params.value)"
    return {
        **_number(field, title),
        "valueFormatter": {"function": shown},
        "filterParams": {"filterPlaceholder": "in percent"},
    }
