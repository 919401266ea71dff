"""Local stacks that do not run, and looks at the state of any."""

import csv
import io
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from credit_risk.decision_log.log import DecisionLog, open_log
from credit_risk.prefect_api import PrefectAPI
from credit_risk.schema.dataset_file import DEFAULT
from credit_risk.settings import Settings
from tools.paths import ROOT
from tools.stack.local_stack import Stack


def stack_of(folder: Path, **values: Any) -> Stack:
    """Return a stack with its state in `folder/var`, whatever the environment says."""
    return Stack(Settings(_env_file=None, var_dir=folder / "var", **values))


def log_of(environment: Mapping[str, str]) -> DecisionLog:
    """Return the decision log of a stack with this environment."""
    return open_log(
        Settings(
            _env_file=None,
            var_dir=environment["VAR_DIR"],
            decision_log=environment["DECISION_LOG"],
            bucket=environment["BUCKET"],
            dataset=environment.get("DATASET", DEFAULT),
        )
    )


def pause_schedules(prefect: PrefectAPI) -> bool:
    """Have a stack run nothing by itself: its tests count runs, at whatever hour they begin.

    Returns
    -------
    bool
        Whether all deployments were there.
    """
    deployments = prefect.ask("deployments/filter", {})
    for deployment in deployments:
        prefect.ask(f"deployments/{deployment['id']}/pause_deployment", {})
    planned = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return {one["name"] for one in planned} <= {one["name"] for one in deployments}


def others_can(path: Path) -> bool:
    """Return whether other users of the machine have any right to a file.

    Nobody has any to a link, nor to a file that is gone by now, as temporary ones are.
    """
    try:
        about = path.lstat()
    except FileNotFoundError:
        return False
    return bool(about.st_mode & 0o077) and not stat.S_ISLNK(about.st_mode)


def clients(n: int, **changes: str) -> bytes:
    """Return n clients of the data as a CSV, with some columns changed."""
    rows = list(csv.DictReader((ROOT / "data/credit-g.csv").read_text().splitlines()))
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | changes for row in rows[:n])
    return text.getvalue().encode()


def upload(stack: Any, content: bytes, name: str = "clients.csv") -> dict[str, Any]:
    answer = stack.post("RISKOMETER", "/api/v1/files", files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def serves(stack: Any) -> str:
    return str(stack.get("RISKOMETER", "/api/v1/model").json()["version"])


def alias(stack: Any, name: str) -> str:
    answer = stack.get(
        "MLFLOW", f"/api/2.0/mlflow/registered-models/alias?name=credit-risk&alias={name}"
    )
    return str(answer.json()["model_version"]["version"])
