"""Whether what clients were told is what the decision log holds."""

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from tools.chaos.load import Ask
from tools.chaos.target import Target
from tools.failure import Failed
from tools.paths import ROOT

SHOWN = 5


class Stored(TypedDict):
    """A batch in the log; see stored.py."""

    key: str
    batch: str
    rows: int
    distinct: int
    form: str


@dataclass
class Verdict:
    """What was compared, and what did not fit, a line each."""

    accepted: int
    forms: Counter[str]
    unheard: int
    faults: list[str] = field(default_factory=list)
    verified: str = ""

    @property
    def holds(self) -> bool:
        """Whether everything is as it was told."""
        return not self.faults


def read_log(target: Target) -> list[Stored]:
    """Return every batch in the log of a stack, with its rows read.

    Raises
    ------
    Failed
        When it cannot be read.
    """
    script = Path(__file__).with_name("stored.py").read_text()
    done = _run(target, "-", script=script)
    if done.returncode:
        raise Failed(f"the log cannot be read: {done.stderr.strip()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def verify(target: Target) -> tuple[bool, str]:
    """Return whether `python -m credit_risk verify` finds the log whole, and what it says."""
    done = _run(target, "-m", "credit_risk", "verify")
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return done.returncode == 0, said[-1] if said else f"exit status {done.returncode}"


def compare(asks: Sequence[Ask], stored: Sequence[Stored]) -> Verdict:
    """Compare what was accepted with what is stored."""
    by_key: dict[str, list[Stored]] = {}
    for batch in stored:
        by_key.setdefault(batch["key"], []).append(batch)
    accepted = [ask for ask in asks if ask.answered is not None]

    told = {ask.key for ask in accepted}
    asked = {ask.key for ask in asks}
    verdict = Verdict(
        accepted=len(accepted),
        forms=Counter(batch["form"] for batch in stored),
        unheard=len(set(by_key) & asked - told),
    )
    verdict.faults += [fault for ask in accepted for fault in _faults(ask, by_key.get(ask.key, []))]
    verdict.faults += [
        f"key {key} is stored {len(found)} times"
        for key, found in by_key.items()
        if len(found) > 1 and key not in told
    ]
    verdict.faults += [f"key {key} is stored, and nobody sent it" for key in set(by_key) - asked]
    return verdict


def shown(verdict: Verdict) -> list[str]:
    """Return the faults for a person, the first few of them."""
    more = len(verdict.faults) - SHOWN
    return [*verdict.faults[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _faults(ask: Ask, found: Sequence[Stored]) -> list[str]:
    what = f"{ask.what} {ask.key}, answered as batch {ask.batch},"
    if not found:
        return [f"{what} is not stored"]
    if len(found) > 1:
        return [f"{what} is stored {len(found)} times"]

    faults = []
    (batch,) = found
    if batch["batch"] != ask.batch:
        faults.append(f"{what} is stored as batch {batch['batch']}")
    if not batch["rows"] == batch["distinct"] == ask.n_decided == ask.rows:
        faults.append(
            f"{what} with {ask.n_decided} of {ask.rows} rows decided has {batch['rows']} rows, "
            f"{batch['distinct']} of them different"
        )
    if ask.again and ask.again != ask.batch:
        faults.append(f"{what} was answered as batch {ask.again} the second time")
    return faults


def _run(target: Target, *arguments: str, script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        target.command(*arguments),
        cwd=ROOT,
        env=target.environment(),
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
