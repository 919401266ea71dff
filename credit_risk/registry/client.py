"""MLflow's client, imported when it is first needed.

Whatever is in the cache is loaded without MLflow, which takes .6 s to import.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# By default MLflow waits for minutes when a server is down, which a service cannot afford.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def limit_patience() -> None:
    """Have MLflow's client give up soon, unless the environment says otherwise."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def mlflow_client(tracking_uri: str) -> "MlflowClient":
    """Return a client of an MLflow server and its registry."""
    limit_patience()
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri, tracking_uri)
