"""Why a portfolio is not scored."""


class NotScored(ValueError):
    """The portfolio, or a part of it, is not scored; the message says why and how to go on."""
