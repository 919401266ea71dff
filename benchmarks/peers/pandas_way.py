"""Score a file in pandas by LightGBM alone: what ours is compared with.

    python -m benchmarks.peers.pandas_way model.txt inputs.json clients.csv result.csv

It imports nothing else, for its start counts. `inputs.json` has the model's inputs in order, each
with its categories in order (none where it is a number), and the threshold.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd


def score(
    booster: lgb.Booster,
    inputs: Mapping[str, Any],
    threshold: float,
    source: Path,
    target: Path,
) -> None:
    """Score a file; `inputs` has the model's inputs, with the categories of each."""
    clients = pd.read_parquet(source) if source.suffix == ".parquet" else pd.read_csv(source)

    columns = {}
    for name, categories in inputs.items():
        column = clients[name]
        columns[name] = pd.Categorical(column, categories).codes if categories else column

    risk = booster.predict(pd.DataFrame(columns))
    clients["risk"] = risk
    clients["prediction"] = np.where(risk >= threshold, "red", "green")
    clients.to_csv(target, index=False)


def main() -> None:
    """Run the command line."""
    model, described, source, target = map(Path, sys.argv[1:])
    given = json.loads(described.read_text())
    score(lgb.Booster(model_file=model), given["inputs"], given["threshold"], source, target)


if __name__ == "__main__":
    main()
