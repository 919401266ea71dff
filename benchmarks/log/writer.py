"""A writer: a process that commits one decision after the other, by the code of any checkout.

It imports nothing of this folder, because another checkout may have another benchmark.
"""

import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pymongo.common
import pymongo.monitoring

WARM_UP = 2  # commits that are not measured


@dataclass(frozen=True)
class Task:
    """What a writer is to do: to which log it commits, and for how long.

    Attributes
    ----------
    url, bucket : str
        The addresses of the log.
    row : mapping
        The client who is decided on.
    keyed : bool
        Whether each commit has an idempotency key.
    seconds : float
        After these it stops...
    commits : int, optional
        ...or after so many commits, whichever comes first.
    oldest : int
        The oldest wire version that pymongo accepts of a server.
    counts : bool
        Whether the commands are counted, which takes some time itself.
    """

    url: str
    bucket: str
    row: Mapping[str, Any]
    keyed: bool
    seconds: float
    commits: int | None = None
    oldest: int = pymongo.common.MIN_SUPPORTED_WIRE_VERSION
    counts: bool = False


@dataclass
class Done:
    """What a writer did, from one time of the machine's clock to another."""

    start: float
    end: float = 0.0
    commits: int = 0
    failed: int = 0
    commands: Mapping[str, int] = field(default_factory=dict)


def be_writer() -> None:
    """Do the tasks on standard input, a line each: say when ready, wait for a line, answer."""
    sent = _Sent()
    for line in iter(sys.stdin.readline, ""):
        task = Task(**json.loads(line))
        pymongo.common.MIN_SUPPORTED_WIRE_VERSION = task.oldest
        if task.counts:
            pymongo.monitoring.register(sent)

        commit = _committer(task)
        for _ in range(WARM_UP):
            commit()
        print("ready", flush=True)
        sys.stdin.readline()
        sent.commands.clear()
        done = _write(commit, task)
        done.commands = dict(sent.commands)
        print(json.dumps(asdict(done)), flush=True)


def _write(commit: Callable[[], object], task: Task) -> Done:
    now = time.monotonic()
    done, end = Done(now), now + task.seconds
    while now < end and (task.commits is None or done.commits + done.failed < task.commits):
        try:
            commit()
            done.commits += 1
        except ConnectionError:  # LogUnavailable, wherever it is in that checkout
            done.failed += 1
        now = time.monotonic()
    done.end = now
    return done


# Where a checkout has what a writer needs: this one, and those from before it was divided.
_NOW = {
    "open_log": "credit_risk.decision_log.log:open_log",
    "batch": "credit_risk.decision_log.batch:Batch",
    "validator": "credit_risk.schema.validation:Validator",
    "decisions": "credit_risk.scoring.decisions:Decisions",
    "confidence": "credit_risk.scoring.decisions:confidence",
    "settings": "credit_risk.settings:Settings",
}
_BEFORE = {
    "open_log": "credit_risk.decisions:open_log",
    "batch": "credit_risk.decisions:Batch",
    "validator": "credit_risk.application:Validator",
    "decisions": "credit_risk.model:Decided",
    "confidence": "credit_risk.model:confidence",
    "settings": "credit_risk.settings:Settings",
}
# Where a checkout has its data sets, if there is more than one.
_DATASET = "credit_risk.schema.dataset_file:load_dataset"
_NAME = "german_credit"


def _committer(task: Task) -> Callable[[], object]:
    """Return what commits one client, by the code of the checkout on the path."""
    places = _NOW if find_spec("credit_risk.decision_log") else _BEFORE
    of = {name: resolve_name(place) for name, place in places.items()}

    has_datasets = places is _NOW and find_spec(_DATASET.partition(":")[0]) is not None
    about = [resolve_name(_DATASET)(_NAME)] if has_datasets else []
    applications = of["validator"](*about).rows([task.row])
    if len(applications) != 1:
        raise RuntimeError("this checkout does not accept the client")
    risk = np.array([0.1])
    decided = of["decisions"](risk, risk >= 1 / 6, of["confidence"](risk))

    given: dict[str, Any] = {"dataset": _NAME} if has_datasets else {}
    given |= {"decision_log": task.url, "decision_log_flush_ms": 0, "bucket": task.bucket}
    log = of["open_log"](of["settings"](_env_file=None, **given))

    def commit() -> None:
        key = uuid.uuid4().hex if task.keyed else None
        log.commit(of["batch"](applications, decided, "7", "abc", 1 / 6, idempotency_key=key))

    return commit


class _Sent(pymongo.monitoring.CommandListener):
    """Counts the commands that this process sends, by name."""

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        """See the base class."""
        self.commands[event.command_name] += 1

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """See the base class."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """See the base class."""


if __name__ == "__main__":
    be_writer()
