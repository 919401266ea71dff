"""Fixtures of the Risk-O-Meter: small models, the app in this process, and the real server."""

import csv
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from werkzeug.test import Client

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.scoring.model import CreditScorer
from credit_risk.settings import Settings
from model_deployment.app import App, create_app
from model_deployment.scoring.live_model import LiveModel
from tests.support.german_credit import read_training
from tests.support.processes import free_port, wait_for
from tests.support.riskometer import (
    Server,
    StubRegistry,
    approve_version,
    client_of,
    decide_for,
    register_version,
    serving,
)
from tools.paths import ROOT


@pytest.fixture(scope="session")
def scorers() -> list[CreditScorer]:
    """Two small models that do not agree."""
    train = read_training(ROOT / "data/train.csv")
    # Risks that only tell who would be accepted; for that, it does not matter that they are not out
    # of fold.
    risk = CreditScorer(num_boost_round=50).fit(train, train["class"]).predict_proba(train)[:, 0]
    fitted = [CreditScorer(num_boost_round=n).fit(train, train["class"], risk) for n in (150, 250)]
    for scorer in fitted:
        # As a version that is loaded: LightGBM's own risks may differ in the last digit.
        scorer.warm_up()
    return fitted


@pytest.fixture(scope="session")
def client_rows() -> list[dict[str, Any]]:
    """The test clients as applications, without their class; numbers are ints."""
    with (ROOT / "data/test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["class"]
    return [
        {name: int(text) if text.isdigit() else text for name, text in row.items()} for row in rows
    ]


@pytest.fixture(scope="session")
def as_csv() -> Callable[..., str]:
    """A function that returns applications as the text of a CSV."""

    def write(rows: list[dict[str, Any]], separator: str = ",") -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    return write


@pytest.fixture
def registry(scorers: list[CreditScorer]) -> StubRegistry:
    return StubRegistry(scorers)


@pytest.fixture
def log(settings: Settings) -> DecisionLog:
    return open_log(settings)


@pytest.fixture
def appoint(registry: StubRegistry, log: DecisionLog) -> Callable[..., None]:
    """A function that has a version decide: its approval in the log, and the alias after it."""

    def decide(version: str, by: str = "Ann", **more: Any) -> None:
        decide_for(log, version, by, **more)
        registry.production = version

    return decide


@pytest.fixture
def disapprove(
    registry: StubRegistry, log: DecisionLog, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """A function after which nobody has ever approved a version."""

    def forget() -> None:
        registry.production = None
        monkeypatch.setattr(log, "approvals", list)

    return forget


@pytest.fixture
def production(registry: StubRegistry, log: DecisionLog) -> LiveModel:
    """Version 1, approved by Ann and loaded; nothing watches, a test looks when it wants to."""
    decide_for(log, "1")
    production = LiveModel(registry, log, poll_seconds=10)  # type: ignore[arg-type]
    production.refresh()
    return production


@pytest.fixture
def app(settings: Settings, production: LiveModel, log: DecisionLog) -> App:
    return create_app(
        settings.model_copy(update={"max_upload_mb": 1}), production=production, log=log
    )


@pytest.fixture
def client(app: App) -> Client:
    return client_of(app)


@pytest.fixture
def send_file(client: Client) -> Callable[..., Any]:
    """A function that uploads text or bytes as a file and returns the answer."""

    def send(content: str | bytes, name: str = "clients.csv", query: str = "") -> Any:
        data = content.encode() if isinstance(content, str) else content
        return client.post(f"/api/v1/files{query}", data={"file": (io.BytesIO(data), name)})

    return send


# The real thing


@pytest.fixture(scope="session")
def _server(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: str, scorers: list[CreditScorer]
) -> Iterator[Server]:
    """A Risk-O-Meter of two processes with a Production model and a limit of 1 MB."""
    settings = {"MLFLOW_TRACKING_URI": mlflow_server, "MODEL_NAME": "served", "MAX_UPLOAD_MB": "1"}
    version = register_version(mlflow_server, "served", scorers[0])
    with serving(
        tmp_path_factory.mktemp("server"), settings | {"MODEL_POLL_SECONDS": "1"}
    ) as server:
        approve_version(server, version)
        yield server


@pytest.fixture
def server(_server: Server) -> Server:
    """See `_server`; a worker that an earlier test has killed is replaced by now."""
    wait_for(_server.ready, 120, "the Production model")
    return _server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that runs a Risk-O-Meter of the test's own: `serve(MODEL_NAME="mine", ...)`."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(tmp_path, settings))


class Relay:
    """A port in front of a server, which a test can take away."""

    def __init__(self) -> None:
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def url(self, target: str) -> str:
        """Listen for the server at `target`, and return the address to use in its place."""
        self._target = urlsplit(target)
        self._port = free_port()
        self.again()
        return f"http://127.0.0.1:{self._port}"

    def again(self) -> None:
        """Listen, also after a stop."""
        self._open = []
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Close the port and all connections."""
        for each in (self._listener, *self._open):
            if each is not None:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _accept(self) -> None:
        assert self._listener is not None
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(
                    (self._target.hostname or "", self._target.port or 0)
                )
                self._open += [near, far]
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.stop()


@pytest.fixture(scope="session")
def register() -> Callable[..., str]:
    """A function that registers a model: `register(tracking_uri, name, scorer, **tags)`."""
    return register_version


@pytest.fixture(scope="session")
def approve_on() -> Callable[..., None]:
    """A function that approves a version, `approve_on(server, version, by)`."""
    return approve_version
