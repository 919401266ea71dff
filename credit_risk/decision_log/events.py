"""What happened after the decisions: events, approvals, outcomes and reports; never changed."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ulid import ULID

from credit_risk.decision_log import codec
from credit_risk.decision_log.chains import numbered
from credit_risk.decision_log.chains.hashes import document_hash, joint_hash
from credit_risk.storage.documents import CLIENTS, Document, Documents

# Values looked up, or outcomes written, per query, so that other writers get a turn in between.
AT_ONCE = 1000
OUTCOMES = "outcomes"


def outcomes_hash(outcomes: Iterable[Document]) -> str:
    """Return the hash over the outcomes of one upload, in the order of its rows."""
    in_order = sorted(outcomes, key=lambda outcome: int(outcome["row"]))
    return joint_hash(map(document_hash, in_order))


class EventLog:
    """Events, approvals, outcomes and reports; each of the first two has a number and a hash.

    Every method may raise `LogUnavailable`.

    Parameters
    ----------
    documents : Documents
        Holds all of them.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    # Events: overrides, uploads of outcomes, registered versions

    def append_event(
        self, kind: str, key: str, expected: int | None = None, /, **fields: Any
    ) -> dict[str, Any]:
        """Append an event about a decision or a model version.

        Returns it with its number `_id` and `time`.

        Parameters
        ----------
        expected : int, optional
            The number of the newest event when the caller looked at the log (`last_event`).

        Raises
        ------
        Conflict
            When there is a newer event than expected; then nothing is written.
        """
        return self._append_event("events", kind, key, fields, expected)

    def events(
        self,
        kind: str | None = None,
        key: str | None = None,
        after: int = 0,
        *,
        batch: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the events after a number, in order.

        Only those of one kind, and about one key or any decision of a batch, where these are given.
        """
        where: dict[str, Any] = {"_id": {"$gt": after}}
        if kind:
            where["kind"] = kind
        if key:
            where["key"] = key
        if batch:
            where["key"] = codec.ids_between(batch, batch)
        return list(self._documents.find("events", where))

    def events_about(self, kind: str, keys: Collection[str]) -> list[dict[str, Any]]:
        """Return the events of one kind about any of these keys, in order."""
        found = self._find_in("events", "key", sorted(keys))
        of_kind = (event for event in found if event["kind"] == kind)
        return sorted(of_kind, key=lambda event: int(event["_id"]))

    def last_event(self) -> int:
        """Return the number of the newest event; 0 when there is none."""
        return self._documents.last("events")

    # Approvals, in a collection of their own: only the approver's credential may write to it

    def append_approval(
        self, kind: str, key: str, expected: int | None = None, /, **fields: Any
    ) -> dict[str, Any]:
        """Append a person's decision about a model version.

        Returns it with its number `_id` and `time`.

        Parameters
        ----------
        expected : int, optional
            The number of the newest one when the caller looked at the log (`last_approval`).

        Raises
        ------
        Conflict
            When there is a newer one than expected; then nothing is written.
        """
        return self._append_event("approvals", kind, key, fields, expected)

    def last_approval(self) -> int:
        """Return the number of the newest approval; 0 when there is none."""
        return self._documents.last("approvals")

    def approvals(self) -> list[dict[str, Any]]:
        """Return all approvals in order."""
        return list(self._documents.find("approvals", {}))

    # Outcomes: one document each, and an event as the commit mark of each upload

    def write_outcomes(self, upload: str, outcomes: Sequence[Mapping[str, Any]]) -> str:
        """Write outcomes, which count once their mark is there, an event of kind `outcomes`.

        Returns the hash over all of them, for the mark.

        Parameters
        ----------
        upload : str
            A ULID; the mark's key.
        outcomes : sequence of mapping
            Each has `row`, `key` (a decision's id), `decided` (its time), `outcome` and `date`.
        """
        documents = [
            {
                "_id": f"{upload}-{o['row']}",
                "upload": upload,
                "batch": o["key"].rpartition("-")[0],
                **o,
            }
            for o in outcomes
        ]
        for at in range(0, len(documents), AT_ONCE):
            self._documents.insert("outcomes", documents[at : at + AT_ONCE])
        return outcomes_hash(documents)

    def discard_outcomes(self, upload: str) -> None:
        """Remove outcomes that will never have a mark."""
        self._documents.delete("outcomes", {"upload": upload})

    def outcomes_of(self, ids: Collection[str]) -> list[dict[str, Any]]:
        """Return the committed outcomes of these decisions, by date and then in order of arrival.

        The last outcome of a decision stands. `number` is that of the mark an outcome came with.
        """
        wanted = frozenset(ids)
        if len(wanted) <= AT_ONCE:
            found = self._find_in("outcomes", "key", sorted(wanted))
        else:
            batches = {id.rpartition("-")[0] for id in wanted}
            found = self._find_in("outcomes", "batch", sorted(batches))
        return self._committed(d for d in found if d["key"] in wanted)

    def outcomes_between(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Return `outcomes_of` all decisions made from `since` to before `until`."""
        where = codec.times(since, until, "decided")
        return self._committed(self._documents.find("outcomes", where, "decided"))

    def outcomes_in(self, upload: str) -> list[dict[str, Any]]:
        """Return the outcomes of one upload, by date and then by row.

        `upload` is the key of its mark.
        """
        return sorted(
            self._documents.find("outcomes", {"upload": upload}),
            key=lambda d: (d["date"], d["row"]),
        )

    def _committed(self, outcomes: Iterable[Document]) -> list[dict[str, Any]]:
        found = list(outcomes)
        # Marks are read after the outcomes: an upload whose mark came in between is complete.
        marks = {event["key"]: event for event in self.events(OUTCOMES)} if found else {}
        marked = [
            {**d, "number": mark["_id"], "caller": mark.get("caller")}
            for d in found
            if (mark := marks.get(d["upload"]))
        ]
        return sorted(marked, key=lambda d: (d["date"], d["number"], d["row"]))

    # Reports

    def put_report(self, kind: str, body: Mapping[str, Any]) -> str:
        """Store a report's figures as a JSON document and return its id.

        Numbers that JSON cannot express become null; `.` and `$` in keys, which MongoDB cannot
        search, become `_`; a list within a list, which not every server that speaks MongoDB's
        protocol accepts, becomes `{"values": [...]}`.
        """
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        report = {"_id": str(ULID()), "kind": kind, "time": now, "body": codec.storable(body)}
        self._documents.insert("reports", [report])
        return str(report["_id"])

    def reports(self, kind: str, limit: int = 0) -> list[dict[str, Any]]:
        """Return reports of a kind (`_id`, `time`, `body`), the newest first."""
        found = self._documents.find(
            "reports", {"kind": kind}, "time", newest_first=True, limit=limit
        )
        return list(found)

    def _append_event(
        self,
        collection: str,
        kind: str,
        key: str,
        fields: Mapping[str, Any],
        expected: int | None = None,
    ) -> Document:
        event = {
            "kind": kind,
            "key": key,
            "time": datetime.now(UTC).isoformat(timespec="microseconds"),
            **fields,
        }
        written = numbered.append(self._documents, collection, event, expected)
        self._documents.flush(now=True)
        return written

    def _find_in(
        self, collection: str, field: str, values: Sequence[str | int]
    ) -> Iterator[Document]:
        for at in range(0, len(values), AT_ONCE):
            where = {field: {"$in": list(values[at : at + AT_ONCE])}}
            # A client's decisions are in lists, which have no order by client.
            order = "_id" if field == CLIENTS else field
            yield from self._documents.find(collection, where, order)
