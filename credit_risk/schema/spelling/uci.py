"""The codes in german.data, UCI's file of the German Credit data, and what they stand for.

A91 is the first value of the ninth attribute. Both files have attributes and values in the same
order.
"""

SEE = "see data/README.md"
_FROM_ZERO = ("credit_history", "purpose")
LABELS = {"1": "good", "2": "bad"}


def coded(name: str, number: int, categories: tuple[str, ...]) -> dict[str, str]:
    """Return the categories of an attribute by their UCI codes.

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
