"""The scenarios, how big they are, and what they share: a folder and a registry of models."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory

from benchmarks.clients import scorer_of
from benchmarks.harness import Line
from benchmarks.servers import mlflow_server, registered
from credit_risk.scoring.model import CreditScorer


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    name : str
        Which part of `bars.toml` holds its bars.
    connections : tuple of int
        Numbers of connections on which one client is asked about at the same time.
    seconds : float
        How long a server is asked in each round.
    rounds : int
        Of everything that takes less than about ten seconds.
    long_rounds : int
        Of everything else.
    rows : tuple of int
        Clients of a file.
    folds : int
        Outer and inner folds of the search.
    decisions : tuple of int
        Decisions in the log that drift is judged on.
    verified : int
        Decisions in the log that is verified.
    logged : int
        Decisions in the log whose history is searched.
    n_iter : int
        Candidates that the training flow tries.
    before : Path, optional
        Another checkout, whose writers are the peer.
    """

    name: str = "full"
    connections: tuple[int, ...] = (1, 8, 64)
    seconds: float = 3
    rounds: int = 5
    long_rounds: int = 3
    rows: tuple[int, ...] = (1000, 1_000_000)
    folds: int = 10
    decisions: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    verified: int = 1_000_000
    logged: int = 10_000_000
    n_iter: int = 6
    before: Path | None = None


QUICK = Sizes("quick", connections=(1, 8), seconds=1, rows=(100_000,), long_rounds=2)
# Everything, as small as it goes, to see that it runs.
SMOKE = Sizes("smoke", (1, 2), 0.2, 1, 1, (200, 300), 2, (500, 1000), 2000, 3000, 2)


class Place:
    """Where scenarios work: a temporary folder, and a registry of models, started when needed.

    Attributes
    ----------
    path : Path
        The folder, whose folders are the scenarios'.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.path = folder
        self._stack = stack
        self._scorers: dict[str, CreditScorer] = {}

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator["Place"]:
        """Yield a new place, and remove it with all that was started in it."""
        with TemporaryDirectory(prefix="credit-risk-bench-") as name, ExitStack() as stack:
            yield cls(Path(name), stack)

    def folder(self, name: str) -> Path:
        """Return a new folder."""
        made = self.path / name
        made.mkdir(parents=True)
        return made

    @cached_property
    def registry(self) -> str:
        """The address of an MLflow server."""
        return self._stack.enter_context(mlflow_server(self.folder("mlflow")))

    def scorer(self, name: str) -> CreditScorer:
        """Return a scorer, which the registry has under its name."""
        if name not in self._scorers:
            scorer = scorer_of(name)
            registered(self.registry, name, scorer)
            self._scorers[name] = scorer
        return self._scorers[name]


@dataclass(frozen=True)
class Scenario:
    """A part of the benchmark.

    Attributes
    ----------
    name : str
        What `--only` calls it.
    function : str
        Where the function is that measures it, as `module:name`. It takes a `Place` and `Sizes`
        and yields lines.
    quick : bool
        Whether it is a part of the quick benchmark.
    """

    name: str
    function: str
    quick: bool = field(default=False, kw_only=True)

    def measure(self, place: Place, sizes: Sizes) -> Iterator[Line]:
        """Yield its lines."""
        # Imported here, as some import what takes seconds.
        function: Callable[[Place, Sizes], Iterator[Line]] = resolve_name(self.function)
        yield from function(place, sizes)


SCENARIOS = (
    Scenario("client", "benchmarks.serving.client:measure", quick=True),
    Scenario("logs", "benchmarks.serving.logs:measure"),
    Scenario("page", "benchmarks.serving.page:measure"),
    Scenario("swap", "benchmarks.serving.swap:measure"),
    Scenario("file", "benchmarks.files.upload:measure", quick=True),
    Scenario("command", "benchmarks.files.command:measure"),
    Scenario("portfolio", "benchmarks.portfolio:measure"),
    Scenario("scoring", "benchmarks.models.scoring:measure", quick=True),
    Scenario("search", "benchmarks.models.search:measure"),
    Scenario("writers", "benchmarks.log.writing:measure"),
    Scenario("history", "benchmarks.serving.history:measure"),
    Scenario("verification", "benchmarks.log.verification:measure"),
    Scenario("drift", "benchmarks.watching.refresh:measure"),
    Scenario("report", "benchmarks.watching.report:measure"),
    Scenario("stack", "benchmarks.serving.stack:measure"),
)
