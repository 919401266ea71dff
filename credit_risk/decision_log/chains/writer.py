"""The chains that this process writes to."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from credit_risk.decision_log.chains import numbered
from credit_risk.decision_log.chains.hashes import record_hash
from credit_risk.decision_log.chains.position import number
from credit_risk.storage.documents import Document, Documents, DuplicateId

CHAINS = "chains"
RECORDS = "batches"
# The last record of a chain to which nothing is added any more.
CLOSING = "closing"


class Chain:
    """A chain that only its owner adds to.

    Parameters
    ----------
    documents : Documents
    registration : dict
        The chain's document in the collection of chains.
    """

    def __init__(self, documents: Documents, registration: Document) -> None:
        self._documents = documents
        self._number = int(registration["_id"])
        self.place = 0
        self.head = str(registration["hash"])
        self.usable = True

    def link(self, records: Sequence[Document]) -> list[Document]:
        """Return records with the numbers and hashes of the next places, to be stored together."""
        linked: list[Document] = []
        head = self.head
        for place, record in enumerate(records, start=self.place + 1):
            following = {"_id": number(self._number, place), **record, "previous": head}
            following["hash"] = head = record_hash(following)
            linked.append(following)
        return linked

    def store(self, linked: Sequence[Document]) -> None:
        """Store records that were linked to the chain as it is.

        Raises
        ------
        DuplicateId
            When the chain was closed, or something else in a record that is unique is taken; then
            the first of them is not stored.
        """
        self.usable = False  # until it is known whether they were stored
        try:
            self._documents.insert(RECORDS, linked)
        except DuplicateId:
            self.usable = True
            raise

        self.usable = True
        self.place += len(linked)
        self.head = str(linked[-1]["hash"])

    def retire(self) -> None:
        """Have nothing added to the chain any more."""
        self.usable = False


class WriterChains:
    """Chains of this process, as many as it writes to at once.

    Parameters
    ----------
    documents : Documents
        Where the records are stored.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._idle: list[Chain] = []
        self._process = os.getpid()

    @contextmanager
    def one(self) -> Iterator[Chain]:
        """Give the caller a chain that nobody else writes to meanwhile.

        It is used again unless an error left open what was stored in it: a later record must not
        follow one that may be missing.
        """
        chain = self._take()
        place = chain.place
        try:
            yield chain
        except BaseException:
            if chain.usable and chain.place == place:
                self._idle.append(chain)
            raise
        if chain.usable:
            self._idle.append(chain)

    def _take(self) -> Chain:
        if self._process != os.getpid():  # after a fork, the chains are those of the parent
            self._idle, self._process = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return Chain(self._documents, register(self._documents))


def register(documents: Documents) -> Document:
    """Begin a chain, and return its document in the collection of chains."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return numbered.append(documents, CHAINS, {"time": now})
