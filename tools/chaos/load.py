"""Clients of the Risk-O-Meter that send again what was not answered, and note what they saw."""

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pandas as pd
import requests

from credit_risk.schema.attributes import LABEL
from credit_risk.schema.dataset_file import load_dataset, training_file
from credit_risk.schema.spelling.numerals import unmistakable
from credit_risk.training_data.data import read_training, split

SCORE, FILE = "score", "file"
ANSWERED, UNAVAILABLE = "answered", 503
TIMEOUT, NO_CONNECTION = "timed out", "connection error"

SCORERS = 3
SCORE_PAUSE = 0.1
# Where each is sent, and the seconds that one request may take.
PATHS = {SCORE: ("/api/v1/score", 5.0), FILE: ("/api/v1/files?decisions=none", 30.0)}
AGAIN_SECONDS = 0.5
# One request in so many is sent a second time after it was answered.
REPEATED = 10
# Rows of a file, and the seconds until the next one. Of more than 10,000 rows the decisions are
# Parquet in the bucket; of up to 100 they are in the record; in between they are documents.
FILES = ((300, 1.0), (12_000, 8.0))


@dataclass(frozen=True)
class Attempt:
    """One request as it went over the wire; times are those of `time.monotonic`."""

    what: str
    sent: float
    ended: float
    outcome: str


@dataclass
class Ask:
    """What a client wants, which it sends under one key until it is answered."""

    what: str
    key: str
    rows: int
    began: float
    answered: float | None = None
    batch: str = ""
    n_decided: int = 0
    # What was answered when it was sent a second time; empty when it was not.
    again: str = ""


class Load:
    """The clients.

    Parameters
    ----------
    address : str
        The address of the Risk-O-Meter.
    dataset : str
        The data set that it serves; the clients are from it.
    slower : float
        How many times as long each pauses between what it asks.
    """

    def __init__(self, address: str, dataset: str, slower: float = 1.0) -> None:
        self._address = address
        self._attempts: list[Attempt] = []
        self._asks: list[Ask] = []
        self._no_more = threading.Event()
        self._gives_up = threading.Event()
        self._clients = clients(dataset)
        self._slower = slower
        scorers = [
            threading.Thread(target=self._score, args=(number,), name=f"score-{number}")
            for number in range(SCORERS)
        ]
        senders = [
            threading.Thread(target=self._send_files, args=size, name=f"file-{size[0]}")
            for size in FILES
        ]
        self._threads = [*scorers, *senders]

    @property
    def asks(self) -> list[Ask]:
        """Everything that was asked so far."""
        return list(self._asks)

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self, patience: float) -> None:
        """Ask for nothing new, and wait until everything is answered, or for `patience` seconds."""
        self._no_more.set()
        deadline = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._gives_up.set()
        for thread in self._threads:
            thread.join()

    def attempts(self, since: float, until: float) -> list[Attempt]:
        """Return the requests that were under way in a span of time."""
        return [a for a in list(self._attempts) if a.sent < until and a.ended > since]

    def answered_since(self, since: float) -> bool:
        """Return whether a score that was sent after this was answered."""
        return any(
            a.sent >= since and a.what == SCORE and a.outcome == ANSWERED
            for a in reversed(list(self._attempts)[-200:])
        )

    def _score(self, number: int) -> None:
        with _session() as session:
            for client in itertools.islice(itertools.cycle(self._clients), number, None, SCORERS):
                if self._no_more.is_set():
                    return
                self._ask(session, SCORE, 1, json=[client])
                self._no_more.wait(SCORE_PAUSE * self._slower)

    def _send_files(self, rows: int, pause: float) -> None:
        content = file_of(self._clients, rows)
        with _session() as session:
            while not self._no_more.wait(pause * self._slower):
                self._ask(session, FILE, rows, files={"file": (f"{rows}.csv", content)})

    def _ask(self, session: requests.Session, what: str, rows: int, **body: Any) -> None:
        """Send one thing until it is answered for good."""
        ask = Ask(what, str(uuid4()), rows, time.monotonic())
        self._asks.append(ask)
        while not self._gives_up.is_set():
            status, answer = self._attempt(session, ask, body)
            if status == 200:
                ask.answered = time.monotonic()
                ask.batch, ask.n_decided = answer["batch"], answer["n_decided"]
                break
            if 400 <= status < 500 and status != 408:
                return  # it would be answered the same for ever
            self._gives_up.wait(AGAIN_SECONDS)

        if ask.answered and len(self._asks) % REPEATED == 0:
            status, answer = self._attempt(session, ask, body)
            ask.again = answer["batch"] if status == 200 else ""

    def _attempt(
        self, session: requests.Session, ask: Ask, body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]]:
        """Send it once, and return the status, 0 where there was none, and the answer."""
        path, patience = PATHS[ask.what]
        sent = time.monotonic()
        status, outcome = 0, NO_CONNECTION
        answer: dict[str, Any] = {}
        try:
            response = session.post(
                f"{self._address}{path}",
                headers={"Idempotency-Key": ask.key},
                timeout=patience,
                **body,
            )
            status, answer = response.status_code, _members(response)
            outcome = _named(status, answer)
        except requests.Timeout:
            outcome = TIMEOUT
        except requests.RequestException:
            pass  # also where the answer broke off
        self._attempts.append(Attempt(ask.what, sent, time.monotonic(), outcome))
        return status, answer


def counts(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Return how many requests ended in which way, the answered first."""
    found = Counter(attempt.outcome for attempt in attempts)
    return {ANSWERED: found.pop(ANSWERED, 0), **dict(found.most_common())}


def longest_wait(asks: Sequence[Ask], since: float, until: float) -> float:
    """Return the most seconds that a client waited, from what was first sent to its answer.

    It counts what was waited for in this span of time; what still is counts until its end.
    """
    waits = [
        (ask.answered or until) - ask.began
        for ask in asks
        if ask.began < until and (ask.answered is None or ask.answered > since)
    ]
    return max(waits, default=0.0)


def longest_silence(attempts: Sequence[Attempt], since: float, until: float) -> float:
    """Return the most seconds in a span of time without an answered score."""
    answered = sorted(
        a.ended
        for a in attempts
        if a.what == SCORE and a.outcome == ANSWERED and since <= a.ended <= until
    )
    return max(later - earlier for earlier, later in pairwise([since, *answered, until]))


def _named(status: int, answer: dict[str, Any]) -> str:
    """Return how a request ended: a refusal by its status and the word for its reason."""
    if status == 200:
        return ANSWERED
    verb = "refused" if status == UNAVAILABLE else "failed"
    reason = str(answer.get("type", "without a reason")).rpartition(":")[2]
    return f"{verb} ({status} {reason})"


def _members(response: requests.Response) -> dict[str, Any]:
    """Return the members of an answer; a proxy's own answers have none."""
    try:
        members: dict[str, Any] = response.json()
    except requests.JSONDecodeError:
        return {}
    return members


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy has no business between two of our ports
    return session


def file_of(clients: Sequence[dict[str, Any]], rows: int) -> bytes:
    """Return a CSV of some clients, again and again until it has so many rows."""
    chosen = itertools.islice(itertools.cycle(clients), rows)
    return pd.DataFrame(chosen).to_csv(index=False, float_format=unmistakable).encode()


def clients(dataset: str) -> list[dict[str, Any]]:
    """Return clients of a data set whom no model is trained on, without what became of them."""
    definition = load_dataset(dataset)
    _, others = split(read_training(training_file(dataset), definition), definition)
    found: list[dict[str, Any]] = json.loads(others.drop(columns=LABEL).to_json(orient="records"))
    return found
