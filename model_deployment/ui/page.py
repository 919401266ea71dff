"""The page: a clerk drops a file of clients and reads green or red.

The drop zone is plain script (assets/riskometer.js): it posts each file to `/api/v1/files`, as an
integrator does, and passes the answer to Dash. Dash reads the decisions from the decision log, so
that the page shows what is stored, and nothing else.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from dash import ClientsideFunction, Dash, Input, Output, State, no_update
from flask import Flask

from credit_risk.access.roles import Permission
from credit_risk.decision_log.batch import PREVIEWS_KEPT
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import NoSuchDecision, NotAllowed, override
from credit_risk.storage.documents import LogUnavailable
from model_deployment.http.asking import asking, note, own, user
from model_deployment.scoring.live_model import LiveModel
from model_deployment.scoring.service import Scoring
from model_deployment.ui import form, history
from model_deployment.ui.banner import banner
from model_deployment.ui.callbacks import PATH, Callbacks, guard
from model_deployment.ui.decision_detail import panel
from model_deployment.ui.grid_query import Rows
from model_deployment.ui.layout import layout
from model_deployment.ui.offered import SAMPLE, TEMPLATE, offer
from model_deployment.ui.result import logged, result

# What the addresses of the views other than the root take.
_VIEWS: dict[str, Permission] = {"/client": "score", "/history": "read", "/decision": "read"}
# What each address of the page takes. Whoever has a role sees which model serves; each callback
# takes a permission of its own. What Dash has for developers is not listed, so nobody gets in.
PERMISSIONS: dict[str, Permission] = {
    "/": "model",
    **_VIEWS,
    PATH: "model",
    "/_dash-layout": "model",
    "/_dash-dependencies": "model",
    "/_dash-component-suites/<string:package_name>/<path:fingerprinted_path>": "model",
    "/assets/<path:filename>": "model",
    TEMPLATE: "model",
    SAMPLE: "model",
}

# Files come in by the `input`, outside of what React renders: the script empties it after each
# choice, so that the same file can be chosen again.
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


class _Page(Dash):  # type: ignore[misc]
    """Dash without its catch-all route, so that an unknown address is a 404."""

    def _add_url(self, name: str, *rest: Any, **more: Any) -> None:
        if name != "<path:path>":
            super()._add_url(name, *rest, **more)


def attach(
    app: Flask, production: LiveModel, log: DecisionLog, scoring: Scoring, sample: bytes = b""
) -> str:
    """Put the page at the root of an app. `sample` is a file of clients that it offers to try.

    Returns
    -------
    str
        The Content-Security-Policy that the page can live with.
    """
    dash = _Page(
        app.import_name,  # its folder holds the assets
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
    limit = app.config["MAX_CONTENT_LENGTH"]
    dash.layout = lambda: layout(
        limit, production.dataset, production.labels, asking(), sample=bool(sample)
    )
    offer(app, production, sample)
    for path in _VIEWS:
        app.add_url_rule(path, f"page-{path.removeprefix('/')}", dash.index)

    page = Callbacks(dash)
    _show_files(page, production, log)
    _show_decisions(page, production, log)
    _show_overrides(page, production, log)
    _show_form(page, production, log, scoring)
    _show_history(page, log)
    _show_views(page, production)
    guard(app, page)

    # A process learns which scripts it may hand out when it writes the page; here another one may
    # have written it.
    with app.test_request_context():
        dash.index()
    return _policy(dash)


def _policy(dash: Dash) -> str:
    scripts = " ".join(dash.csp_hashes())
    directives = (
        "default-src 'self'",
        f"script-src 'self' {scripts}",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return "; ".join(directives)


def _show_files(page: Callbacks, production: LiveModel, log: DecisionLog) -> None:
    rows = Rows(log, production.labels)

    @page.add(
        "read",
        Output("shown", "data"),
        Input("where", "search"),
    )
    def show_logged(search: str | None) -> Any:
        id = _asked(search, "batch")
        if not id:
            return no_update

        note("batch", id)
        try:
            record = own(log).batch(id)
        except LogUnavailable:
            away = "The decision log cannot be reached. Open this address again in a moment."
            return {"trouble": away}
        if record is None:
            return {"trouble": "This file is not in the decision log."}
        if record.kind == "preview" and datetime.now(UTC) - record.time > PREVIEWS_KEPT:
            return {"trouble": "This was a preview, which is kept for a day."}
        return logged(record)

    @page.add(
        "read", Output("result", "children"), Input("shown", "data"), prevent_initial_call=True
    )
    def show_result(upload: dict[str, Any] | None) -> Any:
        if not upload:
            return []

        note("batch", str((upload.get("answer") or {}).get("batch")))
        serving = production.serving
        return result(own(log), rows, upload, serving.version if serving else None)

    @page.add(
        "read",
        Output("decisions", "getRowsResponse"),
        Input("decisions", "getRowsRequest"),
        prevent_initial_call=True,
    )
    def show_rows(asked: dict[str, Any] | None) -> Any:
        id = str((asked or {}).get("context", {}).get("batch"))
        note("rows", id)
        record = own(log).batch(id)
        if asked is None or record is None:
            return no_update

        try:
            found, n = rows.page(record, asked)
        except (LookupError, TypeError, ValueError):  # not a request of our table
            return no_update
        return {"rowData": found, "rowCount": n}


def _show_decisions(page: Callbacks, production: LiveModel, log: DecisionLog) -> None:
    @page.add(
        "read",
        Output("open", "data"),
        Input("decisions", "selectedRows"),
        prevent_initial_call=True,
    )
    def open_row(chosen: list[dict[str, Any]] | None) -> Any:
        return str(chosen[0]["id"]) if chosen else None

    @page.add(
        "read",
        Output("open", "data", allow_duplicate=True),
        Input("where", "search"),
        Input("where", "pathname"),
        prevent_initial_call="initial_duplicate",
    )
    def open_asked(search: str | None, pathname: str | None) -> Any:
        return _asked(search, "id") if (pathname or "").endswith("/decision") else None

    @page.add("read", Output("panel", "children"), Input("open", "data"), prevent_initial_call=True)
    def show_panel(id: str | None) -> Any:
        if not id:
            return []
        note("decision", str(id))
        can_override = asking().rights.may("override")
        return panel(own(log), production, str(id), user(), can_override=can_override)

    page.dash.clientside_callback(
        ClientsideFunction("riskometer", "enter"),
        Output("panel", "title"),
        Input("panel", "children"),
        prevent_initial_call=True,
    )


def _show_overrides(page: Callbacks, production: LiveModel, log: DecisionLog) -> None:
    @page.add(
        "override",
        Output("panel", "children", allow_duplicate=True),
        Output("overridden", "data"),
        Input("override-set", "n_clicks"),
        State("override-set", "value"),
        State("override-by", "value"),
        State("override-reason", "value"),
        State("open", "data"),
        prevent_initial_call=True,
    )
    def set_override(
        clicks: int | None, to: str, by: str | None, reason: str | None, id: str | None
    ) -> Any:
        if not clicks or not id:
            return no_update, no_update

        mine, who = own(log), user()
        note("override", id, 422)
        try:
            event = override(mine, id, to, who or by or "", reason or "", str(asking()))
        except (NotAllowed, NoSuchDecision) as error:
            return panel(mine, production, id, who, f"{error}."), no_update
        except LogUnavailable:
            away = "The decision log cannot be reached; nothing was set."
            return panel(mine, production, id, who, away), no_update

        note("override", id, 201)
        return panel(mine, production, id, who), event["_id"]

    page.dash.clientside_callback(
        ClientsideFunction("riskometer", "refresh"),
        Output("spoken", "children"),
        Input("overridden", "data"),
        prevent_initial_call=True,
    )


def _show_form(page: Callbacks, production: LiveModel, log: DecisionLog, scoring: Scoring) -> None:
    @page.add(
        "score",
        Output("judged", "children"),
        Output("take", "disabled"),
        Input("application", "data"),
        prevent_initial_call=True,
    )
    def judge(asked: dict[str, Any] | None) -> Any:
        if not asked:
            return [], True

        application = {str(name): value for name, value in asked["application"].items()}
        if not asked["take"]:
            return form.preview(scoring, production, application)

        note("take", status=422)
        key = str(asked["key"])
        parts, off, id = form.take(scoring, production, log, application, key, asking())
        note("take", id, 201 if id else 422)
        return parts, off


def _show_history(page: Callbacks, log: DecisionLog) -> None:
    @page.add(
        "read",
        Output("found", "children"),
        Input("find", "n_clicks"),
        Input("view", "data"),
        Input("find-text", "n_submit"),
        State("find-text", "value"),
        State("find-since", "value"),
        State("find-until", "value"),
        State("find-branch", "value"),
    )
    def find(
        _: int,
        view: str,
        __: int,
        text: str | None,
        since: str | None,
        until: str | None,
        branch: str | None,
    ) -> Any:
        if view != "history":
            return no_update
        note("history")
        return history.found(own(log, _name(branch)), text or "", since, until, None)

    @page.add(
        "read",
        Output("found", "children", allow_duplicate=True),
        Input("older", "n_clicks"),
        State("older", "value"),
        State("find-text", "value"),
        State("find-since", "value"),
        State("find-until", "value"),
        State("find-branch", "value"),
        prevent_initial_call=True,
    )
    def older(
        clicks: int | None,
        before: str,
        text: str | None,
        since: str | None,
        until: str | None,
        branch: str | None,
    ) -> Any:
        if not clicks:
            return no_update
        note("history")
        return history.found(own(log, _name(branch)), text or "", since, until, str(before))


def _name(branch: object) -> str | None:
    """Return the branch that was typed; what else a caller may send is no branch."""
    return (branch.strip() or None) if isinstance(branch, str) else None


def _show_views(page: Callbacks, production: LiveModel) -> None:
    @page.add("model", Output("banner", "children"), Input("clock", "n_intervals"))
    def show_banner(_: int) -> Any:
        return banner(production)

    page.dash.clientside_callback(
        ClientsideFunction("riskometer", "watch"),
        Output("away", "children"),
        Input("clock", "n_intervals"),
        prevent_initial_call=True,
    )
    # The script shows the view.
    page.dash.clientside_callback(
        ClientsideFunction("riskometer", "show"),
        Output("view", "data"),
        Input("where", "pathname"),
        Input("where", "search"),
    )


def _asked(search: str | None, name: str) -> str | None:
    """Return a value of an address's query: `?name=...`."""
    return parse_qs((search or "").removeprefix("?")).get(name, [None])[0]
