"""Training runs that are under way while something is broken."""

import subprocess
import time
from pathlib import Path

from tools.chaos.target import Target
from tools.paths import ROOT

DEPLOYMENT = "credit-risk-training/sunday-night"
BEGUN = "Running..."
UNDER_WAY = "still under way"


class Run:
    """One training run, followed by the operator's command.

    Parameters
    ----------
    target : Target
        The stack that trains.
    number : int
        Which run of the experiment it is.
    candidates : int
        How many candidates the search tries.
    folder : Path
        Where a file with what the command prints goes.
    """

    def __init__(self, target: Target, number: int, candidates: int, folder: Path) -> None:
        self._number = number
        self._output = folder / f"training-{number}.txt"
        command = target.command(
            "-m",
            "model_orchestration_and_tracking.run",
            DEPLOYMENT,
            "--param",
            f"n_iter={candidates}",
        )
        with self._output.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=target.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def is_running(self) -> bool:
        """Whether it was seen to begin, and not yet to end."""
        return self._process.poll() is None and BEGUN in self._text()

    @property
    def is_over(self) -> bool:
        """Whether the command has ended."""
        return self._process.poll() is not None

    def outcome(self) -> str:
        """Return which run it is and how it ended, in the words of the command's last line."""
        ended = UNDER_WAY
        if self.is_over:
            lines = self._text().strip().splitlines()
            ended = _short(lines[-1]) if lines else f"exit status {self._process.returncode}"
        return f"run {self._number}: {ended}"

    def wait(self, seconds: float) -> None:
        """Wait until it is over, and no longer follow it after that many seconds."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            with self._output.open("a") as out:
                out.write("\nnot over when the experiment was\n")

    def _text(self) -> str:
        return self._output.read_text(errors="replace")


class Trainings:
    """The training runs of one experiment: there is one under way for each fault.

    Parameters
    ----------
    target : Target
    candidates : int
        How many candidates each search tries.
    folder : Path
        Where their output goes.
    """

    def __init__(self, target: Target, candidates: int, folder: Path) -> None:
        self._target = target
        self._candidates = candidates
        self._folder = folder
        self._runs: list[Run] = []
        self._forgotten = False

    def under_way(self, patience: float) -> Run:
        """Return a run that trains; one that is started may take `patience` seconds to begin."""
        if not self._runs or self._runs[-1].is_over or self._forgotten:
            self._forgotten = False
            number = len(self._runs) + 1
            self._runs.append(Run(self._target, number, self._candidates, self._folder))

        deadline = time.monotonic() + patience
        run = self._runs[-1]
        while not (run.is_running or run.is_over) and time.monotonic() < deadline:
            time.sleep(0.2)
        return run

    def forget(self) -> None:
        """Count the run under way as lost: its worker may be dead, which shows minutes later."""
        self._forgotten = True

    def stop(self, patience: float) -> None:
        """Wait until all are over, or for `patience` seconds."""
        deadline = time.monotonic() + patience
        for run in self._runs:
            run.wait(deadline - time.monotonic())


def _short(line: str, most: int = 60) -> str:
    return line if len(line) <= most else f"{line[: most - 3]}..."
