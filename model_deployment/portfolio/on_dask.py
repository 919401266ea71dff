"""Scores the parts of a run on the workers of a Dask cluster."""

from collections.abc import Iterator, Sequence

from distributed import Future, KilledWorker, as_completed

from credit_risk.dask_cluster import ClusterFailed, connected
from model_deployment.portfolio.engine import Outcome, outcome, score
from model_deployment.portfolio.errors import NotScored
from model_deployment.portfolio.part import Figures
from model_deployment.portfolio.plan import Run
from model_deployment.portfolio.source import Part


def on_dask(run: Run, parts: Sequence[Part], address: str) -> Iterator[Outcome]:
    """Score parts on the workers of a Dask cluster, in the order in which they are done.

    A part whose worker dies is given to another one. Workers have the settings of their own
    environment.

    Raises
    ------
    NotScored
        When the scheduler cannot be reached, or is lost.
    """
    try:
        with connected(address) as client:
            futures = {
                client.submit(score, run, part, key=run.key(part), pure=False): part
                for part in parts
            }
            for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
                yield _outcome(futures[future], future)
                future.release()  # so that the scheduler forgets it
    except ClusterFailed as error:
        raise NotScored(f"{error}: the same command goes on with the run") from None


def _outcome(part: Part, future: "Future[Figures]") -> Outcome:
    try:
        return outcome(part, future.result)
    except KilledWorker:
        return Outcome(part, None, f"{part.name}: each worker that took it died; is memory short?")
