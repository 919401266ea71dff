"""A version that might become Production, scoring the decisions that another one made."""

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk.decision_log.batch import decision_schema
from credit_risk.schema.attributes import Floats
from credit_risk.schema.codec import codes_of, encode
from credit_risk.scoring.model import CreditScorer
from monitoring.log_reader import as_coded


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
        self.dataset = scorer.dataset
        codes = encode(reference[list(self.dataset.names)], self.dataset)
        self._trained_on = {row.tobytes() for row in self._scored(codes)}

    def risk(self, decisions: pa.Table) -> Floats:
        """Return its risks for logged decisions, shape (n,)."""
        return self.scorer.risk(self._codes(decisions))

    def unseen(self, decisions: pa.Table) -> NDArray[np.bool_]:
        """Return which decisions are about clients that it was not trained on, shape (n,)."""
        codes = self._scored(self._codes(decisions))
        return np.fromiter(
            (row.tobytes() not in self._trained_on for row in codes), np.bool_, len(codes)
        )

    def _codes(self, decisions: pa.Table) -> Floats:
        # Where the version that decided knows an attribute as another kind, it is read anew.
        own = decision_schema(self.dataset, self.dataset.names)
        return codes_of(as_coded(decisions, own), self.dataset)

    def _scored(self, codes: Floats) -> Floats:
        return np.ascontiguousarray(codes[:, self.dataset.scored_columns])
