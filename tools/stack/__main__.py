"""Run the local stack in the foreground; see, follow or stop it from another terminal.

`run` starts every service under supervisord in its order, prints one table when all are ready,
starts again what dies, and stops everything on Ctrl-C or SIGTERM.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from credit_risk.settings import Settings, faults
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack.console import Console
from tools.stack.local_stack import Stack
from tools.stack.processes import processes_of
from tools.stack.run import Run
from tools.stack.shutdown import halt
from tools.stack.table import logins, table

NOT_RUNNING = 3  # the exit status of `status` when nothing runs, as init scripts have it
NOTHING = "nothing runs here: `make run` starts it"
LEFT_BEHIND = (
    "the supervisor was killed and left services behind: "
    "`make run` starts afresh, `make stop` ends them"
)


def status(stack: Stack, console: Console) -> int:
    """Print the table; return 0 when a stack runs, else `NOT_RUNNING`."""
    if environment := stack.remembered():
        console.say(table(stack, environment))
        console.say(f"\n{logins(stack, environment, console)}")
        return 0

    console.say(LEFT_BEHIND if processes_of(str(stack.var)) else NOTHING)
    return NOT_RUNNING


def stop(stack: Stack, console: Console) -> int:
    """Stop the stack, and wait until nothing of it is left."""
    if pid := stack.runner():
        os.kill(pid, signal.SIGTERM)
        while stack.runner() == pid:
            console.progress("stopping")
            time.sleep(0.2)
    elif processes_of(str(stack.var)):
        halt(stack, console)
    else:
        console.say(NOTHING)
        return 0

    console.say(f"stopped; the state is kept in {stack.var}")
    return 0


def logs(stack: Stack, names: Sequence[str]) -> int:
    """Follow log files, those of all services when none is named, until Ctrl-C."""
    there = sorted(stack.log_dir.glob("*.log"))
    files = [stack.log_dir / f"{name}.log" for name in names] or there
    missing = [file for file in files if not file.exists()]
    if missing or not files:
        known = ", ".join(sorted(file.stem for file in there)) or "none yet"
        raise Failed(f"no such log; there is: {known}")

    os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, files)])


def execute(stack: Stack, command: Sequence[str]) -> int:
    """Become a command that finds the running stack by its environment."""
    environment = stack.remembered()
    if not environment:
        raise Failed(NOTHING)

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    os.execvpe(command[0], list(command), os.environ | environment | {"PATH": path})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.stack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "run", help="start everything, stay until Ctrl-C or SIGTERM, stop everything"
    )
    commands.add_parser("status", help=f"print the table (exit status {NOT_RUNNING}: nothing runs)")
    commands.add_parser("stop", help="stop everything, from another terminal")

    following = commands.add_parser("logs", help="follow the log files")
    following.add_argument("name", nargs="*", help="of these services only")

    executing = commands.add_parser(
        "exec", help="run a command with the addresses of the running stack"
    )
    executing.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")

    commands.add_parser("running", help="say nothing; exit status 0 when a stack runs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    os.chdir(ROOT)
    os.umask(0o077)  # only its user may read the state
    console = Console()
    try:
        stack = Stack(Settings())
        match options.command:
            case "run":
                Run(stack, console)()
                return 0
            case "status":
                return status(stack, console)
            case "stop":
                return stop(stack, console)
            case "logs":
                return logs(stack, options.name)
            case "exec":
                return execute(stack, options.argv)
            case _:
                return 0 if stack.remembered() else NOT_RUNNING
    except ValidationError as error:
        for line in faults(error):
            console.say(line)
    except Failed as failed:
        console.say(str(failed))
    return 1


if __name__ == "__main__":
    sys.exit(main())
