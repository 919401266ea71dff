"""One client over HTTP with other logs: on disk a little later, and over MongoDB's protocol.

MongoDB itself is not measured: FerretDB, on SQLite, and mongo-java-server, in memory, speak its
protocol where they are installed.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from benchmarks.clients import FEW_TREES, one_client
from benchmarks.harness import OURS, Line, alternate
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import JAVA_OLDEST, ferretdb, mlflow_serving, mongo_java, riskometer
from benchmarks.serving.client import MLFLOW, SCORE, rates
from benchmarks.serving.load import asking

SOON = "one client, 1 connection, on disk within 100 ms"


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of each log."""
    place.scorer(FEW_TREES)
    folder = place.folder("logs")
    with ExitStack() as stack:
        peer = stack.enter_context(mlflow_serving(folder, place.registry, FEW_TREES))

        def beside(what: str, **log: Any) -> Iterator[Line]:
            body = json.dumps(one_client()).encode()
            framed = json.dumps({"dataframe_records": one_client()}).encode()
            state = folder / what
            with riskometer(state, place.registry, FEW_TREES, **log) as server:
                asked = {
                    OURS: asking(server.url + SCORE, body, sizes.seconds),
                    MLFLOW: asking(peer.url, framed, sizes.seconds),
                }
                taken = alternate(asked, sizes.rounds)
                if server.n_batches() < sum(len(load.seconds) for load in taken[OURS]):
                    raise RuntimeError("decisions are missing in the log")
                yield from rates(what, taken)

        yield from beside(SOON, flush_ms=100)

        found: tuple[tuple[str, str, AbstractContextManager[str | None], dict[str, int]], ...] = (
            ("FerretDB", "ferretdb", ferretdb(folder), {}),
            ("mongo-java-server", "mongo-java-server", mongo_java(folder), {"oldest": JAVA_OLDEST}),
        )
        for name, program, start, accepted in found:
            what = f"one client, 1 connection, log on {name}"
            with start as address:
                if address is None:
                    yield Line(what, left_out=f"there is no {program} here")
                else:
                    yield from beside(what, decision_log=address, **accepted)
