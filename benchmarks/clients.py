"""The clients that are decided on, and the scorers that decide."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv
import pyarrow.parquet

from credit_risk.schema.attributes import LABEL, Floats
from credit_risk.schema.codec import decode, encode
from credit_risk.schema.dataset_file import load_dataset, training_file
from credit_risk.scoring.model import CreditScorer
from credit_risk.training_data.data import read_training

DATASET = load_dataset("german_credit")
DATA = str(training_file("german_credit"))
# The inputs of a scorer, with the categories of each; none where it is a number.
INPUTS = {a.name: a.categories for a in DATASET.scored_attributes}
FEW_TREES, MANY_TREES = "250 trees", "1,250 trees"


def labelled_clients() -> pd.DataFrame:
    """Return the clients of the data, with their classes."""
    return read_training(DATA, DATASET)


def scorer_of(name: str) -> CreditScorer:
    """Return a scorer of the default number of trees, or of the most that are allowed."""
    clients = labelled_clients()
    seeds = [{"seed": seed} for seed in range(5)]
    scorer = CreditScorer() if name == FEW_TREES else CreditScorer(members=seeds)
    scorer.fit(clients, clients[LABEL])
    # These risks are not out of fold, which changes the reasons, but not the time to find them.
    return scorer.fit(clients, clients[LABEL], scorer.predict_proba(clients)[:, 0])


def many_clients(n: int) -> Floats:
    """Return the codes of n clients, shape (n, n_attributes).

    Each attribute is drawn from its values in the training data.
    """
    codes = encode(labelled_clients(), DATASET)
    random = np.random.default_rng(0)
    return np.column_stack([random.choice(column, n) for column in codes.T])


def write_clients(rows: int, target: Path) -> None:
    """Write a file of clients: Parquet if it is named so, else CSV."""
    clients = decode(many_clients(rows), DATASET)
    if target.suffix == ".parquet":
        pyarrow.parquet.write_table(clients, target)
        return
    plain = pyarrow.csv.WriteOptions(quoting_style="none")
    pyarrow.csv.write_csv(clients, target, plain)


def one_client() -> list[dict[str, object]]:
    """Return a client as a list of one row."""
    frame = labelled_clients().drop(columns=LABEL).head(1)
    rows: list[dict[str, object]] = json.loads(frame.to_json(orient="records"))
    return rows
