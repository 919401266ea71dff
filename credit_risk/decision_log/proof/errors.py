"""What verification finds."""


class LogDamaged(ValueError):
    """A part of the log was changed or is missing; the message names the first such record."""
