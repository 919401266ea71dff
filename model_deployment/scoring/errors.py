"""Why a list or file of applications is not decided, or not given back; `api.problems` says what is answered."""

from credit_risk.decision_log.batch import BatchRecord


class NotDecided(ValueError):
    """Nothing was decided; the message says why."""


class TooManyToExplain(NotDecided):
    """More clients than reasons are given for at a time."""


class KeyReused(NotDecided):
    """An idempotency key came with another body than before."""

    def __init__(self, record: BatchRecord) -> None:
        super().__init__(
            f"This idempotency key was used for another body, batch {record.id}. A key stands for one body."
        )


class DecidedBefore(NotDecided):
    """A body was decided before, in a way that cannot be repeated.

    Attributes
    ----------
    batch : str
        The id under which it was decided.
    """

    def __init__(self, record: BatchRecord, how: str) -> None:
        super().__init__(f"This body was decided as batch {record.id}, {how}.")
        self.batch = record.id


class NoRoom(NotDecided):
    """A result cannot be written."""


class AnotherFile(ValueError):
    """A file is not the one that a batch was decided on."""


class TooManyForExcel(ValueError):
    """More clients than a workbook is made of."""
