"""From an approval until the approved version decides, under requests, none of which may fail.

Each worker of the Risk-O-Meter looks for an approval every `MODEL_POLL_SECONDS`, 10 unless set.
`mlflow models serve` cannot change its model: it is stopped and started again.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from benchmarks.clients import FEW_TREES, one_client
from benchmarks.harness import OURS, Line, alternate, lines_of, seconds_of
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import PATIENCE, Riskometer, mlflow_serving, registered, riskometer
from benchmarks.serving.client import MLFLOW, SCORE
from credit_risk.registry.approval_log import note_registered
from credit_risk.registry.approvals import approve
from credit_risk.registry.registry import Registry

NAME = "swap"
# So many answers in a row have to be the new version's: there are two workers.
IN_A_ROW = 40


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the line of a swap."""
    folder, scorer = place.folder("swap"), place.scorer(FEW_TREES)
    registered(place.registry, NAME, scorer)
    registered(place.registry, NAME, scorer)
    registry = Registry(place.registry, NAME)

    with riskometer(folder / "ours", place.registry, NAME) as server:
        newest, older = registry.versions()
        note_registered(server.log, older)
        turns = cycle([older.number, newest.number])

        def swap() -> None:
            version = next(turns)
            approve(registry, server.log, version, "benchmark", "to be measured")
            _await_version(server, version)

        sides = {OURS: seconds_of(swap), f"{MLFLOW}, restarted": lambda: _start(folder, place)}
        taken = alternate(sides, sizes.long_rounds)
    yield from lines_of("another version decides after its approval", "s", taken)


def _await_version(server: Riskometer, version: str) -> None:
    """Send requests until the version answers each of them; any error is raised."""
    body, end, row = json.dumps(one_client()).encode(), time.monotonic() + PATIENCE, 0
    while row < IN_A_ROW:
        if time.monotonic() > end:
            raise RuntimeError(f"version {version} does not decide")
        request = urllib.request.Request(  # noqa: S310 - our own address
            server.url + SCORE, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            row = row + 1 if json.load(answer)["model_version"] == version else 0


def _start(folder: Path, place: Place) -> float:
    """Return how long `mlflow models serve` takes to start."""
    began = time.perf_counter()
    with mlflow_serving(folder, place.registry, FEW_TREES):
        return time.perf_counter() - began
