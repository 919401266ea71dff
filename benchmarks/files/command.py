"""A command on a file, start to exit: pandas and `Booster.predict` beside `make score`.

Both read a CSV and write one. Ours validates, decides by cost, and has every decision in its log
before it writes the result. It runs once before it is measured, as the model has been loaded before
where a stack runs. The floor is a process that reads and writes the file.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.clients import FEW_TREES, INPUTS, write_clients
from benchmarks.files.upload import PANDAS
from benchmarks.harness import OURS, Line, alternate, lines_of
from benchmarks.peers.copying import WAYS
from benchmarks.scenarios import Place, Sizes
from benchmarks.servers import appointed, environment_of

FEW = 200
_OURS = [sys.executable, "-m", "model_deployment.score", "--name", "clients.csv"]


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of a small file and of the biggest."""
    folder, scorer = place.folder("command"), place.scorer(FEW_TREES)
    (folder / "var").mkdir()
    environment = environment_of(folder, place.registry, FEW_TREES)
    appointed(environment)

    model, inputs = folder / "model.txt", folder / "inputs.json"
    scorer.booster.save_model(model)
    inputs.write_text(json.dumps({"inputs": INPUTS, "threshold": scorer.threshold}))
    module = [sys.executable, "-m"]

    for rows, rounds in ((FEW, sizes.rounds), (max(sizes.rows), sizes.long_rounds)):
        source, result = folder / f"clients-{rows}.csv", folder / f"result-{rows}.csv"
        write_clients(rows, source)
        baseline = folder / f"baseline-{rows}.csv"
        files = str(source), str(baseline)
        scored = [*module, "benchmarks.peers.pandas_way", str(model), str(inputs), *files]
        sides = {OURS: _running(_OURS, source, result, environment), PANDAS: _running(scored)}
        for name in WAYS:
            copied = str(source), str(folder / "copy.csv")
            sides[name] = _running([*module, "benchmarks.peers.copying", name, *copied])
        for side in sides.values():
            side()
        taken = alternate(sides, rounds)
        yield from lines_of(f"make score, {rows:,} clients", "s", taken, [*WAYS])


def _running(
    command: Sequence[str],
    source: Path = Path(os.devnull),
    target: Path = Path(os.devnull),
    environment: Mapping[str, str] | None = None,
) -> Callable[[], float]:
    """Return a function that runs a command from file to file, and returns how long that took."""

    def run() -> float:
        start = time.perf_counter()
        with source.open("rb") as read, target.open("wb") as write:
            subprocess.run(
                command,
                stdin=read,
                stdout=write,
                stderr=subprocess.DEVNULL,
                env=os.environ | (environment or {}),
                check=True,
            )
        return time.perf_counter() - start

    return run
