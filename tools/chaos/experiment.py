"""The experiment: under load, break one service after the other and watch what happens."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tools.chaos import verdict
from tools.chaos.alerts import AlertWatch
from tools.chaos.load import (
    FILE,
    SCORE,
    Load,
    counts,
    longest_silence,
    longest_wait,
)
from tools.chaos.report import Row
from tools.chaos.target import KILL, Target, dataset
from tools.chaos.training import Trainings
from tools.chaos.verdict import Verdict

TRAINS = "training-worker"
LOOK = 0.3
"""Seconds between two looks at a service that was broken."""


@dataclass(frozen=True)
class Times:
    """How long things take, in seconds.

    Attributes
    ----------
    fault : float
        How long a pause or a cut lasts.
    back : float
        How long a service has to come back by itself.
    settle : float
        How long is watched afterwards: Prometheus asks the services every 15 s, and evaluates its
        rules as often.
    begin : float
        How long a training run has to begin before something is broken all the same.
    drain : float
        How long clients and training have at the end.
    slower : float
        How many times as long clients pause as they do otherwise.
    """

    fault: float = 10.0
    back: float = 180.0
    settle: float = 20.0
    begin: float = 45.0
    drain: float = 240.0
    slower: float = 1.0


class Experiment:
    """One experiment on a stack that runs.

    Parameters
    ----------
    target : Target
    folder : Path
        Where training's output goes.
    times : Times
    candidates : int
        How many candidates each training run tries.

    Attributes
    ----------
    rows : list of Row
        What was found so far, for an experiment may be cut short.
    """

    def __init__(self, target: Target, folder: Path, times: Times, candidates: int = 2) -> None:
        self.rows: list[Row] = []
        self._target = target
        self._times = times
        self._load = Load(target.riskometer, dataset(), times.slower)
        self._alerts = AlertWatch(target.prometheus)
        self._trainings = Trainings(target, candidates, folder)

    def run(self, services: Sequence[str], faults: Sequence[str]) -> Verdict:
        """Fill a row for each fault of each service, and return the verdict on the log."""
        self._alerts.start()
        self._load.start()
        patience = 0.0
        try:
            for fault, service in product(faults, services):
                self.rows.append(self._row(service, fault))
            patience = self._times.drain
            say("waiting for what is under way")
        finally:
            self._load.stop(patience)
            self._trainings.stop(patience)
            self._alerts.stop()
        return self._judge()

    def _row(self, service: str, fault: str) -> Row:
        if reason := self._target.impossible(fault):
            return Row(service, fault, reason)

        training = self._trainings.under_way(self._times.begin)
        say(f"{fault} {service}")
        began = time.monotonic()
        try:
            self._target.inject(service, fault)
            if fault != KILL:
                time.sleep(self._times.fault)
        finally:
            self._target.heal()

        back = self._wait_until_well(service)
        if back is None:
            say(f"{service} did not come back: starting it")
            self._target.revive(service)
            self._wait_until_well(service)
        self._wait_for_a_score()
        time.sleep(self._times.settle)

        if service == TRAINS:
            self._trainings.forget()

        until = time.monotonic()
        attempts = self._load.attempts(began, until)
        return Row(
            service,
            fault,
            seen={what: counts([a for a in attempts if a.what == what]) for what in (SCORE, FILE)},
            wait=longest_wait(self._load.asks, began, until),
            silence=longest_silence(attempts, began, until),
            back=back,
            training=training,
            alerts=self._alerts.between(began, until),
        )

    def _wait_until_well(self, service: str) -> float | None:
        """Return after how many seconds a service is well; None when it is not in time."""
        since, began = time.time(), time.monotonic()
        while (passed := time.monotonic() - began) < self._times.back:
            if self._target.is_well(service, since):
                return passed
            time.sleep(LOOK)
        return None

    def _wait_for_a_score(self) -> None:
        """Wait until a score is answered that was sent after the service was well."""
        began = time.monotonic()
        while not self._load.answered_since(began):
            if time.monotonic() - began > self._times.back:
                say("no score is answered")
                return
            time.sleep(LOOK)

    def _judge(self) -> Verdict:
        say("reading the log")
        found = verdict.compare(self._load.asks, verdict.read_log(self._target))
        whole, found.verified = verdict.verify(self._target)
        if not whole:
            found.faults.append(f"the log is not verified: {found.verified}")
        return found


def say(line: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
