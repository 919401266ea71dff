"""The operator's commands: who is Production, and the settings."""

import argparse
import sys

from pydantic import ValidationError

from credit_risk.approvals import Approval, Refused, approvals, approve, rollback
from credit_risk.decisions import LogUnavailable, open_log
from credit_risk.registry import NoSuchVersion, Registry, RegistryUnavailable
from credit_risk.settings import Settings, describe


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
    commands.add_parser("settings", help="list the settings, their defaults and meanings")
    return parser


def _line(a: Approval) -> str:
    when = a.time.strftime("%Y-%m-%d %H:%M UTC") if a.time else "-"
    forced = " (forced)" if a.forced else ""
    return f"{when:<20}  {a.kind:<8}  version {a.version:<4}  by {a.by}{forced}{': ' + a.reason if a.reason else ''}"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    args = _parser().parse_args(arguments)
    if args.command == "settings":
        print(describe())  # noqa: T201
        return 0
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
