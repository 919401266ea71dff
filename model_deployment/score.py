"""Decide on a file of clients without a server: what `POST /api/v1/files` does, on standard input and output.

    python -m model_deployment.score --name clients.csv < clients.csv > result.csv

The result is the CSV that the API answers with; the decisions are in the log before it is written. What is wrong with
rejected rows goes to standard error. Exit code 0 when every row was decided, 1 when some were not, 2 when none was.
"""

import sys
from collections.abc import Sequence

from credit_risk.access.caller import at_console
from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import open_registry
from credit_risk.schema.faults import Unreadable, first_messages
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from model_deployment.command import sent_file
from model_deployment.files.export import result_csv
from model_deployment.scoring.live_model import Production, ScoringOff
from model_deployment.scoring.metrics import Metrics
from model_deployment.scoring.service import Scoring


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    sent = sent_file("model_deployment.score", __doc__, arguments)
    settings = Settings()
    log = open_log(settings)
    registry = open_registry(settings)
    production = Production(registry, log, settings.model_poll_seconds, follow_alias=settings.follow_alias)
    production.look()
    try:
        scoring = Scoring(production, log, Metrics(), settings.max_explained_rows)
        batch = scoring.file(sent, caller=at_console()).batch
    except (ScoringOff, LogUnavailable, Unreadable) as error:
        print(f"score: {error}", file=sys.stderr)  # noqa: T201
        return 2
    applications = batch.applications
    told = first_messages(applications.faults, applications.kinds, applications.n_rejected)
    for line in [*applications.warnings, *told]:
        print(f"score: {line}", file=sys.stderr)  # noqa: T201
    if not len(applications):
        return 2
    sys.stdout.buffer.write(result_csv(batch))
    n_red = int(batch.decided.red.sum())
    print(  # noqa: T201
        f"score: {len(applications):,} decided by version {batch.model_version}, {n_red:,} of them red, "
        f"{applications.n_rejected:,} rejected; batch {batch.id}",
        file=sys.stderr,
    )
    return 1 if applications.n_rejected else 0


if __name__ == "__main__":
    sys.exit(main())
