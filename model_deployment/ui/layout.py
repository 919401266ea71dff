"""The page before anything is asked of it: header, views, and the places of their results."""

from typing import Any

from dash import dcc, html

from credit_risk.access.caller import Caller
from credit_risk.access.roles import Permission
from credit_risk.schema.attributes import CLIENT_ID, Attribute, Labels
from credit_risk.schema.dataset import Dataset
from credit_risk.texts import one_line
from model_deployment.http.problem import size_text
from model_deployment.ui import form, history
from model_deployment.ui.offered import SAMPLE, TEMPLATE
from model_deployment.ui.result import range_text
from model_deployment.ui.wording import in_words, optional

_BANNER_MS = 5_000

# The views, one address each; the script shows the one in the address. All are on one level, so
# that addresses can be relative and the page also works behind a proxy's prefix.
_VIEWS: tuple[tuple[str, str, Permission], ...] = (
    ("", "Files", "read"),
    ("client", "One client", "score"),
    ("history", "History", "read"),
)
_STORES = ("view", "shown", "open", "overridden")


def layout(
    limit: int, dataset: Dataset, labels: Labels, caller: Caller, *, sample: bool = False
) -> Any:
    """Return the page, with what a caller may do.

    A component that is left out has no callback that would be refused.

    Parameters
    ----------
    limit : int
        Most bytes of a file.
    dataset : Dataset
        What an application is.
    labels : str
        What people read of a recorded value first.
    caller : Caller
    sample : bool
        Whether there is a file of clients to try.
    """
    clock = dcc.Interval(id="clock", interval=_BANNER_MS)
    if not caller.rights.may("read"):
        nothing = html.P("Decisions are read and taken by other roles than yours.")
        return html.Div([_header(caller), html.Main(nothing), clock])
    return html.Div(
        [
            _header(caller),
            _main(limit, dataset, labels, caller, sample=sample),
            dcc.Location(id="where", refresh=False),
            *[dcc.Store(id=id) for id in _STORES],
            clock,
        ]
    )


def _header(caller: Caller) -> Any:
    slogan = html.P("Credit decisions, green or red")
    links = [
        dcc.Link(title, href=f"./{path}", id=f"to-{path or 'files'}")
        for path, title, permission in _VIEWS
        if caller.rights.may(permission)
    ]
    return html.Header(
        [
            html.Img(src="assets/logo.svg", alt="", className="logo"),
            html.Div([html.H1("Risk-O-Meter"), slogan, *_who(caller)], className="brand"),
            html.Nav(links, **{"aria-label": "Views"}),
            html.P(id="away", role="alert"),
            html.Div(id="banner", role="status"),
        ]
    )


def _who(caller: Caller) -> list[Any]:
    """Return who is signed in, with their roles."""
    if not caller.name:
        return []
    return [html.P(f"{one_line(caller.name)} ({', '.join(caller.rights.roles)})", id="who")]


def _main(limit: int, dataset: Dataset, labels: Labels, caller: Caller, *, sample: bool) -> Any:
    can_score = caller.rights.may("score")
    client = html.Section(
        form.layout(dataset, labels), id="view-client", className="card", hidden=True
    )
    found = history.layout(all_branches=caller.rights.scope == "all")
    drop = _drop(limit, dataset, sample=sample) if can_score else []
    return html.Main(
        [
            html.Div([*drop, *_results()], id="view-files"),
            *([client] if can_score else []),
            html.Section(found, id="view-history", className="card", hidden=True),
            html.P(id="spoken", role="status", className="spoken"),
            html.Section(id="panel", **{"aria-label": "Decision"}),
        ]
    )


def _drop(limit: int, dataset: Dataset, *, sample: bool) -> list[Any]:
    formats = f"CSV, Excel or Parquet, one client a row, up to {size_text(limit)} a file."
    links = [html.A("Empty template", href=TEMPLATE[1:], download="template.csv")]
    if sample:
        file = html.A("Sample file", href=SAMPLE[1:], download="sample.csv")
        links += [" · ", file, " of some clients to try"]
    return [
        html.Section(
            [
                html.H2("Drop a file of clients here", tabIndex=-1),
                html.Button("Choose files", id="choose", type="button", className="primary"),
                html.P(formats),
                html.P(links),
                _columns_help(dataset),
            ],
            id="drop",
            **{"data-limit": str(limit), "aria-label": "Upload"},
        ),
    ]


def _results() -> list[Any]:
    return [
        html.Div(id="transfers", role="log", **{"aria-label": "Uploads under way"}),
        html.Div(id="files", className="files", role="radiogroup", **{"aria-label": "Results"}),
        html.Section(id="result", **{"aria-label": "Result"}),
    ]


def _columns_help(dataset: Dataset) -> Any:
    rows = [_column_help(attribute) for attribute in dataset.attributes]
    client_id = html.Th(html.Code(CLIENT_ID), scope="row")
    rows.append(html.Tr([client_id, html.Td("your name for the client"), "optional"]))

    table = html.Div(
        html.Table(html.Tbody(rows)),
        className="scroll",
        tabIndex=0,
        role="region",
        **{"aria-label": "Columns"},
    )
    return html.Details([html.Summary("Which columns?"), table])


def _column_help(a: Attribute) -> Any:
    words = range_text(a.minimum, a.maximum, a.unit)
    if a.categories:
        words = ", ".join(in_words(a, word, "file") for word in a.categories)
    return html.Tr(
        [
            html.Th(html.Code(a.name), scope="row"),
            html.Td(words),
            html.Td(optional(a)),
        ]
    )
