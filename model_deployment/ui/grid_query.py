"""The decisions of a batch as the page's table asks for them: a page at a time, sorted and filtered.

What the table asks is AG Grid's request of the infinite row model: `startRow`, `endRow`, `sortModel`, `filterModel`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import overrides_of_batch
from credit_risk.texts import one_line

# Batches of more rows are read again for each page: a process holds no more than some tens of MB of them.
KEPT_ROWS = 200_000
MAX_PAGE = 1000
# Conditions on one column; our table asks two.
MAX_CONDITIONS = 10

Asked = Mapping[str, Any]

_TEXT: dict[str, Callable[[Any, str], Any]] = {
    "contains": lambda column, text: pc.match_substring(column, text, ignore_case=True),
    "notContains": lambda column, text: pc.invert(pc.match_substring(column, text, ignore_case=True)),
    "equals": lambda column, text: pc.equal(pc.utf8_lower(column), text.lower()),
    "notEqual": lambda column, text: pc.not_equal(pc.utf8_lower(column), text.lower()),
    "startsWith": lambda column, text: pc.starts_with(column, text, ignore_case=True),
    "endsWith": lambda column, text: pc.ends_with(column, text, ignore_case=True),
}
_NUMBER = {
    "equals": pc.equal,
    "notEqual": pc.not_equal,
    "lessThan": pc.less,
    "lessThanOrEqual": pc.less_equal,
    "greaterThan": pc.greater,
    "greaterThanOrEqual": pc.greater_equal,
}
_EMPTY = {"blank": lambda blank: blank, "notBlank": pc.invert}
# Of these people see a percentage, rounded to so many places, and filter by what they see.
_PERCENT = {"risk": 1, "confidence": 0}
_HIDDEN = r"[\pC\p{Zl}\p{Zp}]+"
# So many filters of a column are joined, by and or by or.
_JOINED = {"AND": pc.and_, "OR": pc.or_}
_ORDERS = {"asc": "ascending", "desc": "descending"}


class Rows:
    """The decisions of batches, with their overrides.

    Parameters
    ----------
    log : DecisionLog
        Where they are. Every method may raise `LogUnavailable`.
    """

    def __init__(self, log: DecisionLog) -> None:
        self._log = log
        # A batch never changes once it is committed; its overrides are looked up anew each time.
        self._kept = lru_cache(maxsize=4)(self._read)

    def table(self, record: BatchRecord) -> pa.Table:
        """Return a batch's decisions: `DECISION_SCHEMA`, with warnings as text, rows from 1, and `override`."""
        table = self._kept(record) if record.n_decided <= KEPT_ROWS else self._read(record)
        events = overrides_of_batch(self._log, record.id)
        if not events:
            return table.append_column("override", pa.repeat("", table.num_rows))
        words = {id: f"{event['prediction']} by {one_line(event['by'])}" for id, event in events.items()}
        places = pc.index_in(table["id"], value_set=pa.array(list(words), pa.string()))
        return table.append_column(
            "override", pc.fill_null(pa.array(list(words.values()), pa.string()).take(places), "")
        )

    def page(self, record: BatchRecord, asked: Asked) -> tuple[list[dict[str, Any]], int]:
        """Return the rows that are asked for, at most `MAX_PAGE`, and how many there are with these filters.

        Raises
        ------
        LookupError, TypeError, ValueError
            When it is nothing that a table asks.
        """
        table = self.table(record)
        table = _filtered(table, asked.get("filterModel") or {})
        start = max(int(asked.get("startRow") or 0), 0)
        size = min(max(int(asked.get("endRow") or 0) - start, 0), MAX_PAGE)
        order = list({key["colId"]: _ORDERS[key["sort"]] for key in asked.get("sortModel") or []}.items())
        if order:
            # Rows that are equal stay in the file's order.
            chosen = pc.sort_indices(table, [*order, ("row", "ascending")]).slice(start, size)
            return table.take(chosen).to_pylist(), table.num_rows
        return table.slice(start, size).to_pylist(), table.num_rows

    def _read(self, record: BatchRecord) -> pa.Table:
        table = self._log.read(record).combine_chunks()
        names = table.schema.names
        shown = pc.replace_substring_regex(table["client_id"], _HIDDEN, " ")  # as `one_line` has it
        table = table.set_column(names.index("client_id"), "client_id", shown)
        table = table.set_column(names.index("warnings"), "warnings", pc.binary_join(table["warnings"], "; "))
        return table.set_column(names.index("row"), "row", pc.add(table["row"], 1))


def _filtered(table: pa.Table, filters: Mapping[str, Any]) -> pa.Table:
    for name, asked in filters.items():
        column = table[name]
        if name in _PERCENT:
            column = pc.round(pc.multiply(column, 100.0), _PERCENT[name])
        conditions = [_condition(column, one) for one in _bounded(asked.get("conditions") or [asked])]
        mask = conditions[0]
        for other in conditions[1:]:
            mask = _JOINED[asked["operator"]](mask, other)
        table = table.filter(mask)
    return table


def _bounded(conditions: list[Any]) -> list[Any]:
    if len(conditions) > MAX_CONDITIONS:
        raise ValueError(f"at most {MAX_CONDITIONS} conditions are joined")
    return conditions


def _condition(column: pa.ChunkedArray, asked: Mapping[str, Any]) -> Any:
    kind = asked["type"]
    text = pa.types.is_string(column.type)
    if kind in _EMPTY:
        blank = pc.or_kleene(pc.is_null(column), pc.equal(column, "")) if text else pc.is_null(column)
        return _EMPTY[kind](blank)
    if text:
        return pc.fill_null(_TEXT[kind](pc.fill_null(column, ""), str(asked["filter"])), False)
    if kind == "inRange":
        low, high = float(asked["filter"]), float(asked["filterTo"])
        within = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
        return pc.fill_null(within, False)
    return pc.fill_null(_NUMBER[kind](column, float(asked["filter"])), False)
