"""The groups that fairness is looked at by: those of the protected attributes, which are never scored.

`personal_status` does not tell women from men (see data/README.md), so its recorded values stand for themselves.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def groups(clients: pd.DataFrame) -> Iterator[tuple[str, str, Mask]]:
    """Yield the groups that have a client: attribute, group, who belongs to it."""
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
