"""The clients that are decided on, and the scorers that decide."""

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet

from credit_risk.schema.attributes import ATTRIBUTES, LABEL, SCORED, Floats
from credit_risk.schema.codec import decode, encode
from credit_risk.scoring.model import CreditScorer
from credit_risk.training_data.data import read_training

DATA = "data/credit-g.csv"
# The inputs of a scorer, with the categories of each; none where it is a number.
INPUTS = {a.name: a.categories for a in ATTRIBUTES if a.name in SCORED}
FEW_TREES, MANY_TREES = "250 trees", "1,250 trees"


def scorer_of(name: str) -> CreditScorer:
    """Return a scorer of the default number of trees, or of the most that are allowed."""
    clients = read_training(DATA)
    seeds = [{"seed": seed} for seed in range(5)]
    scorer = CreditScorer() if name == FEW_TREES else CreditScorer(members=seeds)
    scorer.fit(clients, clients[LABEL])
    # These risks are not out of fold, which changes the reasons, but not the time to find them.
    return scorer.fit(clients, clients[LABEL], scorer.predict_proba(clients)[:, 0])


def many_clients(n: int) -> Floats:
    """Return the codes of n clients, shape (n, 20).

    Each attribute is drawn from its values in the training data.
    """
    codes = encode(read_training(DATA))
    random = np.random.default_rng(0)
    return np.column_stack([random.choice(column, n) for column in codes.T])


def write_clients(rows: int, target: Path) -> None:
    """Write a file of clients: Parquet if it is named so, else CSV."""
    clients = decode(many_clients(rows))
    if target.suffix == ".parquet":
        pyarrow.parquet.write_table(clients, target)
        return
    plain = pyarrow.csv.WriteOptions(quoting_style="none")
    pyarrow.csv.write_csv(clients, target, plain)


def one_client() -> list[dict[str, object]]:
    """Return a client as a list of one row."""
    frame = read_training(DATA).drop(columns=LABEL).head(1)
    rows: list[dict[str, object]] = json.loads(frame.to_json(orient="records"))
    return rows
