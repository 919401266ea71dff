"""Take a file of outcomes without a server: what `POST /api/v1/outcomes` does, on standard input.

    python -m model_deployment.outcomes --name outcomes.csv < outcomes.csv

The file has decision_id or client_id, outcome and date, as CSV, Excel or Parquet. Exit code 0 when
every row was taken, known or still open, 1 when some were not, 2 when none was.
"""

import sys
from collections.abc import Callable, Sequence

from credit_risk.access.caller import at_console
from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.decision_log.outcome_file import COLUMNS
from credit_risk.decision_log.outcomes import OutcomeImport, ingest
from credit_risk.schema.faults import MalformedFile, first_messages
from credit_risk.schema.spelling.words import only
from credit_risk.settings import Settings
from credit_risk.storage.documents import LogUnavailable
from model_deployment.command import file_parser, sent_file
from model_deployment.files.formats import UploadedFile


def taken_from(
    sent: UploadedFile,
    log: DecisionLog,
    report: Callable[[str], None] = lambda _: None,
    *,
    caller: str,
) -> OutcomeImport:
    """Record the outcomes of a file; see `ingest`.

    Raises
    ------
    MalformedFile, LogUnavailable, ReadersBusy
        See `ingest` and `UploadedFile.csv`.
    """
    return sent.parsed(
        lambda csv: ingest(log, csv, sent.name, report, caller=caller), only(COLUMNS)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    options = file_parser("model_deployment.outcomes", __doc__).parse_args(arguments)
    sent = sent_file(options)

    def report(text: str) -> None:
        print(f"outcomes: {text}", file=sys.stderr, flush=True)

    try:
        taken = taken_from(sent, open_log(Settings()), report, caller=str(at_console()))
    except (MalformedFile, LogUnavailable, ValueError) as error:
        report(str(error))
        return 2

    faults = first_messages(taken.faults, taken.kinds, taken.n_rejected)
    for line in [*taken.warnings, *faults]:
        report(line)
    print(
        f"{taken.n_added:,} added, {taken.n_known:,} known already, {taken.n_open:,} still open, "
        f"{taken.n_rejected:,} rejected"
    )

    if taken.faults and not taken.n_added and not taken.n_known:
        return 2
    return 1 if taken.n_rejected else 0


if __name__ == "__main__":
    sys.exit(main())
