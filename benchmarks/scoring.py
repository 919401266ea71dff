"""Scoring: LightGBM's own prediction beside ours, on the same clients with the same trees.

    make bench

Both are measured in one run. The baseline is `Booster.predict`, with as many threads as it likes;
for reasons with `pred_contrib`, on fewer clients, because it would take minutes. Ours is the scorer
with its kernel, made and compiled before the clock starts, as a server does when it loads a
version. Each gets the clients in the form that it takes. Compare the ratios: seconds depend on the
machine.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.progress import say
from credit_risk.schema.attributes import LABEL, SCORED_COLUMNS, Floats
from credit_risk.schema.codec import encode
from credit_risk.scoring.model import CreditScorer
from credit_risk.training_data.data import read_training

EXPLAINED_BY_LIGHTGBM = 20_000
# Clients that are scored one by one.
SINGLE = 1000


def scorers() -> dict[str, CreditScorer]:
    """Return a scorer of the default number of trees, and one of the most that are allowed."""
    clients = read_training("data/credit-g.csv")
    found = {
        "250 trees": CreditScorer(),
        "1,250 trees": CreditScorer(members=[{"seed": seed} for seed in range(5)]),
    }
    for scorer in found.values():
        scorer.fit(clients, clients[LABEL])
    return found


def many_clients(n: int) -> Floats:
    """Return the codes of n clients, shape (n, 20).

    Each attribute is drawn from its values in the training data.
    """
    codes = encode(read_training("data/credit-g.csv"))
    random = np.random.default_rng(0)
    return np.column_stack([random.choice(column, n) for column in codes.T])


def compared(name: str, scorer: CreditScorer, codes: Floats) -> list[str]:
    """Return the table's rows of one scorer."""
    booster, inputs = scorer.booster, np.ascontiguousarray(codes[:, SCORED_COLUMNS])
    n = len(codes)
    explained = min(n, EXPLAINED_BY_LIGHTGBM)
    single = min(n, SINGLE)

    start = time.perf_counter()
    scorer.warm_up()
    if scorer.kernel is None:
        raise RuntimeError("the kernel does not take the scorer, so there is nothing to compare")
    say(f"{name}: ready after {time.perf_counter() - start:.1f} s")

    contributions = scorer.kernel.contributions
    return [
        _row(
            f"scores, {name}",
            (n, lambda: booster.predict(inputs)),
            (n, lambda: scorer.risk(codes)),
        ),
        _row(
            f"reasons' contributions, {name}",
            (explained, lambda: booster.predict(inputs[:explained], pred_contrib=True)),
            (n, lambda: contributions(codes)),
        ),
        _row(
            f"scores, {name}, one by one",
            (
                single,
                lambda: [booster.predict(inputs[i : i + 1], num_threads=1) for i in range(single)],
            ),
            (single, lambda: [scorer.risk(codes[i : i + 1]) for i in range(single)]),
        ),
    ]


def _row(
    name: str, baseline: tuple[int, Callable[[], object]], ours: tuple[int, Callable[[], object]]
) -> str:
    say(f"{name}...")
    cells, rates = [name], []

    for n, work in (baseline, ours):
        start = time.perf_counter()
        work()
        seconds = time.perf_counter() - start
        cells.append(f"{n:,} in {seconds:.3g} s")
        rates.append(n / seconds)

    cells += [f"{rate:,.0f}" for rate in rates]
    return f"| {' | '.join(cells)} | {rates[1] / rates[0]:.1f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scoring",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="clients (1000000)")
    options = parser.parse_args(arguments)

    codes = many_clients(options.rows)
    lines = [
        "| scoring | baseline | ours | baseline, clients/s | ours | times as fast |",
        "|---|---|---|---|---|---|",
    ]
    for name, scorer in scorers().items():
        lines += compared(name, scorer, codes)

    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
