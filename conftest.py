"""Fixtures that all tests share: their settings, and real servers, started and stopped for them.

Tests are skipped, with the reason in one line, if a program that they need is not on the machine;
with `REQUIRE_PARTS=1`, as in CI, they fail.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import pymongo.monitoring
import pytest

from credit_risk.registry import logged
from credit_risk.registry.client import limit_patience
from credit_risk.settings import Settings
from credit_risk.storage.documents import INDEXES
from credit_risk.storage.mongodb import create_indexes
from tests.support.processes import answers, free_port, listens, need, running, wait_for
from tests.support.services import PREFECT_LOGIN, flows_under, prefect_server
from tools.access.mongo_roles import ROLES, privileges

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# The first client does the same: whether a test before has made one must not matter.
limit_patience()

# A slow example shows only that the machine is busy.
hypothesis.settings.register_profile("tests", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("tests")

ALL_MODULES = logged.modules
# Files of tests that take minutes; if they began last, other processes would be idle meanwhile.
FIRST = (
    "test_end_to_end.py",
    "test_flow.py",
    "test_stack.py",
    "test_faults.py",
    "test_open_stack.py",
    "test_recovery.py",
    "test_own_data.py",
    "test_chaos.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, the others in the order in which they were found."""
    items.sort(key=lambda item: item.path.name not in FIRST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each reason why tests are left out, such as what the machine lacks, in one line."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[-1]).removeprefix("Skipped: ") for report in skipped)
    for reason, n in reasons.most_common():
        terminalreporter.write_line(f"{n} left out: {reason}")


@pytest.fixture(scope="session", autouse=True)
def little_code() -> Iterator[None]:
    """Log models with only one code file: a look at a version takes a request for each file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logged, "modules", lambda: ["__init__.py"])
        yield


@pytest.fixture(scope="module")
def all_code(little_code: None) -> Iterator[None]:
    """Log models with all of their code, as outside the tests, so that MLflow can load them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logged, "modules", ALL_MODULES)
        yield


@pytest.fixture
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip a scorer's trial, which takes seconds and has its own tests."""
    monkeypatch.setattr("credit_risk.registry.registry.try_scorer", lambda data: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with all state in the test's folder, and addresses where nobody listens."""
    return Settings(
        _env_file=None,
        var_dir=tmp_path,
        decision_log=f"sqlite:///{tmp_path}/decisions.db",
        bucket=str(tmp_path / "bucket"),
        mlflow_tracking_uri="http://127.0.0.1:1",
        prefect_api_url="http://127.0.0.1:1/api",
        prefect_api_auth_string=PREFECT_LOGIN,
    )


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on SQLite; its address."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [sys.executable, "-m", "tools.servers.mlflow_server", f"--port={port}"]
    command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db"]
    command += [f"--artifacts-destination={folder / 'a'}"]
    with running(command, folder / "log", {"PYTHONPATH": str(Path(__file__).parent)}):
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 120, "MLflow")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def _prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as api:
        yield api


@pytest.fixture(scope="module")
def prefect_api(_prefect_server: str) -> Iterator[str]:
    """The API of a real Prefect server, under which the module's flows run."""
    with flows_under(_prefect_server) as api:
        yield api


@pytest.fixture(scope="session")
def _mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("TEST_MONGODB_URL")
    if given:
        yield given.rstrip("/")
        return
    program = need(
        "ferretdb", "or set TEST_MONGODB_URL to a MongoDB; tools/install-parts.sh builds ferretdb"
    )
    folder = tmp_path_factory.mktemp("ferretdb")
    port = free_port()
    command = [program, "--handler=sqlite", f"--sqlite-url=file:{folder}/", f"--state-dir={folder}"]
    command += [f"--listen-addr=127.0.0.1:{port}", "--debug-addr=-", "--telemetry=disable"]
    with running(command, folder / "log"):
        wait_for(lambda: listens(port), what="FerretDB")
        yield f"mongodb://127.0.0.1:{port}"


@pytest.fixture
def mongodb_url(_mongodb: str, request: pytest.FixtureRequest) -> str:
    """A new database for the test, on a server that speaks MongoDB's protocol."""
    return f"{_mongodb}/test_{abs(hash(request.node.nodeid))}"


@pytest.fixture(scope="session")
def _mongo_java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = need("mongo-java-server", "tools/install-parts.sh builds it")
    port = free_port()
    with running([program, str(port)], tmp_path_factory.mktemp("mongo-java") / "log"):
        wait_for(lambda: listens(port), what="mongo-java-server")
        yield f"mongodb://127.0.0.1:{port}"


