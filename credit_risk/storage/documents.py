"""Collections of JSON documents: what every database behind the decision log can do.

The interface has what the decision log needs and no more: unique ids, equality, ranges and parts
of texts in fields, one order, a limit. There are no updates, change streams or aggregations, so
what works in MongoDB (`storage.mongodb`) works the same in SQLite (`storage.sqlite`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Document = dict[str, Any]
# A field's value, a range such as {"$gt": 3}, several values, {"$in": [3, 4]}, or a part of a text
# in any case, {"$contains": "a"}.
Where = Mapping[str, Any]

# The clients in a batch that carries its decisions: a field of each element of a list.
CLIENTS = "decisions.client_id"
# Unique where a document has it: the caller and their idempotency key.
UNIQUE_KEY = "unique_key"
# The fields that are looked up; each collection's `_id` is unique by itself. An index adds about
# 6 us to the commit of one client's decision, which takes 50 us, so there is none where another
# index, or `_id`, does the job.
INDEXES: dict[str, list[tuple[str, ...]]] = {
    "decisions": [("client_id",)],
    "batches": [
        ("id",),
        ("time", "_id", "source"),  # the newest first, or those whose source has some text
        ("stored", "time", "_id"),
        ("idempotency_key",),
        (CLIENTS,),
        (UNIQUE_KEY,),
    ],
    "chains": [],
    "events": [("kind", "_id"), ("key", "_id")],
    "approvals": [],
    "outcomes": [("upload",), ("batch",), ("key",), ("decided",)],
    "previews": [("time",)],
    "reports": [("kind", "time")],
}
# Their `_id`s are numbers without gaps; the highest one ever given is kept, so that the number of a
# document that somebody removed is not given again.
NUMBERED = ("chains", "events", "approvals")


class LogUnavailable(ConnectionError):
    """The database behind the decision log cannot be reached, or cannot be written."""


class DuplicateId(ValueError):
    """The `_id`, or another value that is unique, is taken."""


class Documents(Protocol):
    """Collections of JSON documents. Every call may raise `LogUnavailable`.

    Attributes
    ----------
    atomic : bool
        Whether everything inserted within `together` is stored in one transaction.
    """

    atomic: bool

    def insert(self, collection: str, documents: Sequence[Document]) -> None:
        """Add documents.

        Raises
        ------
        DuplicateId
            When an `_id`, or another value that is unique, is taken; some of the others may have
            been added.
        """

    def find(
        self,
        collection: str,
        where: Where,
        order: str = "_id",
        *,
        newest_first: bool = False,
        limit: int = 0,
        without: Sequence[str] = (),
    ) -> Iterator[Document]:
        """Yield the documents whose fields match, in the order of one field, and of `_id` by that.

        A field matches by its value, a range, a list of values, or a part of it; see `Where`. The
        documents come without some of their fields.
        """

    def last(self, collection: str) -> int:
        """Return the highest `_id` that a `NUMBERED` collection has ever had; 0 when none."""

    def distinct(self, collection: str, field: str, where: Where) -> set[Any]:
        """Return the values that a field has in the matching documents."""

    def delete(self, collection: str, where: Where) -> int:
        """Remove the matching documents and return how many there were."""

    def together(self) -> AbstractContextManager[None]:
        """Store what the calling thread inserts within the context in one transaction.

        An exception that leaves the context rolls all of it back. Where the database is not
        `atomic` (MongoDB), documents are stored one by one and stay.
        """

    def flush(self, *, now: bool) -> None:
        """Return when what was inserted will survive a power cut.

        Without `now`, return at once: it will survive one in a moment.
        """

    def ping(self) -> None:
        """Return when the database answers."""
