"""Explanations of risks: what each attribute contributes to them."""

from dataclasses import dataclass

from credit_risk.schema.attributes import Floats


class NotExplainable(ValueError):
    """The scorer was fitted without out-of-fold risks.

    It therefore does not know the accepted clients to compare with.
    """


@dataclass(frozen=True)
class Explanation:
    """What led to n risks: exact contributions to the log-odds of class bad.

    Attributes
    ----------
    contributions : array of shape (n, 17)
        Of each scored attribute. Each row's sum plus `bias` is the log-odds of the risk.
    bias : float
        The same for all clients.
    effects : array of shape (n, 17)
        The contributions less their means over accepted training clients. For a red client their
        sum is positive.
    """

    contributions: Floats
    bias: float
    effects: Floats