@pytest.fixture
def mongo_java_url(
    _mongo_java: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """A new database for the test, on another server that speaks MongoDB's protocol.

    It updates a document atomically, as MongoDB does and FerretDB's SQLite handler does not. Of its
    indexes only the unique ones are used. What it returns while others write is no proof: a read,
    or the document after `find_one_and_update`, may hold a part of a later update.
    """
    # It announces the protocol of MongoDB 4.2, which pymongo refuses.
    monkeypatch.setattr("pymongo.common.MIN_SUPPORTED_WIRE_VERSION", 8)
    return f"{_mongo_java}/test_{abs(hash(request.node.nodeid))}"


class Sent(pymongo.monitoring.CommandListener):
    """Notes the rights that MongoDB requires for the commands that this process sends."""

    # Any other command counts as a right of the same name, which nobody has.
    RIGHT: ClassVar = {
        "aggregate": "find",
        "count": "find",
        "delete": "remove",
        "distinct": "find",
        "getMore": "find",
    }
    FREE: ClassVar = {"endSessions", "hello", "killCursors", "ping"}

    def __init__(self) -> None:
        self.noted: tuple[str, set[tuple[str, str]]] | None = None

    def started(self, event: pymongo.monitoring.CommandStartedEvent) -> None:
        """See the base class."""
        name = event.command_name
        if self.noted and self.noted[0] == event.database_name and name not in self.FREE:
            collection = event.command["collection" if name == "getMore" else name]
            self.noted[1].add((str(collection), self.RIGHT.get(name, name)))

    def succeeded(self, event: pymongo.monitoring.CommandSucceededEvent) -> None:
        """See the base class."""

    def failed(self, event: pymongo.monitoring.CommandFailedEvent) -> None:
        """See the base class."""


_sent = Sent()
pymongo.monitoring.register(_sent)


@pytest.fixture
def in_role(mongodb_url: str) -> Callable[[str], AbstractContextManager[None]]:
    """A function `in_role(name)`, in whose context commands must be within that role's rights.

    They are those sent to `mongodb_url`. The indexes exist before, as in docker-compose.yml.
    """
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(mongodb_url)
    database = client.get_default_database()
    for name in INDEXES:
        create_indexes(database[name])

    @contextmanager
    def watch(role: str) -> Iterator[None]:
        _sent.noted = database.name, set()
        try:
            yield
            used = _sent.noted[1]
        finally:
            _sent.noted = None
        assert used, "nothing was asked of MongoDB"
        granted = {
            (p["resource"]["collection"], action)
            for p in privileges(ROLES[role])
            for action in p["actions"]
        }
        assert used <= granted, f"{role} has no right to: {sorted(used - granted)}"

    return watch


@pytest.fixture(scope="session")
def _gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = need("fake-gcs-server", "tools/install-parts.sh builds it")
    folder = tmp_path_factory.mktemp("gcs")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [program, "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"]
    command += [f"-external-url={url}"]
    with running(command, folder / "log"):
        wait_for(lambda: answers(f"{url}/storage/v1/b?project=local"), what="fake-gcs-server")
        yield url


@pytest.fixture
def gcs_url(_gcs: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The address of a bucket folder for the test, on the server at STORAGE_EMULATOR_HOST."""
    from google.api_core.exceptions import Conflict
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", _gcs)
    client = storage.Client(project="local", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
    with suppress(Conflict):
        client.create_bucket("test")
    return f"gs://test/{abs(hash(request.node.nodeid))}"


@pytest.fixture
def on_servers(request: pytest.FixtureRequest) -> Callable[[Settings], Settings]:
    """A function that returns settings with a log at `mongodb_url` and a bucket at `gcs_url`."""

    def move(settings: Settings) -> Settings:
        urls = {
            "decision_log": request.getfixturevalue("mongodb_url"),
            "bucket": request.getfixturevalue("gcs_url"),
        }
        return settings.model_copy(update=urls)

    return move


@pytest.fixture(scope="session")
def prometheus_binary() -> str:
    """The path of Prometheus."""
    return need("prometheus", "Debian's package prometheus has it, with promtool")


@pytest.fixture(scope="session")
def alertmanager_binary() -> str:
    """The path of the Alertmanager, which has another name in Debian."""
    return shutil.which("alertmanager") or need(
        "prometheus-alertmanager", "Debian's package of that name has it"
    )


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = need("chromium", "Debian's packages chromium and chromium-driver")
    driver = need("chromedriver", "Debian's package chromium-driver")
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def chromium(_chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A function `chromium(width=1280, height=900)` that returns a browser without a history.

    It is started once, and each test has its own tab; downloads go to the test's `downloads`.
    """
    first = _chromium.current_window_handle
    downloads = tmp_path / "downloads"
    downloads.mkdir()

    def open_browser(width: int = 1280, height: int = 900) -> Any:
        _chromium.get_log("browser")  # discards earlier lines
        _chromium.switch_to.new_window("tab")
        _chromium.set_window_size(width, height)
        behaviour = {"behavior": "allow", "downloadPath": str(downloads)}
        _chromium.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
        return _chromium

    yield open_browser
    for tab in set(_chromium.window_handles) - {first}:
        _chromium.switch_to.window(tab)
        origin = _chromium.execute_script("return origin")
        _chromium.execute_cdp_cmd(
            "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"}
        )
        _chromium.close()
    _chromium.switch_to.window(first)
