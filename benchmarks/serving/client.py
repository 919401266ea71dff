"""One client over HTTP, and the memory of the servers at rest.

Ours, `mlflow models serve` with the same registered model, and a scikit-learn pipeline behind
FastAPI, with two workers each, get requests in turn from the same client (`load.py`): on some open
connections, on each one row of JSON after the other. Ours has each decision in its log, on disk,
before it answers; the peers log nothing. The floor is ours' server with an application that returns
what it was sent.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from benchmarks.clients import FEW_TREES, one_client
from benchmarks.harness import OURS, Line, alternate, lines_of
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import (
    echo_serving,
    memory,
    mlflow_serving,
    pipeline_serving,
    riskometer,
)
from benchmarks.serving.load import Load, asking

SCORE, REASONS = "/api/v1/score", "/api/v1/score?reasons=true"
MLFLOW, PIPELINE, ECHO = "mlflow models serve", "FastAPI, scikit-learn", "echo, same server"


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of one client that is asked about again and again."""
    place.scorer(FEW_TREES)
    row, folder = one_client(), place.folder("client")
    body = json.dumps(row).encode()
    framed = json.dumps({"dataframe_records": row}).encode()

    with ExitStack() as stack:
        ours = stack.enter_context(riskometer(folder / "strict", place.registry, FEW_TREES))
        mlflow = stack.enter_context(mlflow_serving(folder, place.registry, FEW_TREES))
        pipeline = stack.enter_context(pipeline_serving(folder))
        echo = stack.enter_context(echo_serving(folder))

        sides = {OURS: ours.process, MLFLOW: mlflow.process, PIPELINE: pipeline.process}
        used = {name: [memory(process) / 1e6] for name, process in sides.items()}
        yield from lines_of("memory at rest, 2 workers", "MB", used)

        urls = {
            OURS: (ours.url + SCORE, body),
            MLFLOW: (mlflow.url, framed),
            PIPELINE: (pipeline.url, body),
            ECHO: (echo.url, body),
        }
        for n in sizes.connections:
            asked = {
                side: asking(url, sent, sizes.seconds, n) for side, (url, sent) in urls.items()
            }
            taken = alternate(asked, sizes.rounds)
            what = f"one client, {n} connection{'s' if n > 1 else ''}"
            yield from rates(what, taken)
            yield from lines_of(f"{what}, 99 % within", "ms", _slowest(taken), (ECHO,))

        if sizes.name == "quick":
            return
        urls[OURS] = (ours.url + REASONS, body)
        asked = {side: asking(url, sent, sizes.seconds) for side, (url, sent) in urls.items()}
        yield from rates("one client, 1 connection, with reasons", alternate(asked, sizes.rounds))


def rates(what: str, taken: Mapping[str, list[Load]]) -> Iterator[Line]:
    """Yield the lines of how many requests a second were answered."""
    found = {side: [load.per_second for load in loads] for side, loads in taken.items()}
    yield from lines_of(what, "/s", found, [ECHO] if ECHO in found else [])


def _slowest(taken: Mapping[str, list[Load]]) -> dict[str, list[float]]:
    return {side: [load.p99 * 1e3 for load in loads] for side, loads in taken.items()}
