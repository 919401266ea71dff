"""What became of the clients who got their loan: repaid or defaulted, told long after the decision.

An outcome belongs to a decision whose final word, after overrides, is green: who was refused has none. Outcomes come in
files (CSV); the good rows of a file are taken together, with one event in the decision log as their commit mark, or
none of them is. Nothing is updated in place: all are kept, and of a decision's outcomes the one with the latest date
stands; of one date, the one that came last.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ulid import ULID

from credit_risk.decision_log.batch import DECISION_SCHEMA, OPEN, Brief
from credit_risk.decision_log.events import OUTCOMES
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import DATE, DECISION_ID, OUTCOME, OutcomeFile, OutcomeRow, Wrong
from credit_risk.decision_log.overrides import OVERRIDE
from credit_risk.schema.attributes import CLIENT_ID, GREEN
from credit_risk.schema.csv_reader import Data
from credit_risk.schema.faults import Fault, Invalid, Kind, kinds
from credit_risk.schema.formulas import harmless_text
from credit_risk.schema.spelling.ids import parsed
from credit_risk.storage.documents import LogUnavailable

# How often a file is looked at anew because somebody else's outcomes or overrides came first.
ATTEMPTS = 10
NAMED_DECISIONS = 10
NAMED_LINES = 10
_SHOWN = 60  # characters of an id

# A row of a file, and the decision that it is about.
Match = tuple[OutcomeRow, Brief]

OUTCOME_SCHEMA = pa.schema(
    [
        *DECISION_SCHEMA,
        ("final", pa.string()),
        ("outcome", pa.string()),
        ("outcome_date", pa.date32()),
        ("outcome_number", pa.int64()),
    ]
)


@dataclass
class Taken:
    """What one file of outcomes came to.

    Attributes
    ----------
    upload : str or None
        The id of what was added to the log; None when nothing was.
    n_rows, n_added, n_known, n_open : int
        Rows of the file, those that were added, those that say what the log holds already, and those that have neither
        outcome nor date.
    faults : list of Fault
        What is wrong with the other rows, at most a thousand.
    reasons : dict
        How many faults of each (column, reason).
    warnings : list of str
        What to tell the sender beside.
    """

    upload: str | None
    n_rows: int
    n_added: int = 0
    n_known: int = 0
    n_open: int = 0
    faults: list[Fault] = field(default_factory=list)
    reasons: dict[tuple[str, str], int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def n_rejected(self) -> int:
        """How many rows were rejected."""
        return self.n_rows - self.n_added - self.n_known - self.n_open

    @property
    def kinds(self) -> list[Kind]:
        """What is wrong with rows, by kind."""
        return kinds(self.faults, self.reasons)


class _Overtaken(Exception):
    """Other outcomes or overrides came while a file was looked at."""


def take(
    log: DecisionLog,
    data: Data,
    source: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    *,
    caller: str = OPEN,
) -> Taken:
    """Take the outcomes of a CSV into the log: the good rows all together, or none.

    The order of rows does not matter: the later date stands. An older date than the one that stands is kept and changes
    nothing, with a warning. Rows that give one decision both outcomes on one date are all rejected. A row that says
    what the log holds adds nothing, but for a correction of what stands on that date. A file that was sent before adds
    only what the log never held, so that sending it twice does not undo a correction that came in between.

    Parameters
    ----------
    data : bytes or memoryview
        A CSV of `decision_id` or `client_id`, `outcome` (repaid or defaulted) and `date` (see `dates`). A row that has
        neither outcome nor date is that of a loan that is still open.
    source : str, optional
        The file's name, for the log.
    say : callable, optional
        Is told how far it is, in words.
    caller : str
        Who sent it, for the log.

    Raises
    ------
    Unreadable
        When it is no such CSV at all.
    LogUnavailable
        When the log cannot be read or written; then nothing was taken.
    """
    file = OutcomeFile(data)
    say(f"{file.n_rows:,} rows read, {len(file.rows):,} of them complete, {file.n_open:,} still open")
    for _ in range(ATTEMPTS):
        try:
            return _take(log, file, say, source=source, caller=caller)
        except _Overtaken:
            say("others wrote meanwhile; looking again")
    raise LogUnavailable("too many files of outcomes or overrides come at once")


def outcomes(log: DecisionLog, id: str) -> list[dict[str, Any]]:
    """Return all outcomes of a decision by date, the last one stands.

    Each has `outcome`, `date`, `number`, `upload`, `row` and `caller`, who sent it.
    """
    return log.outcomes_of([id])


def read_outcomes(log: DecisionLog, since: datetime, until: datetime) -> pa.Table:
    """Return all decisions of a period, each with its final word and its standing outcome.

    Those without an outcome are in it too: realised figures of a vintage need to know how many are still open, and
    which decisions were refused. Previews are left out.

    Parameters
    ----------
    since, until : datetime
        When the decisions were made, aware: from `since` up to, but without, `until`.

    Returns
    -------
    pyarrow.Table
        The columns of `OUTCOME_SCHEMA`: those of a decision, then `final` (what holds after overrides), and `outcome`
        (`repaid` or `defaulted`), `outcome_date` and `outcome_number` (of the event it came with), null where nothing
        is known. An outcome stays when its decision is overridden to red later: look at `final`.

    Examples
    --------
    >>> table = read_outcomes(log, since, until)  # doctest: +SKIP
    >>> funded = table.filter(pc.field("final") == "green")  # doctest: +SKIP
    >>> funded["outcome"].value_counts()  # doctest: +SKIP
    """
    table = log.read(*log.between(since, until))
    final = _finals(log)
    standing = {o["key"]: o for o in log.outcomes_between(since, until)}
    words, dates, numbers = (
        [read(o[name]) for o in standing.values()]
        for name, read in (("outcome", str), ("date", date.fromisoformat), ("number", int))
    )
    at = _places(table, standing)
    overridden = pa.array(final.values(), pa.string()).take(_places(table, final))
    columns = [
        pc.coalesce(overridden, table["prediction"]),
        pa.array(words, pa.string()).take(at),
        pa.array(dates, pa.date32()).take(at),
        pa.array(numbers, pa.int64()).take(at),
    ]
    return pa.table([*table.columns, *columns], schema=OUTCOME_SCHEMA)


def _places(table: pa.Table, by_id: Collection[str]) -> pa.Array:
    """Return where each decision of a table stands among ids; null where it does not."""
    return pc.index_in(table["id"].combine_chunks(), pa.array(by_id, pa.string()))


def _finals(log: DecisionLog) -> dict[str, str]:
    """Return what people made of decisions, by id. They are few: a person wrote each."""
    return {event["key"]: event["prediction"] for event in log.events(OVERRIDE)}


def _take(log: DecisionLog, file: OutcomeFile, say: Callable[[str], None], **mark: str | None) -> Taken:
    seen = log.last_event()
    match = _Match(log, file.rows)
    matched, wrong = match.result()
    matched, contradicted = _without_contradictions(matched, file)
    wrong += contradicted
    say(f"{len(matched):,} rows belong to decisions that were accepted")
    again = any(mark["sha256"] == file.sha256 for mark in log.events(OUTCOMES))
    new, late = _new(log, matched, again=again)
    faults, reasons = file.faults(wrong)
    warnings = [*file.warnings, *_late_warning(late, file)]
    taken = Taken(None, file.n_rows, len(new), len(matched) - len(new), file.n_open, faults, reasons, warnings)
    # A file of known outcomes is marked too, once: when it comes again, it is known to have come.
    if new or (matched and not again):
        taken.upload = str(ULID())
        _commit(log, taken, new, lambda: _refuse_overtaken(log, seen, match.ids), sha256=file.sha256, **mark)
        say(f"{len(new):,} outcomes written")
    return taken


def _commit(
    log: DecisionLog, taken: Taken, new: Sequence[dict[str, Any]], before: Callable[[], None], **mark: Any
) -> None:
    assert taken.upload is not None
    counts = {name: getattr(taken, name) for name in ("n_added", "n_known", "n_open", "n_rejected")}
    reasons = [{"column": column, "reason": reason, "n": n} for (column, reason), n in taken.reasons.items()]
    log.commit_outcomes(taken.upload, new, before, **mark, **counts, reasons=reasons)


def _refuse_overtaken(log: DecisionLog, seen: int, ids: Collection[str]) -> None:
    """Refuse to go on when what was looked at has changed: after an event, other outcomes, or overrides of these."""
    for event in log.events(after=seen):
        if event["kind"] == OUTCOMES or (event["kind"] == OVERRIDE and event["key"] in ids):
            raise _Overtaken


def _without_contradictions(matched: Sequence[Match], file: OutcomeFile) -> tuple[list[Match], list[Wrong]]:
    """Return the rows that agree with all others of the file, and what is wrong with those that do not."""
    firsts: dict[tuple[str, date], dict[str, OutcomeRow]] = {}  # of a day, by what they say
    for row, decision in matched:
        firsts.setdefault((decision.id, row.date), {}).setdefault(row.outcome, row)
    against = {
        row.number: next(first for word, first in said.items() if word != row.outcome)
        for row, decision in matched
        if len(said := firsts[decision.id, row.date]) > 1
    }
    lines = file.lines({row.number for row in against.values()})
    wrong: list[Wrong] = []
    for row, _ in matched:
        if other := against.get(row.number):
            message = (
                f"line {lines[other.number]} says {other.outcome} of the same decision on the same date; keep the line "
                "that is true"
            )
            wrong.append((row.number, OUTCOME, row.outcome, Invalid("contradiction", message)))
    return [match for match in matched if match[0].number not in against], wrong


def _late_warning(late: Sequence[OutcomeRow], file: OutcomeFile) -> list[str]:
    """Return what is to be said of rows whose date is before that of the outcome that stands."""
    if not late:
        return []
    lines = file.lines({row.number for row in late[:NAMED_LINES]})
    named = ", ".join(str(lines[row.number]) for row in late[:NAMED_LINES])
    more = f" and {len(late) - NAMED_LINES:,} more" if len(late) > NAMED_LINES else ""
    return [
        "an outcome of a later date stands, and these older ones, which are kept, do not change it: "
        f"line {named}{more}. To correct an outcome, send it with its date or a later one"
    ]


def _new(log: DecisionLog, matched: Sequence[Match], *, again: bool) -> tuple[list[dict[str, Any]], list[OutcomeRow]]:
    """Return the outcomes that the log does not hold, and those rows of them that are older than what stands.

    Of a file that came before, nothing is new that the log held at any time.
    """
    past: dict[str, list[tuple[str, str]]] = {}
    for known in log.outcomes_of({decision.id for _, decision in matched}):
        past.setdefault(known["key"], []).append((known["date"], known["outcome"]))
    new, late = [], []
    # By date, so that rows of one file are late only beside what came before the file.
    for row, decision in sorted(matched, key=lambda match: match[0].date):
        said = (row.date.isoformat(), row.outcome)
        before = past.setdefault(decision.id, [])
        standing = before[-1] if before else ("", "")
        corrects = said[0] == standing[0] and said != standing and not again
        if said in before and not corrects:
            continue
        if said[0] < standing[0]:
            late.append(row)
            before.insert(0, said)
        else:
            before.append(said)
        when = decision.time.isoformat(timespec="microseconds")
        new.append({"row": row.number, "key": decision.id, "decided": when, "outcome": said[1], "date": said[0]})
    return new, late


def _spellings(client_id: str) -> tuple[str, ...]:
    """Return how a logged id may stand in a file: as a float was kept, or as a download makes it harmless."""
    return parsed(client_id)[0], client_id, harmless_text(client_id)


class _Match:
    """Finds the decision that each row is about; `ids` are those of all decisions that were looked at."""

    def __init__(self, log: DecisionLog, rows: Sequence[OutcomeRow]) -> None:
        self._rows = rows
        self._by_id = log.briefs({row.decision_id for row in rows if row.decision_id})
        self._by_client: dict[str, list[Brief]] = {}
        keys = {row.client_id for row in rows if row.client_id and not row.decision_id}
        # As ids of numbers were kept before they were told from floats.
        keys |= {f"{key}.0" for key in keys if key.isdecimal()}
        for decision in log.briefs_of(keys) if keys else []:
            self._by_client.setdefault(parsed(str(decision.client_id))[0], []).append(decision)
        self._final: Mapping[str, str] = _finals(log)
        # Sorted once for each client: a file may name one who has many decisions in each of its rows.
        self._funded_of = {client: self._sorted(decisions) for client, decisions in self._by_client.items()}
        self.ids = self._by_id.keys() | {d.id for decisions in self._by_client.values() for d in decisions}

    def result(self) -> tuple[list[Match], list[Wrong]]:
        """Return the rows with their decisions, and what is wrong with the others: row, column, value, why."""
        matched: list[Match] = []
        wrong: list[Wrong] = []
        for row in self._rows:
            column, value = (DECISION_ID, row.decision_id) if row.decision_id else (CLIENT_ID, row.client_id)
            try:
                decision = self._decision(row) if row.decision_id else self._decision_of_client(row)
                self._check_date(row, decision)
            except Invalid as error:
                at_date = error.reason == "before_decision"
                wrong.append((row.number, DATE if at_date else column, str(row.date) if at_date else value, error))
            else:
                matched.append((row, decision))
        return matched, wrong

    def _decision(self, row: OutcomeRow) -> Brief:
        decision = self._by_id.get(row.decision_id)
        if decision is None:
            raise Invalid("unknown_decision", f"there is no decision {row.decision_id[:_SHOWN]}")
        if decision.kind == "preview":
            raise Invalid("preview", f"{decision.id} is a preview, on which nothing rests")
        if row.client_id and row.client_id not in _spellings(decision.client_id or ""):
            raise Invalid("other_client", f"decision {decision.id} is on another client than client_id says")
        if not self._funded(decision):
            raise Invalid("refused", f"decision {decision.id} is red: who was refused has no outcome")
        return decision

    def _decision_of_client(self, row: OutcomeRow) -> Brief:
        """Return the one accepted decision on a client that is not after the outcome; of several none is guessed."""
        funded = self._funded_of.get(row.client_id)
        if funded is None:
            raise Invalid("unknown_client", "there is no decision on this client")
        if not funded:
            raise Invalid("refused", "every decision on this client is red: who was refused has no outcome")
        n_before = bisect_right(funded, row.date, key=lambda d: d.time.date())
        if n_before > 1:
            message = f"this client has {n_before} accepted decisions; say which one in {DECISION_ID}"
            named = funded[max(n_before - NAMED_DECISIONS, 0) : n_before]
            raise Invalid("ambiguous_client", message, [d.id for d in named])
        return funded[0]

    def _sorted(self, decisions: Iterable[Brief]) -> list[Brief]:
        """Return those that were accepted, by time."""
        return sorted((d for d in decisions if self._funded(d)), key=lambda d: d.time)

    def _funded(self, decision: Brief) -> bool:
        return self._final.get(decision.id, decision.prediction) == GREEN

    def _check_date(self, row: OutcomeRow, decision: Brief) -> None:
        decided = decision.time.astimezone(UTC).date()
        if row.date < decided:
            allowed = {"format": "date", "minimum": str(decided), "maximum": str(datetime.now(UTC).date())}
            raise Invalid("before_decision", f"date {row.date} is before the decision, of {decided}", allowed)
