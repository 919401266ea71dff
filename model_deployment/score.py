"""Decide on a file of clients without a server: `POST /api/v1/files` on standard input and output.

    python -m model_deployment.score --name clients.csv < clients.csv > result.csv

The result is the CSV that the API answers with; the decisions are in the log before it is written.
What is wrong with rejected rows goes to standard error. Exit code 0 when every row was decided, 1
when some were not, 2 when none was.
"""

import shutil
import sys
from collections.abc import Sequence

from credit_risk.access.caller import at_console
from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import open_registry
from credit_risk.schema.faults import MalformedFile, first_messages
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from model_deployment.command import file_parser, sent_file
from model_deployment.scoring.errors import NotDecided
from model_deployment.scoring.live_model import LiveModel, ScoringOff
from model_deployment.scoring.metrics import Metrics
from model_deployment.scoring.service import REASONS, Scoring

_COPIED_BYTES = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = file_parser("model_deployment.score", __doc__)
    parser.add_argument("--reasons", action="store_true", help="with the reasons for each decision")
    options = parser.parse_args(arguments)
    extras = frozenset({REASONS} if options.reasons else ())

    settings = Settings()
    log = open_log(settings)
    # The kernel is compiled only if there are enough rows for it.
    production = LiveModel(
        open_registry(settings), log, follow_alias=settings.follow_alias, one_off=True
    )
    production.refresh()
    scoring = Scoring(production, log, Metrics(), settings.max_explained_rows)
    try:
        batch, result = scoring.result(sent_file(options), caller=at_console(), extras=extras)
    except (ScoringOff, LogUnavailable, MalformedFile, NotDecided) as error:
        _report(str(error))
        return 2

    applications = batch.applications
    faults = first_messages(applications.faults, applications.kinds, applications.n_rejected)
    for line in [*applications.warnings, *faults]:
        _report(line)
    if not len(applications):
        return 2

    with result:
        result.seek(0)
        shutil.copyfileobj(result, sys.stdout.buffer, _COPIED_BYTES)
    n_red = int(batch.decided.red.sum())
    _report(
        f"{len(applications):,} decided by version {batch.model_version}, {n_red:,} of them red, "
        f"{applications.n_rejected:,} rejected; batch {batch.id}"
    )
    return 1 if applications.n_rejected else 0


def _report(line: str) -> None:
    print(f"score: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
