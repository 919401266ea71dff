"""What happened after the decisions: events, approvals and outcomes, none of which is ever changed."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from credit_risk.decision_log import codec
from credit_risk.storage.documents import Document, Documents, DuplicateId, LogUnavailable

# So many values are looked up, and so many outcomes written, at once: others get in between.
AT_ONCE = 1000
OUTCOMES = "outcomes"


class EventLog:
    """Events and approvals, each under the next number, and outcomes. Every method may raise `LogUnavailable`.

    Parameters
    ----------
    documents : Documents
        Holds all of them.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    # Events: overrides, uploads of outcomes, registered versions

    def append_event(
        self, kind: str, key: str, before: Callable[[], None] = lambda: None, /, **fields: Any
    ) -> dict[str, Any]:
        """Append an event about a decision or a model version, and return it with its number `_id` and `time`.

        `before` is called before each try to write it: whatever event it does not see yet comes after this one. What
        it raises keeps the event from being written.
        """
        return self._append_event("events", kind, key, fields, before)

    def events(
        self, kind: str | None = None, key: str | None = None, after: int = 0, *, batch: str | None = None
    ) -> list[dict[str, Any]]:
        """Return events in order, of one kind, about one key or any decision of a batch, after one number."""
        where: dict[str, Any] = {"_id": {"$gt": after}}
        where |= ({"kind": kind} if kind else {}) | ({"key": key} if key else {})
        if batch:
            where["key"] = codec.ids_between(batch, batch)
        return list(self._documents.find("events", where))

    def events_about(self, kind: str, keys: Collection[str]) -> list[dict[str, Any]]:
        """Return the events of one kind about any of these keys, in order."""
        found = self._find_in("events", "key", sorted(keys))
        return sorted((event for event in found if event["kind"] == kind), key=lambda event: int(event["_id"]))

    def last_event(self) -> int:
        """Return the number of the newest event; 0 when there is none."""
        return self._documents.last("events")

    # What people decided on Production: of its own, for only the approver's credential may write there

    def append_approval(self, kind: str, key: str, **fields: Any) -> dict[str, Any]:
        """Append what a person decided about a model version, and return it with its number `_id` and `time`."""
        return self._append_event("approvals", kind, key, fields)

    def approvals(self) -> list[dict[str, Any]]:
        """Return all of them in order."""
        return list(self._documents.find("approvals", {}))

    # Outcomes: one document each, and an event as the commit mark of all that came together

    def commit_outcomes(
        self, upload: str, outcomes: Sequence[Mapping[str, Any]], before: Callable[[], None], **mark: Any
    ) -> dict[str, Any]:
        """Write outcomes and then their mark, an event of kind `outcomes`; what raises leaves none of them.

        Parameters
        ----------
        upload : str
            A ULID; the mark's key.
        outcomes : sequence of mapping
            Each with `row`, `key` (a decision's id), `decided` (its time), `outcome` and `date`.
        before : callable
            See `append_event`.
        **mark
            Further fields of the mark.
        """
        documents = [
            {"_id": f"{upload}-{o['row']}", "upload": upload, "batch": o["key"].rpartition("-")[0], **o}
            for o in outcomes
        ]
        try:
            for at in range(0, len(documents), AT_ONCE):
                self._documents.insert("outcomes", documents[at : at + AT_ONCE])
            return self.append_event(OUTCOMES, upload, before, **mark)
        except LogUnavailable:
            raise  # the sweep removes what was written
        except Exception:
            self._documents.delete("outcomes", {"upload": upload})
            raise

    def outcomes_of(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Return the outcomes of these decisions that were committed, by date and then as they came.

        Of one decision the last stands. `number` is that of the mark an outcome came with.
        """
        wanted = frozenset(ids)
        few = len(wanted) <= AT_ONCE
        values = wanted if few else {id.rpartition("-")[0] for id in wanted}
        found = self._find_in("outcomes", "key" if few else "batch", sorted(values))
        return self._committed(d for d in found if d["key"] in wanted)

    def outcomes_between(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Return the outcomes of decisions that were made from one time up to another, as `outcomes_of` does."""
        return self._committed(self._documents.find("outcomes", codec.times(since, until, "decided"), "decided"))

    def outcomes_in(self, upload: str) -> list[dict[str, Any]]:
        """Return the outcomes that came with one mark, its key, by date and then as they stood in the file."""
        return sorted(self._documents.find("outcomes", {"upload": upload}), key=lambda d: (d["date"], d["row"]))

    def _committed(self, outcomes: Iterable[Document]) -> list[dict[str, Any]]:
        found = list(outcomes)
        # The marks are read after what they mark: an outcome whose mark came in between is there whole.
        marks = {event["key"]: event for event in self.events(OUTCOMES)} if found else {}
        marked = [
            d | {"number": mark["_id"], "caller": mark.get("caller")} for d in found if (mark := marks.get(d["upload"]))
        ]
        return sorted(marked, key=lambda d: (d["date"], d["number"], d["row"]))

    def _append_event(
        self,
        collection: str,
        kind: str,
        key: str,
        fields: Mapping[str, Any],
        before: Callable[[], None] = lambda: None,
    ) -> Document:
        event = {"kind": kind, "key": key, "time": datetime.now(UTC).isoformat(timespec="microseconds"), **fields}
        written = self._append(collection, event, before)
        self._documents.flush(now=True)
        return written

    def _append(self, collection: str, document: Document, before: Callable[[], None] = lambda: None) -> Document:
        """Add a document under the next number; of two writers, one gets it and the other tries the one after."""
        for attempt in range(200):
            last = self._documents.last(collection)
            before()  # between the look and the write: whatever comes after the look takes the number, and we come back
            numbered = {"_id": last + 1, **document}
            try:
                self._documents.insert(collection, [numbered])
            except DuplicateId:
                time.sleep(0.001 * min(attempt, 20))
                continue
            return numbered
        raise LogUnavailable(f"no number could be had in {collection}: too many writers at once")

    def _find_in(self, collection: str, field: str, values: Sequence[str]) -> Iterator[Document]:
        for at in range(0, len(values), AT_ONCE):
            yield from self._documents.find(collection, {field: {"$in": list(values[at : at + AT_ONCE])}}, field)
