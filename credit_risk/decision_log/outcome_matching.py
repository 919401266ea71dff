"""Finds the decision that each row of a file of outcomes is about."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from credit_risk.decision_log.batch import DecisionSummary
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.outcome_file import DATE, DECISION_ID, OutcomeRow, Wrong
from credit_risk.decision_log.overrides import final_predictions
from credit_risk.schema.attributes import CLIENT_ID, GREEN
from credit_risk.schema.faults import InvalidValue
from credit_risk.schema.formulas import escape_formula
from credit_risk.schema.spelling.ids import parsed

NAMED_DECISIONS = 10
_SHOWN = 60  # characters of an id

# A row of a file, and the decision that it is about.
Match = tuple[OutcomeRow, DecisionSummary]


class OutcomeMatcher:
    """Matches rows with the decisions in the log.

    Attributes
    ----------
    ids : set of str
        The ids of all decisions that the rows may be about.
    """

    def __init__(self, log: DecisionLog, rows: Sequence[OutcomeRow]) -> None:
        self._rows = rows
        self._by_id = log.summaries({row.decision_id for row in rows if row.decision_id})
        by_client = _decisions_by_client(log, rows)
        self._final = final_predictions(log)

        # Sorted once for each client: a file may name a client with many decisions in every row.
        self._accepted = {
            client: self._accepted_by_time(decisions) for client, decisions in by_client.items()
        }

        self.ids = set(self._by_id)
        for decisions in by_client.values():
            self.ids.update(decision.id for decision in decisions)

    def result(self) -> tuple[list[Match], list[Wrong]]:
        """Return the rows with their decisions, and what is wrong with the others.

        A fault has the number of the row, the column, the value, and the error.
        """
        matched: list[Match] = []
        wrong: list[Wrong] = []
        for row in self._rows:
            try:
                decision = self._decision(row) if row.decision_id else self._decision_of_client(row)
            except InvalidValue as error:
                if row.decision_id:
                    wrong.append((row.number, DECISION_ID, row.decision_id, error))
                else:
                    wrong.append((row.number, CLIENT_ID, row.client_id, error))
                continue

            try:
                _check_date(row, decision)
            except InvalidValue as error:
                wrong.append((row.number, DATE, str(row.date), error))
            else:
                matched.append((row, decision))
        return matched, wrong

    def _decision(self, row: OutcomeRow) -> DecisionSummary:
        decision = self._by_id.get(row.decision_id)
        if decision is None:
            raise InvalidValue(
                "unknown_decision", f"there is no decision {row.decision_id[:_SHOWN]}"
            )
        if decision.kind != "decision":
            part = f"{decision.id} is part of a {decision.kind}"
            raise InvalidValue(decision.kind, f"{part}: it is not a decision on an application")
        if row.client_id and row.client_id not in _spellings(decision.client_id or ""):
            raise InvalidValue(
                "other_client", f"decision {decision.id} is on another client than client_id says"
            )
        if not self._is_accepted(decision):
            raise InvalidValue(
                "refused", f"decision {decision.id} is red: who was refused has no outcome"
            )
        return decision

    def _decision_of_client(self, row: OutcomeRow) -> DecisionSummary:
        """Return the one accepted decision on a client that is not after the outcome.

        Where there are several, it does not guess, but raises.
        """
        accepted = self._accepted.get(row.client_id)
        if accepted is None:
            raise InvalidValue("unknown_client", "there is no decision on this client")
        if not accepted:
            raise InvalidValue(
                "refused", "every decision on this client is red: who was refused has no outcome"
            )

        n_before = bisect_right(accepted, row.date, key=lambda d: d.time.date())
        if n_before > 1:
            message = (
                f"this client has {n_before} accepted decisions; say which one in {DECISION_ID}"
            )
            latest = accepted[max(n_before - NAMED_DECISIONS, 0) : n_before]
            raise InvalidValue("ambiguous_client", message, [d.id for d in latest])
        return accepted[0]

    def _accepted_by_time(self, decisions: Collection[DecisionSummary]) -> list[DecisionSummary]:
        return sorted((d for d in decisions if self._is_accepted(d)), key=lambda d: d.time)

    def _is_accepted(self, decision: DecisionSummary) -> bool:
        return self._final.get(decision.id, decision.prediction) == GREEN


def _decisions_by_client(
    log: DecisionLog, rows: Sequence[OutcomeRow]
) -> dict[str, list[DecisionSummary]]:
    """Return the decisions on the clients that rows name without a decision's id."""
    clients = {row.client_id for row in rows if row.client_id and not row.decision_id}
    # Numeric ids were once stored as floats.
    clients |= {f"{client}.0" for client in clients if client.isdecimal()}
    if not clients:
        return {}

    found: dict[str, list[DecisionSummary]] = {}
    for decision in log.summaries_of(clients):
        client = parsed(str(decision.client_id))[0]
        found.setdefault(client, []).append(decision)
    return found


def _spellings(client_id: str) -> tuple[str, ...]:
    """Return the ways a logged id may be written in a file.

    It may have been stored as a float, or escaped by a download.
    """
    return parsed(client_id)[0], client_id, escape_formula(client_id)


def _check_date(row: OutcomeRow, decision: DecisionSummary) -> None:
    decided = decision.time.astimezone(UTC).date()
    if row.date < decided:
        today = datetime.now(UTC).date()
        allowed = {"format": "date", "minimum": str(decided), "maximum": str(today)}
        raise InvalidValue(
            "before_decision", f"date {row.date} is before the decision, of {decided}", allowed
        )
