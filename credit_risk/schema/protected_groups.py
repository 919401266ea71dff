"""The groups for which fairness is measured, as a data set's definition names them."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from credit_risk.schema.dataset import Dataset, Group

Mask = NDArray[np.bool_]


def groups(clients: pd.DataFrame, dataset: Dataset) -> Iterator[tuple[str, str, Mask]]:
    """Yield the groups with at least one client: attribute, group, mask of its members."""
    for group in dataset.groups:
        column = clients[group.attribute]
        if not dataset.by_name[group.attribute].categories:
            yield from _existing(group.attribute, group.name, _between(column, group))
            continue
        for value in sorted(column.dropna().unique()):
            yield from _existing(group.attribute, value, column == value)


def _between(column: "pd.Series[float]", group: Group) -> "pd.Series[bool]":
    low = -np.inf if group.minimum is None else group.minimum
    high = np.inf if group.maximum is None else group.maximum
    return column.between(low, high)


def _existing(
    attribute: str, name: str, members: "pd.Series[bool]"
) -> Iterator[tuple[str, str, Mask]]:
    if members.any():
        yield attribute, name, members.to_numpy(dtype=bool)
