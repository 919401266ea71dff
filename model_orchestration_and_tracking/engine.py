"""Where a search or an evaluation runs: on the processors of this machine, or on a Dask cluster.

joblib distributes the work in either case, and the figures are the same: each piece has a seed of
its own and runs on one thread, and the results come in the order of the pieces.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from credit_risk.dask_cluster import connected

Data = TypeVar("Data")
Piece = TypeVar("Piece")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Engine:
    """What work is distributed to, piece by piece.

    Attributes
    ----------
    scheduler : str
        Address of a Dask scheduler; empty: this machine.
    jobs : int
        Number of processes on this machine; with 1, everything runs in this one.
    """

    scheduler: str = ""
    jobs: int = 1

    def each(
        self, work: Callable[[Data, Piece], Result], data: Data, pieces: Sequence[Piece]
    ) -> Iterator[Result]:
        """Yield `work(data, piece)` for each piece, in their order, as they are done.

        Parameters
        ----------
        work : callable
            What can be pickled. On a cluster it may run more than once for a piece, where a worker
            is lost.
        data : object
            What all pieces need; it is sent to each worker once.

        Raises
        ------
        ClusterFailed
            When no scheduler or no worker answers within 10 seconds, the scheduler is lost, or
            workers die again and again.
        """
        if self.scheduler:
            yield from _on_cluster(self.scheduler, work, data, pieces)
            return

        with parallel_config("loky", n_jobs=self.jobs):
            parallel = Parallel(return_as="generator", batch_size=1)
        yield from parallel(delayed(_alone)((work, data, piece)) for piece in pieces)


# As a function does: without a cluster, in this process.
IN_PROCESS = Engine()


def processes(n: int, worth: int = 1) -> int:
    """Return the number of processes for `n` pieces, of which each process is `worth` it."""
    return max(1, min(int(cpu_count()), n // worth))


def _alone(task: tuple[Callable[[Data, Piece], Result], Data, Piece]) -> Result:
    """Do a piece of work on one thread: with more they wait for each other, and round otherwise."""
    work, data, piece = task
    # Without this, joblib would send what scikit-learn does with `n_jobs=1` to the cluster, too.
    with parallel_config("sequential"), threadpool_limits(1):
        return work(data, piece)


def _on_cluster(
    address: str, work: Callable[[Data, Piece], Result], data: Data, pieces: Sequence[Piece]
) -> Iterator[Result]:
    with connected(address) as client:
        # The result of a task, which is computed anew where the worker that has it is lost. Data
        # that joblib scatters would be gone, and so would the work.
        shared = client.submit(_same, data, pure=False)
        with parallel_config(_backend()(client=client)):
            # All are handed over at once, so that workers that come later get some.
            parallel = Parallel(return_as="generator", batch_size=1, pre_dispatch="all")
        # In a tuple, because joblib scatters large arguments.
        yield from parallel(delayed(_alone)((work, shared, piece)) for piece in pieces)


def _same(data: Data) -> Data:
    return data


def _backend() -> Any:
    """Return joblib's backend for Dask, mended.

    joblib 1.6 waits for ever for a task that the cluster gives up itself: one that cannot be
    unpickled there, or whose workers died several times.
    """
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc]
        def submit(self, func: object, callback: Callable[[object], object]) -> Future[object]:
            def given_up(done: Future[object]) -> None:
                if done.exception():
                    callback(done)

            future: Future[object] = super().submit(func, callback)
            future.add_done_callback(given_up)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            return super().retrieve_result_callback(
                out.result() if isinstance(out, Future) else out
            )

    return Backend
