"""Score a file in pandas by LightGBM alone: what `benchmarks.command` compares with.

    python -m benchmarks.pandas_way model.txt inputs.json clients.csv result.csv

It imports nothing else, for its start counts. `inputs.json` has the model's inputs in order, each
with its categories in order (none where it is a number), and the threshold.
"""

import json
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd


def main() -> None:
    """Run the command line."""
    model, described, source, target = sys.argv[1:]
    described_inputs = json.loads(Path(described).read_text())
    clients = pd.read_csv(source)

    columns = {}
    for name, categories in described_inputs["inputs"].items():
        column = clients[name]
        columns[name] = pd.Categorical(column, categories).codes if categories else column

    risk = lgb.Booster(model_file=model).predict(pd.DataFrame(columns))
    clients["risk"] = risk
    clients["prediction"] = np.where(risk >= described_inputs["threshold"], "red", "green")
    clients.to_csv(target, index=False)


if __name__ == "__main__":
    main()
