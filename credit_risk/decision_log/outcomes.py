"""Outcomes: whether the clients who got a loan repaid it or defaulted, known long afterwards.

An outcome belongs to a decision that is green after overrides; a refused client has none. Outcomes
arrive in CSV files. The good rows of a file are stored together, with one event in the decision log
as their commit mark, or not at all. Nothing is updated in place: all outcomes of a decision are
kept, and the one with the latest date stands; of several with one date, the one that arrived last.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ulid import ULID

from credit_risk.decision_log.batch import OPEN, decision_schema
from credit_risk.decision_log.chains.numbered import Conflict, attempts
from credit_risk.decision_log.events import OUTCOMES
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import OUTCOME, OutcomeFile, OutcomeRow, Wrong
from credit_risk.decision_log.outcome_matching import Match, OutcomeMatcher
from credit_risk.decision_log.overrides import OVERRIDE, final_predictions
from credit_risk.schema.dataset import Dataset
from credit_risk.schema.faults import InvalidValue, Kind, RowError, kinds
from credit_risk.schema.sheets.csv_table import Data
from credit_risk.storage.documents import LogUnavailable

# How often a file is matched again because somebody else's outcomes or overrides came first.
ATTEMPTS = 10
NAMED_LINES = 10

_OUTCOME = pa.schema(
    [
        ("final", pa.string()),
        ("outcome", pa.string()),
        ("outcome_date", pa.date32()),
        ("outcome_number", pa.int64()),
    ]
)


def outcome_schema(dataset: Dataset) -> pa.Schema:
    """Return the columns of the tables that `read_outcomes` returns."""
    return pa.schema([*decision_schema(dataset), *_OUTCOME])


@dataclass
class OutcomeImport:
    """The result of importing one file of outcomes.

    Attributes
    ----------
    upload : str or None
        The id of the outcomes that were added to the log; None when none was.
    n_rows, n_added, n_known, n_open : int
        Rows of the file, those that were added, those that the log holds already, and those that
        have neither outcome nor date.
    faults : list of RowError
        What is wrong with the other rows, at most a thousand.
    reasons : dict
        The number of faults for each (column, reason).
    warnings : list of str
        What else to tell the sender.
    """

    upload: str | None
    n_rows: int
    n_added: int = 0
    n_known: int = 0
    n_open: int = 0
    faults: list[RowError] = field(default_factory=list)
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def n_rejected(self) -> int:
        """The number of rows that were rejected."""
        return self.n_rows - self.n_added - self.n_known - self.n_open

    @property
    def kinds(self) -> list[Kind]:
        """The faults of rows, by kind."""
        return kinds(self.faults, self.reasons)


def ingest(
    log: DecisionLog,
    data: Data,
    source: str | None = None,
    report: Callable[[str], None] = lambda _: None,
    *,
    caller: str = OPEN,
) -> OutcomeImport:
    """Store the outcomes of a CSV in the log: all good rows together, or none.

    The order of rows does not matter: the later date stands. An outcome with an older date than the
    one that stands is kept and changes nothing, with a warning. Rows that give one decision both
    outcomes on one date are all rejected. A row that repeats an outcome in the log adds nothing,
    unless it corrects the one that stands on that date. A file that was sent before adds only what
    the log never held, so that sending it twice does not undo a correction made in between.

    Parameters
    ----------
    data : bytes or memoryview
        A CSV of `decision_id` or `client_id`, `outcome` (repaid or defaulted) and `date` (see
        `dates`). A row that has neither outcome nor date is that of a loan that is still open.
    source : str, optional
        The file's name, for the log.
    report : callable, optional
        Progress callback; called with a line of text.
    caller : str
        Who sent it, for the log.

    Raises
    ------
    MalformedFile
        When the file is not such a CSV at all.
    LogUnavailable
        When the log cannot be read or written; then nothing was stored.
    """
    file = OutcomeFile(data)
    report(
        f"{file.n_rows:,} rows read, {len(file.rows):,} of them complete, "
        f"{file.n_open:,} still open"
    )

    for _ in range(ATTEMPTS):
        try:
            return _ingest(log, file, report, source=source, caller=caller)
        except Conflict:
            report("others wrote meanwhile; looking again")
    raise LogUnavailable("too many files of outcomes or overrides come at once")


def outcomes(log: DecisionLog, id: str) -> list[dict[str, Any]]:
    """Return all outcomes of a decision by date; the last one stands.

    Each has `outcome`, `date`, `number`, `upload`, `row`, and `caller` (who sent it).
    """
    return log.outcomes_of([id])


def read_outcomes(log: DecisionLog, since: datetime, until: datetime) -> pa.Table:
    """Return all decisions of a period, each with its final prediction and current outcome.

    Decisions without an outcome are included: the realised figures of a vintage depend on how many
    are still open, and on which decisions were refused. Previews are excluded.

    Parameters
    ----------
    since, until : datetime
        When the decisions were made, with time zone: from `since` to before `until`.

    Returns
    -------
    pyarrow.Table
        The columns of `outcome_schema`: those of a decision, then `final` (the prediction after
        overrides), `outcome` (`repaid` or `defaulted`), `outcome_date` and `outcome_number` (that
        of the event it came with); the last three are null where no outcome is known. An outcome
        stays when its decision is overridden to red later, so check `final`.
    """
    table = log.read(*log.between(since, until), schema=decision_schema(log.dataset))

    final = final_predictions(log)
    overridden = pa.array(final.values(), pa.string()).take(_places(table, final))

    current = {outcome["key"]: outcome for outcome in log.outcomes_between(since, until)}
    results = [str(outcome["outcome"]) for outcome in current.values()]
    dates = [date.fromisoformat(outcome["date"]) for outcome in current.values()]
    numbers = [int(outcome["number"]) for outcome in current.values()]
    places = _places(table, current)

    columns = [
        pc.coalesce(overridden, table["prediction"]),
        pa.array(results, pa.string()).take(places),
        pa.array(dates, pa.date32()).take(places),
        pa.array(numbers, pa.int64()).take(places),
    ]
    return pa.table([*table.columns, *columns], schema=outcome_schema(log.dataset))


def _places(table: pa.Table, by_id: Collection[str]) -> pa.Array:
    """Return the place of each decision of a table among ids; null where it is not among them."""
    return pc.index_in(table["id"].combine_chunks(), pa.array(by_id, pa.string()))


def _ingest(
    log: DecisionLog, file: OutcomeFile, report: Callable[[str], None], **mark: str | None
) -> OutcomeImport:
    last_event = log.last_event()
    matcher = OutcomeMatcher(log, file.rows)
    matched, wrong = matcher.result()
    matched, contradicting = _without_contradictions(matched, file)
    report(f"{len(matched):,} rows belong to decisions that were accepted")

    again = any(event["sha256"] == file.sha256 for event in log.events(OUTCOMES))
    new, late = _new_outcomes(log, matched, again=again)

    faults, reasons = file.faults([*wrong, *contradicting])
    imported = OutcomeImport(
        upload=None,
        n_rows=file.n_rows,
        n_added=len(new),
        n_known=len(matched) - len(new),
        n_open=file.n_open,
        faults=faults,
        reasons=reasons,
        warnings=[*file.warnings, *_late_warning(late, file)],
    )

    # A file of known outcomes is marked as well, once, so that it is recognised when it is sent
    # again.
    if new or (matched and not again):
        imported.upload = str(ULID())
        mark |= {"sha256": file.sha256, **_counts(imported)}
        _commit(log, imported.upload, new, last_event, matcher.ids, mark)
        report(f"{len(new):,} outcomes written")
    return imported


def _counts(imported: OutcomeImport) -> dict[str, Any]:
    reasons = [
        {"column": column, "reason": reason, "n": n}
        for (column, reason), n in imported.reasons.items()
    ]
    return {
        "n_added": imported.n_added,
        "n_known": imported.n_known,
        "n_open": imported.n_open,
        "n_rejected": imported.n_rejected,
        "reasons": reasons,
    }


def _commit(
    log: DecisionLog,
    upload: str,
    new: Sequence[dict[str, Any]],
    last_event: int,
    ids: Collection[str],
    mark: dict[str, Any],
) -> None:
    """Write outcomes and then their mark, unless others wrote about these decisions meanwhile."""
    try:
        mark["outcomes_hash"] = log.write_outcomes(upload, new)
        for _ in attempts():
            newest = log.last_event()
            _refuse_overtaken(log, last_event, ids)
            with suppress(Conflict):
                log.append_event(OUTCOMES, upload, newest, **mark)
                return
    except LogUnavailable:
        raise  # the sweep removes what was written
    except Exception:
        log.discard_outcomes(upload)
        raise


def _refuse_overtaken(log: DecisionLog, last_event: int, ids: Collection[str]) -> None:
    """Raise when outcomes, or overrides of these decisions, were written after an event."""
    for event in log.events(after=last_event):
        overrides_one = event["kind"] == OVERRIDE and event["key"] in ids
        if overrides_one or event["kind"] == OUTCOMES:
            raise Conflict


def _without_contradictions(
    matched: Sequence[Match], file: OutcomeFile
) -> tuple[list[Match], list[Wrong]]:
    """Return the rows that no other row of the file contradicts, and the faults of the others.

    Rows contradict each other when they give one decision both outcomes on one date.
    """
    # The first row with each outcome of a decision on a date.
    firsts: dict[tuple[str, date], dict[str, OutcomeRow]] = {}
    for row, decision in matched:
        firsts.setdefault((decision.id, row.date), {}).setdefault(row.outcome, row)

    contradicted_by: dict[int, OutcomeRow] = {}
    for row, decision in matched:
        by_outcome = firsts[decision.id, row.date]
        if len(by_outcome) > 1:
            others = (first for outcome, first in by_outcome.items() if outcome != row.outcome)
            contradicted_by[row.number] = next(others)

    lines = file.lines({other.number for other in contradicted_by.values()})
    good: list[Match] = []
    wrong: list[Wrong] = []
    for row, decision in matched:
        other = contradicted_by.get(row.number)
        if other is None:
            good.append((row, decision))
            continue
        message = (
            f"line {lines[other.number]} says {other.outcome} of the same decision "
            "on the same date; keep the line that is true"
        )
        wrong.append((row.number, OUTCOME, row.outcome, InvalidValue("contradiction", message)))
    return good, wrong


def _late_warning(late: Sequence[OutcomeRow], file: OutcomeFile) -> list[str]:
    """Return a warning about rows with an older date than the outcome that stands, if any."""
    if not late:
        return []

    lines = file.lines({row.number for row in late[:NAMED_LINES]})
    named = ", ".join(str(lines[row.number]) for row in late[:NAMED_LINES])
    more = f" and {len(late) - NAMED_LINES:,} more" if len(late) > NAMED_LINES else ""
    return [
        "an outcome of a later date stands, and these older ones, which are kept, do not change "
        f"it: line {named}{more}. To correct an outcome, send it with its date or a later one"
    ]


def _new_outcomes(
    log: DecisionLog, matched: Sequence[Match], *, again: bool
) -> tuple[list[dict[str, Any]], list[OutcomeRow]]:
    """Return the outcomes that the log does not hold, and those rows among them that are late.

    A late row is older than the outcome that stands. When a file comes again, an outcome that the
    log held at any time is not new.
    """
    history: dict[str, list[tuple[str, str]]] = {}  # (date, outcome) of each decision, by date
    for known in log.outcomes_of({decision.id for _, decision in matched}):
        history.setdefault(known["key"], []).append((known["date"], known["outcome"]))

    new: list[dict[str, Any]] = []
    late: list[OutcomeRow] = []
    # By date, so that rows are late only compared with what the log held before the file.
    for row, decision in sorted(matched, key=lambda match: match[0].date):
        outcome = (row.date.isoformat(), row.outcome)
        earlier = history.setdefault(decision.id, [])
        current = earlier[-1] if earlier else ("", "")

        corrects = outcome[0] == current[0] and outcome != current and not again
        if outcome in earlier and not corrects:
            continue

        if outcome[0] < current[0]:
            late.append(row)
            earlier.insert(0, outcome)
        else:
            earlier.append(outcome)
        new.append(
            {
                "row": row.number,
                "key": decision.id,
                "decided": decision.time.isoformat(timespec="microseconds"),
                "outcome": row.outcome,
                "date": row.date.isoformat(),
            }
        )
    return new, late
