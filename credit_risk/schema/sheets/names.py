"""Names of columns that are written beside columns of ours."""

from collections.abc import Collection, Iterable


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken.

    An earlier result that is uploaded again has, for one, a `risk` of its own.
    """
    while name in taken:
        name += " (uploaded)"
    return name


def unique_names(names: Iterable[str], taken: Collection[str]) -> list[str]:
    """Return names that are neither taken nor twice among themselves."""
    found = list(taken)
    for name in names:
        found.append(unique_name(name, found))
    return found[len(taken) :]
