"""The groups for which fairness is measured: those of the protected attributes.

The protected attributes are never scored. `personal_status` does not distinguish women from men
(see data/README.md), so each of its recorded values is a group.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def groups(clients: pd.DataFrame) -> Iterator[tuple[str, str, Mask]]:
    """Yield the groups with at least one client: attribute, group, mask of its members."""
    found: list[tuple[str, str, pd.Series]] = [
        ("age", "25 or younger", clients["age"] <= 25),
        ("age", "26 to 59", clients["age"].between(26, 59)),
        ("age", "60 or older", clients["age"] >= 60),
    ]
    for attribute in ("personal_status", "foreign_worker"):
        values = sorted(clients[attribute].dropna().unique())
        found += [(attribute, value, clients[attribute] == value) for value in values]

    for attribute, group, members in found:
        if members.any():
            yield attribute, group, members.to_numpy(dtype=bool)
