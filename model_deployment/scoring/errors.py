"""Why applications are not decided on, or a result is not returned.

`api.problems` has the answers to these errors.
"""

from credit_risk.decision_log.batch import BatchRecord


class NotDecided(ValueError):
    """Nothing was decided; the message says why."""


class TooManyToExplain(NotDecided):
    """Reasons were requested for too many clients."""


class KeyReused(NotDecided):
    """An idempotency key came with a different body than before."""

    def __init__(self, record: BatchRecord) -> None:
        super().__init__(
            f"This idempotency key was used for another body, batch {record.id}. "
            "A key stands for one body."
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
    """There are too many clients for a workbook."""
