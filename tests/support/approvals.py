"""The approvals service as a process of its own, with people whose tokens say who they are."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.keys import digest
from credit_risk.settings import Settings
from tests.support.issuer import AUDIENCE, Issuer
from tests.support.processes import answers, free_port, running, wait_for
from tools.paths import ROOT

BANK = "bank.example"
# Besides one person for each role, a second of each that takes part in an approval.
ROLES = f"""
[clerk]
users = ["clerk@{BANK}"]
[reviewer]
users = ["reviewer@{BANK}"]
[data-scientist]
users = ["data-scientist@{BANK}", "both@{BANK}"]
[approver]
users = ["approver@{BANK}", "second@{BANK}", "both@{BANK}"]
[auditor]
users = ["auditor@{BANK}"]
[operator]
users = ["operator@{BANK}"]
"""
KEY, SCRAPE_KEY = "k" * 43, "s" * 43


@dataclass
class Approvals:
    """A service that runs, the issuer that it believes, and the settings of its stack."""

    url: str
    issuer: Issuer
    environment: dict[str, str]

    def token(self, who: str) -> str:
        """Return what identifies somebody: a role's person, `service` or `prometheus`."""
        keys = {"service": KEY, "prometheus": SCRAPE_KEY}
        return keys.get(who) or self.issuer.token(email=f"{who}@{BANK}")

    def ask(self, who: str | None, method: str, path: str, **more: Any) -> requests.Response:
        """Ask as somebody; `headers` go along."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.token(who)}"
        return requests.request(
            method, self.url + path, headers=headers, timeout=120, allow_redirects=False, **more
        )

    def post(self, who: str, route: str, **body: Any) -> requests.Response:
        """Use the API."""
        return self.ask(who, "POST", f"/api/v1/{route}", json=body)

    def send(self, who: str, form: str, **fields: str) -> requests.Response:
        """Send a form as the page does."""
        return self.ask(who, "POST", f"/{form}", data=fields, headers={"Origin": self.url})

    def version(self, number: str) -> dict[str, Any]:
        """Return what an auditor sees of a version."""
        listed = self.ask("auditor", "GET", "/api/v1/versions").json()["versions"]
        return next(version for version in listed if version["version"] == number)

    @property
    def settings(self) -> Settings:
        """Its settings."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return Settings(_env_file=None)

    def log(self) -> DecisionLog:
        """Return its decision log."""
        return open_log(self.settings)


@contextmanager
def approving(folder: Path, issuer: Issuer, more: Mapping[str, str]) -> Iterator[Approvals]:
    """Run an approvals service with all its state below a folder."""
    port = free_port()
    (folder / "roles.toml").write_text(ROLES)
    (folder / "scrape-key").write_text(SCRAPE_KEY)
    environment = {
        "VAR_DIR": str(folder / "var"),
        "DECISION_LOG": f"sqlite:///{folder}/decisions.db",
        "BUCKET": str(folder / "bucket"),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "OIDC_ISSUER": issuer.url,
        "OIDC_AUDIENCE": AUDIENCE,
        "ROLES_FILE": str(folder / "roles.toml"),
        "API_KEYS": f"branch-12:{digest(KEY)}:2999-12-31",
        "SCRAPE_KEY_FILE": str(folder / "scrape-key"),
        "APPROVALS_PORT": str(port),
        "APPROVALS_URL": f"http://127.0.0.1:{port}",
        "PYTHONPATH": str(ROOT),
        **more,
    }
    command = [sys.executable, "-m", "model_deployment.approvals"]
    with running(command, folder / "approvals.log", environment):
        url = environment["APPROVALS_URL"]
        wait_for(lambda: answers(f"{url}/healthz"), 120, "the approvals service")
        yield Approvals(url, issuer, environment)
