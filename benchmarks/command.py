"""A command on a file: pandas and `Booster.predict` beside `make score`, start to exit.

    make bench

Both read a CSV and write one. Ours validates, decides by cost, and has every decision in its log
before it writes the result. It runs once before it is measured, as the model has been loaded before
where a stack runs. Both take their turn in each round, and the best of the rounds counts. Compare
the ratios: seconds depend on the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import scoring
from benchmarks.progress import say
from benchmarks.servers import appoint, environment_of, mlflow_server, registered
from benchmarks.serving import INPUTS, write_clients
from credit_risk.decision_log.log import DecisionLog
from credit_risk.registry.registry import Registry
from credit_risk.scoring.model import CreditScorer
from credit_risk.storage.backends import open_blobs, open_documents

FEW = 200


def compared(
    folder: Path, uri: str, name: str, scorer: CreditScorer, sizes: Sequence[int], rounds: int
) -> list[str]:
    """Return the table's rows of one scorer."""
    registered(uri, name, scorer)
    environment = environment_of(folder, uri, name)
    documents = open_documents(environment["DECISION_LOG"])
    appoint(Registry(uri, name), DecisionLog(documents, open_blobs(environment["BUCKET"])))
    baseline = _baseline(folder, scorer)

    lines = []
    for rows in sizes:
        say(f"{name}: {rows:,} clients...")
        source = folder / f"clients-{rows}.csv"
        write_clients(rows, source)
        _seconds(source, folder / "warm.csv", _OURS, environment)

        times: dict[str, list[float]] = {"baseline": [], "ours": []}
        for _ in range(rounds):
            command = [*baseline, str(source), str(folder / "baseline.csv")]
            times["baseline"].append(_seconds(source, folder / "nothing.csv", command, {}))
            times["ours"].append(_seconds(source, folder / "result.csv", _OURS, environment))

        usual, ours = min(times["baseline"]), min(times["ours"])
        lines.append(
            f"| {rows:,} clients, {name} | {usual:.3g} s | {ours:.3g} s | {ours / usual:.2g} |"
        )
    return lines


_OURS = [sys.executable, "-m", "model_deployment.score", "--name", "clients.csv"]


def _baseline(folder: Path, scorer: CreditScorer) -> list[str]:
    """Write what the baseline needs, and return its command, without the files."""
    model, inputs = folder / "model.txt", folder / "inputs.json"
    scorer.booster.save_model(model)
    inputs.write_text(json.dumps({"inputs": INPUTS, "threshold": scorer.threshold}))
    return [sys.executable, "-m", "benchmarks.pandas_way", str(model), str(inputs)]


def _seconds(
    source: Path, target: Path, command: Sequence[str], environment: Mapping[str, str]
) -> float:
    """Run a command from file to file, and return how long that took."""
    start = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as write:
        subprocess.run(
            command,
            stdin=read,
            stdout=write,
            stderr=subprocess.DEVNULL,
            env=os.environ | environment,
            check=True,
        )
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.command",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help=f"clients, beside {FEW} (1000000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (3)")
    options = parser.parse_args(arguments)

    lines = [
        "| command | baseline | ours | ours / baseline |",
        "|---|---|---|---|",
    ]
    with (
        tempfile.TemporaryDirectory(prefix="credit-risk-bench-") as temporary,
        mlflow_server(Path(temporary)) as uri,
    ):
        for name, scorer in scoring.scorers().items():
            folder = Path(temporary) / name.partition(" ")[0]
            (folder / "var").mkdir(parents=True)
            sizes = (FEW, options.rows)
            lines += compared(folder, uri, name, scorer, sizes, options.rounds)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
