"""Reads the chains of all writers, and closes those that nobody writes to any more."""

import heapq
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from itertools import chain as one_after_another

from credit_risk.decision_log import codec
from credit_risk.decision_log.chains.hashes import record_hash
from credit_risk.decision_log.chains.numbered import linked
from credit_risk.decision_log.chains.position import (
    Position,
    chain_and_place,
    number,
)
from credit_risk.decision_log.chains.writer import CHAINS, CLOSING, RECORDS
from credit_risk.storage.documents import Document, Documents, DuplicateId

# What is left out of a record that is read without its decisions.
CONTENT = ("decisions",)


class ChainReader:
    """Reads records, and remembers which chains are closed.

    Parameters
    ----------
    documents : Documents
        Where the records are.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._n_chains = 0
        self._closed: dict[int, int] = {}  # the place of the closing record, by chain
        self._heads: dict[int, int] = {}  # when idle chains were last looked for

    def after(self, position: Position) -> Iterator[Document]:
        """Yield the records after a position, without their decisions.

        Each chain's are in order; those of several chains are merged by time.
        """
        runs = [self._run(first) for first in self._firsts(position)]
        return heapq.merge(*runs, key=lambda record: (record["time"], record["_id"]))

    def at(self, time: datetime, kinds: Collection[str]) -> Position:
        """Return a position before every record of some kinds that is later than a time.

        Some that are not later may come after it too, where a chain's times do not rise.
        """
        after = {
            "kind": {"$in": list(kinds)},
            "time": {"$gt": codec.text(time)},
        }
        places: dict[int, int] = {}
        for later in self._documents.find(RECORDS, after, "time", without=CONTENT):
            chain, place = chain_and_place(later["_id"])
            places[chain] = min(place - 1, places.get(chain, place))

        for chain in self._chains():
            if chain not in places and (
                newest := self._last({**_within(chain), "kind": after["kind"]})
            ):
                places[chain] = chain_and_place(newest["_id"])[1]
        return Position(places)

    def close_idle(self) -> int:
        """Close the chains to which nothing was added since the last call; return how many.

        A writer that comes back to a chain finds its next place taken, and begins another.
        """
        heads = {}
        for chain in self._chains():
            newest = None if chain in self._closed else self._last(_within(chain))
            # A writer that has only just begun is left alone: there is nothing to read yet.
            if newest is not None:
                heads[chain] = newest

        idle = [chain for chain, newest in heads.items() if self._heads.get(chain) == newest["_id"]]
        self._heads = {chain: newest["_id"] for chain, newest in heads.items()}
        return sum(self._close(heads[chain]) for chain in idle)

    def _close(self, newest: Document) -> bool:
        if newest.get("kind") == CLOSING:
            chain, place = chain_and_place(newest["_id"])
            self._closed[chain] = place
            return False

        closing: Document = {
            "_id": newest["_id"] + 1,
            "kind": CLOSING,
            "time": codec.text(datetime.now(UTC)),
            "previous": linked(newest),
        }
        closing["hash"] = record_hash(closing)
        try:
            self._documents.insert(RECORDS, [closing])
        except DuplicateId:  # its writer came back, or another reader closes it
            return False
        return True

    def _chains(self) -> range:
        """Return all chains; they are numbered without gaps, so only new ones are asked for."""
        for registration in self._documents.find(CHAINS, {"_id": {"$gt": self._n_chains}}):
            self._n_chains = int(registration["_id"])
        return range(self._n_chains + 1)

    def _firsts(self, position: Position) -> list[Document]:
        """Return the first record after a position of each chain that has one."""
        nexts = []
        for chain in self._chains():
            place = position.places.get(chain, 0) + 1
            if self._closed.get(chain) != place:
                nexts.append(number(chain, place))
        return list(self._documents.find(RECORDS, {"_id": {"$in": nexts}}, without=CONTENT))

    def _run(self, first: Document) -> Iterator[Document]:
        """Yield a record and those after it in its chain."""
        chain, _ = chain_and_place(first["_id"])
        where = {"_id": {"$gt": first["_id"], "$lt": number(chain + 1, 0)}}
        rest = self._documents.find(RECORDS, where, without=CONTENT)
        for record in one_after_another([first], rest):
            if record.get("kind") == CLOSING:
                self._closed[chain] = chain_and_place(record["_id"])[1]
                return
            yield record

    def _last(self, where: Document) -> Document | None:
        found = self._documents.find(RECORDS, where, newest_first=True, limit=1, without=CONTENT)
        return next(found, None)


def _within(chain: int) -> Document:
    """Return the condition that finds a chain's records."""
    return {"_id": {"$gt": number(chain, 0), "$lt": number(chain + 1, 0)}}
