"""The slowest answer of the Risk-O-Meter about a big log: history, single decisions, readiness.

Each question is asked over HTTP: the page's search by its callback, a decision by the API, the
probe. How the log is made, and how long each search takes without HTTP, is in
`python -m benchmarks.history`.
"""

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.clients import DATASET, FEW_TREES
from benchmarks.harness import Line, seconds_of
from benchmarks.history import SHAPES, fill_files, fill_small
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import Riskometer, environment_of, riskometer
from credit_risk.decision_log import history
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.registry import Registry
from credit_risk.storage.folder import Folder
from credit_risk.storage.sqlite import SqliteDocuments

_CALLBACK = "found.children"
_FIELDS = ("find-text", "find-since", "find-until", "find-branch")


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield a line for few big files in the log, and one for many small ones."""
    place.scorer(FEW_TREES)
    digest = Registry(place.registry, FEW_TREES).version("1").digest
    n = sizes.logged
    for in_a_file, in_a_batch in SHAPES:
        rows = min(n - n // 10, in_a_file)
        folder = place.folder(f"history-{in_a_file}")
        log = _log(environment_of(folder, place.registry, FEW_TREES))
        fill_small(log, n // 10, in_a_batch, digest)
        fill_files(log, n - n // 10, rows, digest)

        with riskometer(folder, place.registry, FEW_TREES) as server:
            taken = {
                what: tuple(seconds_of(ask)() for _ in range(sizes.long_rounds))
                for what, ask in _questions(server).items()
            }
        slowest = max(taken, key=lambda what: max(taken[what]))
        scenario = f"slowest answer about {n:,} decisions, in files of {rows:,}"
        yield Line(scenario, "s", taken[slowest], note=slowest)


def _log(environment: dict[str, str]) -> DecisionLog:
    path = Path(environment["DECISION_LOG"].removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True)
    documents = SqliteDocuments(path, flush_seconds=1)
    return DecisionLog(documents, Folder(Path(environment["BUCKET"])), DATASET)


def _questions(server: Riskometer) -> dict[str, Callable[[], bytes]]:
    def search(text: str) -> Callable[[], bytes]:
        return lambda: _ask(server, "/_dash-update-component", _search(text))

    def decision(client: str) -> Callable[[], bytes]:
        (found, *_) = history.search(server.log, client).decisions
        return lambda: _ask(server, f"/api/v1/decisions/{found['id']}")

    return {
        "the newest files": search(""),
        "a file by its name": search("portfolio-0"),
        "a name that no file has": search("no such file"),
        "a client of every file": search("p0000007"),
        "a client of a small batch": search("s0000007"),
        "a score in a file": decision("p0000007"),
        "a decision in a small batch": decision("s0000007"),
        "readiness": lambda: _ask(server, "/readyz"),
    }


def _search(text: str) -> bytes:
    """Return what the page sends when somebody searches the history."""
    inputs = (("find", "n_clicks", 1), ("view", "data", "history"), ("find-text", "n_submit", 1))
    asked = {
        "output": _CALLBACK,
        "outputs": {"id": "found", "property": "children"},
        "inputs": [{"id": id, "property": name, "value": value} for id, name, value in inputs],
        "state": [
            {"id": id, "property": "value", "value": text if id == "find-text" else None}
            for id in _FIELDS
        ],
        "changedPropIds": ["find.n_clicks"],
    }
    return json.dumps(asked).encode()


def _ask(server: Riskometer, path: str, body: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, body, headers)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        content: bytes = answer.read()
    return content
