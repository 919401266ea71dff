"""Take a file of what became of clients without a server: what `POST /api/v1/outcomes` does, from standard input.

    python -m model_deployment.outcomes --name outcomes.csv < outcomes.csv

The file has decision_id or client_id, outcome and date, as CSV, Excel or Parquet. Exit code 0 when every row was taken,
known or still open, 1 when some were not, 2 when none was.
"""

import sys
from collections.abc import Callable, Sequence

from credit_risk.access.caller import at_console
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.outcome_file import COLUMNS
from credit_risk.decision_log.outcomes import Taken, take
from credit_risk.schema.faults import Unreadable, first_messages
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from model_deployment.command import sent_file
from model_deployment.files.formats import Upload


def taken_from(sent: Upload, log: DecisionLog, say: Callable[[str], None] = lambda _: None, *, caller: str) -> Taken:
    """Take the outcomes of a file; see `take`.

    Raises
    ------
    Unreadable, LogUnavailable, ReadersBusy
        See `take` and `Upload.csv`.
    """
    return sent.parsed(lambda csv: take(log, csv, sent.name, say, caller=caller), COLUMNS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    sent = sent_file("model_deployment.outcomes", __doc__, arguments)

    def say(text: str) -> None:
        print(f"outcomes: {text}", file=sys.stderr, flush=True)  # noqa: T201

    try:
        taken = taken_from(sent, open_log(Settings()), say, caller=str(at_console()))
    except (Unreadable, LogUnavailable, ValueError) as error:
        say(str(error))
        return 2
    for line in [*taken.warnings, *first_messages(taken.faults, taken.kinds, taken.n_rejected)]:
        say(line)
    print(  # noqa: T201
        f"{taken.n_added:,} added, {taken.n_known:,} known already, {taken.n_open:,} still open, "
        f"{taken.n_rejected:,} rejected"
    )
    if taken.faults and not taken.n_added and not taken.n_known:
        return 2
    return 1 if taken.n_rejected else 0


if __name__ == "__main__":
    sys.exit(main())
