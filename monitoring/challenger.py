"""A version that might become Production, scoring the decisions that another one made."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk.schema.attributes import NAMES, SCORED_COLUMNS, Floats
from credit_risk.schema.codec import codes_of, encode
from credit_risk.scoring.model import CreditScorer


class Challenger:
    """The version with the challenger's alias.

    Parameters
    ----------
    version : str
        Its version number.
    scorer : CreditScorer
        The model.
    reference : DataFrame
        The clients that it was trained on.
    """

    def __init__(self, version: str, scorer: CreditScorer, reference: pd.DataFrame) -> None:
        self.version = version
        self.scorer = scorer
        self._trained_on = {
            row.tobytes() for row in encode(reference[list(NAMES)])[:, SCORED_COLUMNS]
        }

    def risk(self, decisions: pa.Table) -> Floats:
        """Return its risks for logged decisions, shape (n,)."""
        return self.scorer.risk(codes_of(decisions))

    def unseen(self, decisions: pa.Table) -> NDArray[np.bool_]:
        """Return which decisions are about clients that it was not trained on, shape (n,)."""
        codes = np.ascontiguousarray(codes_of(decisions)[:, SCORED_COLUMNS])
        return np.fromiter(
            (row.tobytes() not in self._trained_on for row in codes), np.bool_, len(codes)
        )
