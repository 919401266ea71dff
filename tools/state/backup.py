"""Back up, restore or upgrade the state of either stack.

An upgrade migrates the databases after `uv.lock` has changed.

A backup holds the decision log, MLflow's and Prefect's databases, the bucket, the passwords that
were made, and `.env`. It may be made while the stack runs. It does not hold Prometheus' figures,
Grafana's database or logs.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tools.failure import Failed
from tools.paths import ROOT
from tools.state import archive, compose_state

if TYPE_CHECKING:
    from tools.stack.local_stack import Stack

ENV = ROOT / ".env"
LOCAL, COMPOSE = "local", "compose"

# What the local stack needs is imported where it is used: where the stack is in containers, only
# the standard library may be there.


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def which() -> str:
    """Return which stack is meant: the one in STACK, else running containers, else this machine's.

    Raises
    ------
    Failed
        When both run, or STACK does not name one.
    """
    stack = os.environ.get("STACK", "")
    if stack in (LOCAL, COMPOSE):
        return stack
    if stack:
        raise Failed(f"STACK={stack}: it can be compose or local")

    if not compose_state.runs():
        return LOCAL
    if (ROOT / ".venv" / "bin" / "python").exists() and _local().runner():
        raise Failed(
            "both stacks run, the local one and docker compose: "
            "say which, STACK=local or STACK=compose"
        )
    return COMPOSE


def back_up(place: Path, kind: str) -> None:
    """Make a backup where there is nothing yet."""
    with archive.new(place, kind) as part:
        if kind == COMPOSE:
            compose_state.save(part, say)
            left = compose_state.elsewhere()
        else:
            from tools.state import local_state

            local_state.save(_local(), part)
            left = local_state.elsewhere(_local())
        if ENV.exists():
            shutil.copyfile(ENV, part / "env")

    for line in left:
        say(f"not in it: {line}")
    say(f"the backup is {place}; passwords are in it, so keep it as safe as the stack")


def restore(place: Path, *, replace: bool) -> None:
    """Replace the state of a backup's stack by the backup."""
    kind = archive.read(place)
    if os.environ.get("STACK", kind) != kind:
        raise Failed(f"{place} is of the other stack, STACK={kind}")

    if kind == COMPOSE:
        said = compose_state.restore(place, say, replace=replace)
    else:
        from tools.state import local_state

        stack = _local()
        with local_state.resting(stack):
            said = local_state.restore(stack, place, replace=replace)

    say(said)
    _put_env(place / "env")
    command = "docker compose up --build" if kind == COMPOSE else "make run"
    say(f"restored: `{command}` starts it")


def upgrade(place: Path, kind: str) -> None:
    """Back up, migrate the databases, and verify the decision log."""
    if kind == COMPOSE:
        compose_state.build()
        back_up(place, kind)
        say(compose_state.upgrade(place, say))
        say("upgraded, and it runs")
        return

    from tools.state import local_state

    stack = _local()
    with local_state.resting(stack):
        back_up(place, kind)
        say(local_state.upgrade(stack))
    say("upgraded: `make run` starts it")


def _put_env(kept: Path) -> None:
    """Restore the `.env` of a backup where there is none.

    Another machine's ports and addresses may not be right for this one.
    """
    if not kept.exists():
        return
    if not ENV.exists():
        ENV.touch(mode=0o600)
        ENV.write_bytes(kept.read_bytes())
        say(".env was put back")
    elif ENV.read_bytes() != kept.read_bytes():
        say(f".env differs here, and stays: the backup's is {kept}")


def _local() -> "Stack":
    from credit_risk.settings import Settings
    from tools.stack.local_stack import Stack

    return Stack(Settings())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.state.backup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    making = commands.add_parser("make", help="make a backup")
    making.add_argument("place", type=Path, help="a folder that is not there yet")

    restoring = commands.add_parser("restore", help="put one back; a local stack has to be stopped")
    restoring.add_argument("place", type=Path)
    restoring.add_argument(
        "--replace", action="store_true", help="even where there is a state, which is gone then"
    )

    upgrading = commands.add_parser("upgrade", help="back up, migrate, check")
    upgrading.add_argument(
        "place", type=Path, nargs="?", help="of the backup (backups/before-upgrade-TIME)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    os.chdir(ROOT)
    os.umask(0o077)
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    before_upgrade = ROOT / "backups" / f"before-upgrade-{now}"
    try:
        match options.command:
            case "make":
                back_up(options.place.absolute(), which())
            case "restore":
                restore(options.place.absolute(), replace=options.replace)
            case _:
                upgrade((options.place or before_upgrade).absolute(), which())
    except subprocess.CalledProcessError as error:
        say(f"{options.command}: `{shlex.join(error.cmd)}` ended with {error.returncode}")
        return 1
    except (Failed, OSError, ValueError) as error:  # a wrong setting is a ValueError
        say(f"{options.command}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
