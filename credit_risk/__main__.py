"""The operator's commands: which version is Production, the training data, the settings."""

import argparse
import sys

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from pydantic import ValidationError

from credit_risk.approvals_api import ServiceFailed, open_api
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.proof.verify import verify
from credit_risk.registry.approval_log import Approval, history
from credit_risk.registry.approvals import adopt, approve, rollback
from credit_risk.registry.errors import ApprovalRejected, NoSuchVersion, RegistryUnavailable
from credit_risk.registry.in_force import in_force
from credit_risk.registry.registry import Registry, open_registry
from credit_risk.schema.dataset_file import InvalidDataset, load_dataset
from credit_risk.scoring.stored import ModelRefused
from credit_risk.settings import Settings, describe
from credit_risk.storage.backends import open_blobs
from credit_risk.storage.documents import LogUnavailable
from credit_risk.texts import one_line
from credit_risk.training_data.data import read_training
from credit_risk.training_data.snapshots import make
from credit_risk.training_data.source import training_source

# What the approvals service calls what each command does.
_ROUTES = {
    "propose": "proposals",
    "approve": "approvals",
    "rollback": "rollbacks",
    "adopt": "adoptions",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m credit_risk", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    approving = commands.add_parser("approve", help="make a version Production")
    approving.add_argument("--force", action="store_true", help="even where its gate failed")

    adopting = commands.add_parser(
        "adopt", help="note a version that training did not, for approve"
    )
    proposing = commands.add_parser(
        "propose", help="propose a version, for somebody else to approve"
    )
    for command in (approving, adopting, proposing):
        command.add_argument(
            "--version", required=True, help="number of the version, as MLflow shows it"
        )

    rolling = commands.add_parser("rollback", help="make the version before Production again")
    for command in (approving, adopting, rolling):
        command.add_argument(
            "--break-glass",
            action="store_true",
            help="write the log here, past the approvals service and without a second person; "
            "an alert says so",
        )
    for command in (approving, adopting, proposing, rolling):
        command.add_argument("--by", help="who decides; not where APPROVALS_TOKEN says so")
        command.add_argument("--reason", required=True, help="why")

    commands.add_parser("approvals", help="list who made which version Production, when and why")
    commands.add_parser(
        "training-data",
        help="write a snapshot of DATA and of accepted clients whose outcomes have matured, "
        "for training",
        description="Exit code 0 when a snapshot stands, new or not; "
        "1 when there is nobody to add yet; 2 on failure.",
    )
    commands.add_parser(
        "verify", help="read the whole decision log, and name what is missing or was changed"
    )
    commands.add_parser("settings", help="list the settings, their defaults and meanings")

    return parser


def _line(a: Approval) -> str:
    when = a.time.strftime("%Y-%m-%d %H:%M UTC") if a.time else "-"
    forced = " (forced)" if a.forced else ""
    forced += " (break-glass)" if a.break_glass else ""
    reason = f": {one_line(a.reason)}" if a.reason else ""

    return f"{when:<20}  {a.kind:<14}  version {a.version:<4}  by {one_line(a.by)}{forced}{reason}"


def _listed(registry: Registry, log: DecisionLog, follow_alias: bool) -> list[str]:
    """Return who decided what, which version decides, and whether MLflow's alias says otherwise."""
    decided = history(log)
    now = in_force(registry, log, follow_alias=follow_alias)
    approval = now.approval

    if approval is None:
        said = "No version decides."
    else:
        verb = "would decide" if now.refused else "decides"
        said = f"Version {approval.version} {verb}, by {one_line(approval.by)}."

    mismatch = now.alias_mismatch
    if mismatch is None:
        mismatch = "MLflow cannot be reached, to see where its alias is"
    lines = list(map(_line, decided)) or ["nothing was approved yet"]

    return [*lines, said, *filter(None, (now.refused, mismatch))]


def _training_data() -> int:
    def report(text: str) -> None:
        print(f"training-data: {text}", file=sys.stderr, flush=True)

    try:
        settings = Settings()
        dataset, source = load_dataset(settings.dataset), training_source(settings)
        base = read_training(source, dataset, report)
        report(f"{source}: {len(base):,} clients")
        log, blobs = open_log(settings), open_blobs(settings.bucket)
        snapshot, new = make(log, blobs, base, source, settings.outcome_maturity_months, report)
    # A ValueError is a wrong setting or a wrong file.
    except (ValueError, OSError, GoogleAPIError, GoogleAuthError) as error:
        report(str(error))
        return 2

    if snapshot is None:
        print("no outcome has matured yet: training goes on with DATA alone")
        return 1

    print(f"{'written' if new else 'nothing new'}: {snapshot.summary}")
    return 0


def _progress(text: str) -> None:
    print(f"verify: {text}", file=sys.stderr, flush=True)


def _verify() -> int:
    try:
        print(verify(open_log(Settings()), _progress).summary)
    except (ValueError, OSError, GoogleAPIError, GoogleAuthError) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 1

    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    args = _parser().parse_args(arguments)
    if args.command == "settings":
        print(describe())
        return 0
    if args.command == "verify":
        return _verify()
    if args.command == "training-data":
        return _training_data()

    try:
        listed = _decide(args)
    except (
        ApprovalRejected,
        NoSuchVersion,
        ModelRefused,
        RegistryUnavailable,
        LogUnavailable,
        ServiceFailed,
        ValidationError,
        InvalidDataset,
    ) as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return 1

    print("\n".join(listed))
    return 0


def _decide(args: argparse.Namespace) -> list[str]:
    """Run a command on approvals, and return the lines to print."""
    settings = Settings()
    if args.command in _ROUTES and settings.has_tokens and not getattr(args, "break_glass", False):
        return [_ask_service(args, settings)]

    registry = open_registry(settings)
    log = open_log(settings)
    if args.command == "approvals":
        return _listed(registry, log, settings.follow_alias)

    _check_direct(args, settings)
    more = {"break_glass": args.break_glass}
    if args.command == "approve":
        more["forced"] = args.force
        made = approve(registry, log, args.version, args.by, args.reason, **more)
    elif args.command == "adopt":
        made = adopt(registry, log, args.version, args.by, args.reason, **more)
    else:
        made = rollback(registry, log, args.by, args.reason, **more)

    return [_line(made)]


def _ask_service(args: argparse.Namespace, settings: Settings) -> str:
    """Have the approvals service do what a command says, and return what came of it."""
    body = {"reason": args.reason}
    if args.by:
        body["by"] = args.by
    if args.command != "rollback":
        body["version"] = args.version
    if args.command == "approve":
        body["forced"] = args.force
    return open_api(settings.approvals_url).post(_ROUTES[args.command], body)


def _check_direct(args: argparse.Namespace, settings: Settings) -> None:
    """Check that a command may write the log itself."""
    if args.command == "propose":
        raise ApprovalRejected(
            "versions are proposed where OIDC_ISSUER or IAP_AUDIENCE is set; "
            "here approving takes one person"
        )
    if args.break_glass and not settings.has_tokens:
        raise ApprovalRejected(
            "--break-glass goes past the approvals service, which runs where OIDC_ISSUER or "
            "IAP_AUDIENCE is set: leave it out"
        )
    if args.by is None:
        _parser().error("the following arguments are required: --by")


if __name__ == "__main__":
    sys.exit(main())
