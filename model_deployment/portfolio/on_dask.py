"""Scores the parts of a run on the workers of a Dask cluster."""

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager

from distributed import Client, Future, KilledWorker, as_completed

from model_deployment.portfolio.engine import Outcome, outcome, score
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.part import Figures
from model_deployment.portfolio.plan import Run
from model_deployment.portfolio.source import Part

CONNECT_SECONDS = 10


def on_dask(run: Run, parts: Sequence[Part], address: str) -> Iterator[Outcome]:
    """Score parts on the workers of a Dask cluster, in the order in which they are done.

    A part whose worker dies is given to another one. Workers have the settings of their own
    environment.

    Raises
    ------
    NotScored
        When the scheduler cannot be reached, or is lost.
    """
    with _client(address) as client:
        futures = {
            client.submit(score, run, part, key=run.key(part), pure=False): part for part in parts
        }
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            try:
                yield _outcome(futures[future], future)
            except CancelledError:
                raise NotScored(
                    f"the Dask scheduler at {address} was lost: start the same command again"
                ) from None
            future.release()  # so that the scheduler forgets it


@contextmanager
def _client(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise NotScored(f"there is no Dask scheduler at {address} (DASK_SCHEDULER)") from error
    with client:
        yield client


def _outcome(part: Part, future: "Future[Figures]") -> Outcome:
    try:
        return outcome(part, future.result)
    except KilledWorker:
        return Outcome(part, None, f"{part.name}: each worker that took it died; is memory short?")
