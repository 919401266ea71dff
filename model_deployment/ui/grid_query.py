"""The decisions of a batch as the page's table requests them: one page, sorted and filtered.

The table sends AG Grid's request of the infinite row model: `startRow`, `endRow`, `sortModel`,
`filterModel`.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from credit_risk.decision_log.batch import BatchRecord
from credit_risk.decision_log.log import DecisionLog
from credit_risk.decision_log.overrides import overrides_of_batch
from credit_risk.schema.attributes import Attribute, Labels
from credit_risk.texts import one_line
from model_deployment.ui.wording import in_words

# Batches of more rows are read again for each page, so that a process keeps at most some tens of
# MB of them.
KEPT_ROWS = 200_000
# Rows per page.
MAX_PAGE = 1000
# Conditions on one column; our table sends two.
MAX_CONDITIONS = 10

Asked = Mapping[str, Any]

_TEXT: dict[str, Callable[[Any, str], Any]] = {
    "contains": lambda column, text: pc.match_substring(column, text, ignore_case=True),
    "notContains": lambda column, text: pc.invert(
        pc.match_substring(column, text, ignore_case=True)
    ),
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
# The page shows these in percent, rounded to this many places, and filters by what it shows.
_PERCENT = {"risk": 1, "confidence": 0}
_HIDDEN = r"[\pC\p{Zl}\p{Zp}]+"
# How several conditions on a column are joined.
_JOINED = {"AND": pc.and_, "OR": pc.or_}
_ORDERS = {"asc": "ascending", "desc": "descending"}


class Rows:
    """The decisions of batches, with their overrides.

    Parameters
    ----------
    log : DecisionLog
        Holds the decisions. Every method may raise `LogUnavailable`.
    labels : str
        What people read of a recorded value first. They sort and filter by what they read.
    """

    def __init__(self, log: DecisionLog, labels: Labels) -> None:
        self._log = log
        self._labels = labels
        # A batch never changes once it is committed; its overrides are read each time.
        self._kept = lru_cache(maxsize=4)(self._read)

    def table(self, record: BatchRecord) -> pa.Table:
        """Return a batch's decisions, as `DecisionLog.read` returns them, with `override`.

        Warnings are one text per row, and rows count from 1.
        """
        table = self._kept(record) if record.n_decided <= KEPT_ROWS else self._read(record)
        events = overrides_of_batch(self._log, record.id)
        if not events:
            return table.append_column("override", pa.repeat("", table.num_rows))

        words = {
            id: f"{event['prediction']} by {one_line(event['by'])}" for id, event in events.items()
        }
        ids = pa.array(list(words), pa.string())
        texts = pa.array(list(words.values()), pa.string())
        places = pc.index_in(table["id"], value_set=ids)
        return table.append_column("override", pc.fill_null(texts.take(places), ""))

    def page(self, record: BatchRecord, asked: Asked) -> tuple[list[dict[str, Any]], int]:
        """Return one page of a batch's rows.

        Returns
        -------
        rows : list of dict
            At most `MAX_PAGE`.
        n : int
            How many rows pass the filters.

        Raises
        ------
        LookupError, TypeError, ValueError
            When no table sends such a request.
        """
        table = _filtered(self.table(record), asked.get("filterModel") or {})
        start = max(int(asked.get("startRow") or 0), 0)
        size = min(max(int(asked.get("endRow") or 0) - start, 0), MAX_PAGE)

        orders = {key["colId"]: _ORDERS[key["sort"]] for key in asked.get("sortModel") or []}
        if not orders:
            return table.slice(start, size).to_pylist(), table.num_rows
        # Rows that are equal stay in the file's order.
        chosen = pc.sort_indices(table, [*orders.items(), ("row", "ascending")])
        return table.take(chosen.slice(start, size)).to_pylist(), table.num_rows

    def _read(self, record: BatchRecord) -> pa.Table:
        table = self._log.read(record).combine_chunks()
        shown = {
            # As `one_line` does.
            "client_id": pc.replace_substring_regex(table["client_id"], _HIDDEN, " "),
            "warnings": pc.binary_join(table["warnings"], "; "),
            "row": pc.add(table["row"], 1),
        }
        for name, column in shown.items():
            table = table.set_column(table.schema.get_field_index(name), name, column)
        for attribute in self._log.dataset.attributes:
            if attribute.categories and attribute.has_meanings:
                column = _in_words(table[attribute.name], attribute, self._labels)
                place = table.schema.get_field_index(attribute.name)
                table = table.set_column(place, attribute.name, column)
        return table


def _in_words(column: pa.ChunkedArray, attribute: Attribute, labels: Labels) -> pa.Array:
    """Return recorded values as people read them, what stands behind in brackets."""
    coded = pc.dictionary_encode(column.combine_chunks())
    words = [in_words(attribute, value, labels) for value in coded.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(coded.indices)


def _filtered(table: pa.Table, filters: Mapping[str, Any]) -> pa.Table:
    for name, asked in filters.items():
        column = table[name]
        if name in _PERCENT:
            column = pc.round(pc.multiply(column, 100.0), _PERCENT[name])

        conditions = _bounded(asked.get("conditions") or [asked])
        mask, *others = [_condition(column, one) for one in conditions]
        for other in others:
            mask = _JOINED[asked["operator"]](mask, other)
        table = table.filter(mask)
    return table


def _bounded(conditions: list[Any]) -> list[Any]:
    if len(conditions) > MAX_CONDITIONS:
        raise ValueError(f"at most {MAX_CONDITIONS} conditions are joined")
    return conditions


def _condition(column: pa.ChunkedArray, asked: Mapping[str, Any]) -> Any:
    """Return which rows of a column meet a condition, as a mask without nulls."""
    kind = asked["type"]
    is_text = pa.types.is_string(column.type)

    if kind in _EMPTY:
        blank = pc.is_null(column)
        if is_text:
            blank = pc.or_kleene(blank, pc.equal(column, ""))
        return _EMPTY[kind](blank)

    if is_text:
        return pc.fill_null(_TEXT[kind](pc.fill_null(column, ""), str(asked["filter"])), False)
    if kind == "inRange":
        low, high = float(asked["filter"]), float(asked["filterTo"])
        within = pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))
        return pc.fill_null(within, False)
    return pc.fill_null(_NUMBER[kind](column, float(asked["filter"])), False)
