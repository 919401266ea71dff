"""The codes of german.data, as UCI has the German Credit data, in the words that stand for them here.

A91 is the first value of the ninth attribute. Both files have attributes and values in the same order.
"""

SEE = "see data/README.md"
_FROM_ZERO = ("credit_history", "purpose")
LABELS = {"1": "good", "2": "bad"}


def coded(name: str, number: int, categories: tuple[str, ...]) -> dict[str, str]:
    """Return the categories of an attribute by their codes.

    Parameters
    ----------
    name : str
    number : int
        Its place among the attributes, from 1.
    categories : tuple of str
        In the schema's order.
    """
    first = 0 if name in _FROM_ZERO else 1
    return {f"A{number}{place}": category for place, category in enumerate(categories, first)}
