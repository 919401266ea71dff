"""The operator's commands: who is Production, what became of clients, what to learn from, and the settings."""

import argparse
import sys

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from pydantic import ValidationError

from credit_risk.application import first_messages
from credit_risk.approvals import Approval, Refused, approvals, approve, rollback
from credit_risk.blobs import open_blobs
from credit_risk.data import read_training
from credit_risk.decisions import LogUnavailable, open_log
from credit_risk.outcomes import take
from credit_risk.registry import NoSuchVersion, Registry, RegistryUnavailable
from credit_risk.settings import Settings, describe
from credit_risk.sheet import Unreadable
from credit_risk.snapshots import make


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m credit_risk", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    approving = commands.add_parser("approve", help="make a version Production")
    approving.add_argument("--version", required=True, help="number of the version, as MLflow shows it")
    approving.add_argument("--force", action="store_true", help="even where its gate failed")
    for command in (approving, commands.add_parser("rollback", help="make the version before Production again")):
        command.add_argument("--by", required=True, help="who decides")
        command.add_argument("--reason", required=True, help="why")
    commands.add_parser("approvals", help="list who made which version Production, when and why")
    telling = commands.add_parser(
        "outcomes",
        help="take what became of clients, a CSV of decision_id or client_id, outcome and date, from standard input",
        description="Exit code 0 when every row was taken or known, 1 when some were not, 2 when none was.",
    )
    telling.add_argument("--name", help="of the file, for the log")
    commands.add_parser(
        "training-data",
        help="write a snapshot of DATA and of accepted clients whose outcomes have matured, for training",
        description="Exit code 0 when a snapshot stands, new or not; 1 when there is nobody to add yet; 2 on failure.",
    )
    commands.add_parser("settings", help="list the settings, their defaults and meanings")
    return parser


def _line(a: Approval) -> str:
    when = a.time.strftime("%Y-%m-%d %H:%M UTC") if a.time else "-"
    forced = " (forced)" if a.forced else ""
    return f"{when:<20}  {a.kind:<8}  version {a.version:<4}  by {a.by}{forced}{': ' + a.reason if a.reason else ''}"


def _outcomes(name: str | None) -> int:
    def say(text: str) -> None:
        print(f"outcomes: {text}", file=sys.stderr, flush=True)  # noqa: T201

    try:
        taken = take(open_log(Settings()), sys.stdin.buffer.read(), name, say)
    except (Unreadable, LogUnavailable, ValueError) as error:
        say(str(error))
        return 2
    for line in [*taken.warnings, *first_messages(taken.faults, taken.n_rejected)]:
        say(line)
    print(f"{taken.n_added:,} added, {taken.n_known:,} known already, {taken.n_rejected:,} rejected")  # noqa: T201
    if not taken.n_added and not taken.n_known:
        return 2
    return 1 if taken.n_rejected else 0


def _training_data() -> int:
    def say(text: str) -> None:
        print(f"training-data: {text}", file=sys.stderr, flush=True)  # noqa: T201

    try:
        settings = Settings()
        base = read_training(settings.data)
        say(f"{settings.data}: {len(base):,} clients")
        log, blobs = open_log(settings), open_blobs(settings.bucket)
        snapshot, new = make(log, blobs, base, settings.data, settings.outcome_maturity_months, say)
    # A setting that is wrong and a file that is are ValueErrors.
    except (ValueError, OSError, GoogleAPIError, GoogleAuthError) as error:
        say(str(error))
        return 2
    if snapshot is None:
        print("no outcome has matured yet: training goes on with DATA alone")  # noqa: T201
        return 1
    print(f"{'written' if new else 'nothing new'}: {snapshot.words}")  # noqa: T201
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    args = _parser().parse_args(arguments)
    if args.command == "settings":
        print(describe())  # noqa: T201
        return 0
    if args.command == "outcomes":
        return _outcomes(args.name)
    if args.command == "training-data":
        return _training_data()
    try:
        settings = Settings()
        registry = Registry(settings.mlflow_tracking_uri, settings.model_name)
        log = open_log(settings)
        if args.command == "approve":
            listed = [approve(registry, log, args.version, args.by, args.reason, forced=args.force)]
        elif args.command == "rollback":
            listed = [rollback(registry, log, args.by, args.reason)]
        else:
            listed = approvals(registry, log)
    except (Refused, NoSuchVersion, RegistryUnavailable, LogUnavailable, ValidationError) as error:
        print(f"{args.command}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print("\n".join(map(_line, listed)) or "nothing was approved yet")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
