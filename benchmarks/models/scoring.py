"""Scoring: LightGBM's own prediction beside ours, on the same clients with the same trees.

The peer is `Booster.predict`, with as many threads as it likes; for reasons with `pred_contrib`, on
fewer clients, because it would take minutes. Ours is the scorer, made and compiled before the clock
starts, as a server does when it loads a version; the floor is its kernel alone. Each gets the
clients in the form that it takes.
"""

import time
from collections.abc import Callable, Iterator

from benchmarks.clients import FEW_TREES, MANY_TREES, many_clients, scorer_of
from benchmarks.harness import OURS, Line, alternate, lines_of
from benchmarks.scenarios import Place, Sizes
from credit_risk.schema.attributes import Floats
from credit_risk.scoring.model import CreditScorer

LIGHTGBM, KERNEL = "LightGBM", "the kernel alone"
EXPLAINED_BY_LIGHTGBM = 20_000
# Clients that are scored one by one.
SINGLE = 1000


def measure(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of few trees, and of many where there is time."""
    codes = many_clients(max(sizes.rows))
    for name in (FEW_TREES,) if sizes.name == "quick" else (FEW_TREES, MANY_TREES):
        yield from compared(name, scorer_of(name), codes, sizes)


def compared(name: str, scorer: CreditScorer, codes: Floats, sizes: Sizes) -> Iterator[Line]:
    """Yield the lines of one scorer."""
    booster, inputs = scorer.booster, scorer.inputs.of(codes)
    n, explained = len(codes), min(len(codes), EXPLAINED_BY_LIGHTGBM)
    single = min(n, SINGLE)
    scorer.warm_up()
    kernel = scorer.kernel
    if kernel is None:
        raise RuntimeError("the kernel does not take the scorer, so there is nothing to compare")

    def line(what: str, rounds: int, **works: tuple[int, Callable[[], object]]) -> Iterator[Line]:
        names = {"ours": OURS, "peer": LIGHTGBM, "floor": KERNEL}
        sides = {names[side]: _rate(*work) for side, work in works.items()}
        floors = [KERNEL] if KERNEL in sides else []
        yield from lines_of(f"{what}, {name}", "/s", alternate(sides, rounds), floors)

    yield from line(
        f"{n:,} scores",
        sizes.long_rounds,
        ours=(n, lambda: scorer.decide(codes)),
        peer=(n, lambda: booster.predict(inputs)),
        floor=(n, lambda: kernel.scores(codes)),
    )
    yield from line(
        "reasons' contributions",
        sizes.long_rounds,
        ours=(n, lambda: kernel.contributions(codes)),
        peer=(explained, lambda: booster.predict(inputs[:explained], pred_contrib=True)),
    )
    yield from line(
        "scores one by one",
        sizes.rounds,
        ours=(single, lambda: [scorer.decide(codes[i : i + 1]) for i in range(single)]),
        peer=(
            single,
            lambda: [booster.predict(inputs[i : i + 1], num_threads=1) for i in range(single)],
        ),
        floor=(single, lambda: [kernel.scores(codes[i : i + 1]) for i in range(single)]),
    )


def _rate(n: int, work: Callable[[], object]) -> Callable[[], float]:
    def rate() -> float:
        start = time.perf_counter()
        work()
        return n / (time.perf_counter() - start)

    return rate
