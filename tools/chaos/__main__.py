"""Break one service after the other under load, and check that nothing accepted is lost.

It starts a stack of its own, so no other stack and no other decision log is touched: local
processes on free ports with their state in a temporary folder, or with STACK=compose the
containers of the project credit-risk-chaos. Both are removed at the end, unless the log is not as
it should be. Clients send scores and files with idempotency keys and send again what is not
answered; a training runs. Meanwhile each service is killed, paused, and (containers only) cut off
its networks.

Prints a Markdown table on standard output, and progress on standard error. Exit status: 0 when
every accepted request is in the log exactly once with all its rows, the log verifies, and every
service came back by itself; 1 when not; 2 when it could not be found out.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from credit_risk.schema.dataset_file import InvalidDataset, training_file
from tools.chaos.compose_target import ComposeTarget
from tools.chaos.experiment import Experiment, Times, say
from tools.chaos.local_target import LocalTarget
from tools.chaos.report import conclusion, table
from tools.chaos.target import FAULTS, Target, dataset, ordered
from tools.failure import Failed

TARGETS = {"local": LocalTarget, "compose": ComposeTarget}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    times = Times(
        fault=options.seconds,
        back=options.patience,
        settle=options.settle,
        slower=options.slower,
    )
    try:
        return run(options.stack, options.services, options.faults, times, keep=options.keep)
    except Failed as failed:
        say(str(failed))
    except KeyboardInterrupt:
        say("interrupted")
    return 2


def run(
    stack: str, services: Sequence[str], faults: Sequence[str], times: Times, *, keep: bool = False
) -> int:
    """Run the experiment on a stack of its own, print the table, and return the exit status.

    Raises
    ------
    Failed
        When there is no such stack, service, fault or data set, or the stack does not start.
    """
    _check(stack, faults)
    target: Target = TARGETS[stack]()
    holds = False
    try:
        say(f"starting a stack of its own ({stack}), which takes a minute or more")
        target.start()
        found = target.services()
        if unknown := set(services) - set(found):
            raise Failed(
                f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(found)}"
            )

        with tempfile.TemporaryDirectory(prefix="credit-risk-training-") as folder:
            experiment = Experiment(target, Path(folder), times)
            try:
                verdict = experiment.run(list(ordered(found, services)), faults)
            except (Failed, KeyboardInterrupt):
                say("cut short: this was found so far, and what clients sent was not compared")
                print(table(experiment.rows), flush=True)
                raise
            print(f"{table(experiment.rows)}\n\n{conclusion(verdict)}", flush=True)
        holds = verdict.holds and all(row.holds for row in experiment.rows)
        keep = keep or not verdict.holds  # whoever looks for the cause needs the log as it is
    finally:
        say("stopping the stack")
        target.stop(keep=keep)
        if keep:
            say(f"the state is kept in {target.place}")
    return 0 if holds else 1


def _check(stack: str, faults: Sequence[str]) -> None:
    if stack not in TARGETS:
        raise Failed(f"STACK={stack}: it can be {' or '.join(TARGETS)}")
    if unknown := set(faults) - set(FAULTS):
        raise Failed(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    try:
        training_file(dataset())
    except InvalidDataset as error:
        raise Failed(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--stack",
        default=os.environ.get("STACK") or "local",
        help="local or compose (STACK, else local)",
    )
    parser.add_argument(
        "--services", type=_words, default=[], metavar="A,B", help="only these (all)"
    )
    parser.add_argument(
        "--faults",
        type=_words,
        default=list(FAULTS),
        metavar="A,B",
        help=f"only these ({','.join(FAULTS)})",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=Times.fault,
        help="how long a pause or a cut lasts (%(default)s); an alert fires after minutes",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=Times.back,
        help="seconds that a service has to come back by itself (%(default)s)",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=Times.settle,
        help="seconds to watch after each fault, so that Prometheus sees it (%(default)s)",
    )
    parser.add_argument(
        "--slower",
        type=float,
        default=Times.slower,
        help="how many times as long clients pause (%(default)s); for a slow database",
    )
    parser.add_argument("--keep", action="store_true", help="keep the stack's state at the end")
    return parser


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
