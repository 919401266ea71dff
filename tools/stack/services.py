"""The services of the local stack: what each waits for, where it answers, and how it is checked."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from tools.access.exposure import bind_address, reachable


@dataclass(frozen=True)
class Service:
    """One program of supervisord.conf.

    Attributes
    ----------
    after : tuple of str
        The services that have to be ready before this one is started.
    port : str
        The setting that holds its port; empty when it has none.
    page : str
        The path of the page that a person opens.
    health : str
        The path that answers 200 when the service is well; with `body`, by POST.
    pool : str
        The work pool that it takes runs from, if it is a worker.
    job : bool
        Whether it ends by itself; then it is ready.
    server : bool
        Whether others need it in order to stop cleanly; then it is stopped last.
    programs : tuple of str
        Programs that this project does not bring: the service runs where one of them is on PATH.
    settings : tuple of str
        Settings of which one has to be set: without, the service is no part of the stack.
    """

    name: str
    after: tuple[str, ...] = ()
    port: str = ""
    page: str = ""
    health: str = ""
    body: bytes | None = None
    pool: str = ""
    job: bool = False
    server: bool = False
    programs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def program(self) -> str | None:
        """The path of the program that it needs; None where this machine has none."""
        return next(filter(None, map(shutil.which, self.programs)), None)

    @property
    def possible(self) -> bool:
        """Whether it can run on this machine."""
        return not self.programs or self.program is not None

    def wanted(self, environment: Mapping[str, str]) -> bool:
        """Return whether it is a part of the stack with these settings."""
        return not self.settings or any(environment.get(name) for name in self.settings)

    def address(self, environment: Mapping[str, str]) -> str:
        """Return where it answers on this machine; empty when it has no port."""
        if not self.port:
            return ""
        host = reachable(bind_address(self.name, environment))
        return f"http://{host}:{environment[self.port]}"


# The order of the table.
SERVICES = (
    Service("risk-o-meter", ("mlflow",), port="RISKOMETER_PORT", health="/readyz"),
    # MLflow's /health answers 200 even to hosts that get 403 elsewhere: ask what clients ask.
    Service(
        "mlflow",
        port="MLFLOW_PORT",
        health="/api/2.0/mlflow/experiments/search",
        body=b'{"max_results": 1}',
        server=True,
    ),
    Service("prefect-server", port="PREFECT_PORT", health="/api/health", server=True),
    Service("training-worker", ("deployments",), pool="training"),
    Service("reporting-worker", ("deployments",), pool="reporting"),
    Service("scoring-worker", ("deployments",), pool="scoring"),
    Service(
        "evidently-exporter", ("mlflow",), port="EXPORTER_PORT", page="/metrics", health="/healthz"
    ),
    Service(
        "approvals",
        ("mlflow",),
        port="APPROVALS_PORT",
        page="/",
        health="/healthz",
        settings=("OIDC_ISSUER", "IAP_AUDIENCE"),
    ),
    Service("prometheus", port="PROMETHEUS_PORT", health="/-/healthy", programs=("prometheus",)),
    Service(
        "alertmanager",
        port="ALERTMANAGER_PORT",
        health="/-/healthy",
        programs=("alertmanager", "prometheus-alertmanager"),  # the second is Debian's name
    ),
    Service("deployments", ("prefect-server",), job=True),
    Service("first-model", ("mlflow", "deployments"), job=True),
)
