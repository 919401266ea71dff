"""A writer that is killed, or loses its storage, between any two steps leaves a log that is whole.

The first test begins a process that commits, and kills it before its first call to the storage,
then one before its second, and so on, until one is not killed any more. After each kill, readers
see the batches that were answered and no others but the one that was in flight; a retry with the
same idempotency key finds that one, or commits it; and the log verifies. In the second test the
storage fails at such a step, before or after it did what it was asked, and the writer goes on.
"""

import multiprocessing
import os
import signal
from datetime import timedelta

import pytest

from credit_risk.decision_log.batch import AlreadyCommitted
from credit_risk.decision_log.chains.position import START
from credit_risk.decision_log.log import open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.storage.documents import LogUnavailable
from tests.support.batches import IN_AN_HOUR, batch
from tests.support.cases import slow
from tests.support.german_credit import DecisionLog

# More calls than any commit makes.
MOST = 40

# Which forms there are does not depend on the store, and two of the six cases are enough at first.
STORES, SERVERS = "sqlite + folder", "mongodb + bucket"
EACH_FORM = pytest.mark.parametrize(
    ("stores", "form"),
    [
        (STORES, "inline"),
        (STORES, "parquet"),
        *slow((STORES, "documents")),
        *slow(*((SERVERS, form) for form in ("inline", "documents", "parquet"))),
    ],
    indirect=True,
)


class DeadlyCalls:
    """Passes calls on to a storage, and kills the process before one of them.

    Parameters
    ----------
    storage : Documents or Blobs
    left : list of int
        How many more calls are passed on, shared by all storages of the process.
    """

    def __init__(self, storage, left):
        self._storage = storage
        self._left = left

    def __getattr__(self, name):
        value = getattr(self._storage, name)
        if not callable(value):
            return value

        def call(*arguments, **options):
            if self._left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left[0] -= 1
            return value(*arguments, **options)

        return call


def commit_until_killed(settings, n_calls, time, answers):
    """Commit two batches and an event, and send the id of each batch that was answered."""
    log, left = open_log(settings), [n_calls]
    storage = log.storage
    deadly = DecisionLog(DeadlyCalls(storage.documents, left), DeadlyCalls(storage.blobs, left))
    for key in ("first", "second"):
        answers.send(deadly.commit(batch(2, idempotency_key=key, time=time)).id)
    deadly.append_event("override", "x-1", by="Ann")
    answers.send("done")


def killed_after(settings, n_calls, time) -> list[str]:
    """Return what a process said that was killed after some calls; "done" if it was not killed."""
    received, sent = multiprocessing.Pipe(duplex=False)
    fork = multiprocessing.get_context("fork")
    writer = fork.Process(target=commit_until_killed, args=(settings, n_calls, time, sent))
    writer.start()
    sent.close()
    writer.join(30)
    assert writer.exitcode in (0, -signal.SIGKILL)
    answers = []
    try:
        while True:
            answers.append(received.recv())
    except EOFError:
        return answers


def retried(log, key, time) -> str:
    try:
        return log.commit(batch(2, idempotency_key=key, time=time)).id
    except AlreadyCommitted as error:
        return error.record.id


@EACH_FORM
def test_nothing_answered_is_lost_and_nothing_is_there_twice(stores, form, tmp_path):
    began = batch(1).time
    for n_calls in range(MOST):
        # A log of its own for each, with something in it, and a clock that jumps back and forth.
        settings = stores.model_copy(update={"decision_log": f"{stores.decision_log}{n_calls}"})
        log = open_log(settings)
        earlier = log.commit(batch(1, time=began))
        seen = START.past(log.batches())
        time = began + timedelta(hours=(-1) ** n_calls)

        answers = killed_after(settings, n_calls, time)
        answered = [id for id in answers if id != "done"]
        there = [record.id for record in log.batches(after=seen)]
        assert set(answered) <= set(there)
        assert len(there) <= len(answered) + 1, "only the one in flight may be there as well"
        seen = seen.past(log.batches())

        ids = [retried(log, key, time) for key in ("first", "second")]
        assert ids[: len(answered)] == answered
        assert [r.id for r in log.batches(after=seen)] == [id for id in ids if id not in there]
        assert {r.id for r in log.batches()} == {earlier.id, *ids}
        assert log.read(*log.batches()).num_rows == 5

        for _ in range(2):
            log.sweep(IN_AN_HOUR)
        found = verify(log)
        assert (found.batches, found.decisions) == (3, 5)
        assert {r.id for r in open_log(settings).batches()} == {earlier.id, *ids}
        if answers[-1:] == ["done"]:
            return
    raise AssertionError(f"a commit made more than {MOST} calls")


class FailingCalls(DeadlyCalls):
    """Passes calls on to a storage, and fails at one: before it is done, or when it is done.

    Parameters
    ----------
    storage : Documents or Blobs
    left : list of int
        How many more calls go well.
    done : bool
        Whether the call that fails has been carried out: its answer was lost.
    """

    def __init__(self, storage, left, done):
        super().__init__(storage, left)
        self._done = done

    def __getattr__(self, name):
        value = getattr(self._storage, name)
        if not callable(value):
            return value

        def call(*arguments, **options):
            self._left[0] -= 1
            if self._left[0] == -1:
                if self._done and name != "together":
                    value(*arguments, **options)
                raise LogUnavailable("the storage is away, or its disk is full")
            return value(*arguments, **options)

        return call


@EACH_FORM
@pytest.mark.parametrize("done", [False, True], ids=["request lost", "answer lost"])
def test_a_storage_that_fails_at_any_step_loses_nothing_and_is_used_again(stores, form, done):
    for n_calls in range(MOST):
        settings = stores.model_copy(update={"decision_log": f"{stores.decision_log}{n_calls}"})
        left = [10**6]
        storage = open_log(settings).storage
        log = DecisionLog(
            FailingCalls(storage.documents, left, done), FailingCalls(storage.blobs, left, done)
        )
        first = log.commit(batch(2))  # its chain is used again
        left[0] = n_calls

        answered = []
        for key in ("one", "two"):
            try:
                answered.append(log.commit(batch(2, idempotency_key=key)).id)
            except LogUnavailable:
                answered.append(retried(log, key, first.time))
        failed = left[0] < 0
        left[0] = 10**6

        assert {record.id for record in log.batches()} == {first.id, *answered}
        for _ in range(2):
            log.sweep(IN_AN_HOUR)
        found = verify(log)
        assert (found.batches, found.decisions) == (3, 6)
        assert log.read(*log.batches()).num_rows == 6
        if not failed:
            return
    raise AssertionError(f"two commits made more than {MOST} calls")
