"""The credentials and settings that each service of the local stack starts with."""

from collections.abc import Mapping

_WORKERS = ("training-worker", "reporting-worker", "scoring-worker")
_FLOWS_ASKED = ("deployments", "first-model", "approvals", *_WORKERS, "evidently-exporter")
_LOG_USED = ("risk-o-meter", "evidently-exporter", "first-model", "approvals", *_WORKERS)

# The services that have a credential; all others start without it. docker-compose.yml hands out the
# same.
CREDENTIALS = {
    "ALERT_WEBHOOK_URL": ("alertmanager",),
    "SMTP_USER": ("alertmanager",),
    "SMTP_PASSWORD": ("alertmanager",),
    "API_KEYS": ("risk-o-meter", "evidently-exporter"),
    "DECISION_LOG": _LOG_USED,
    "PREFECT_SERVER_API_AUTH_STRING": ("prefect-server",),
    "PREFECT_API_AUTH_STRING": _FLOWS_ASKED,
    "MLFLOW_TRACKING_USERNAME": (),
    "MLFLOW_TRACKING_PASSWORD": (),
}

# The user of MLflow's that each service logs in as (see servers/mlflow_server.py).
MLFLOW_USERS = {
    "first-model": "approver",
    "approvals": "approver",
    "training-worker": "training",
    "reporting-worker": "serving",
    "scoring-worker": "serving",
    "risk-o-meter": "serving",
    "evidently-exporter": "serving",
}

# The environment that a worker starts its runs with; nothing else can set it (see JOB_TEMPLATE in
# deploy.py).
RUNS = {
    # Seconds between two signs of life of a run, which the crash rule of deploy.py listens for.
    # Prefect accepts no less than 30.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # Seconds between two batches of log lines: a person who follows a run sees it move.
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
    # Prefect's server answers so while its database does not answer.
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    # A run can wait, and MLflow may be restarting.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}


def environment_of(name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service, taken from that of the whole stack."""
    environment = {
        variable: value
        for variable, value in given.items()
        if name in CREDENTIALS.get(variable, (name,))
    }
    if user := MLFLOW_USERS.get(name):
        environment |= mlflow_login(user)
    if name in _WORKERS:
        environment |= RUNS
    return environment


def mlflow_login(user: str) -> dict[str, str]:
    """Return the variables with which MLflow's clients log in; without a login they are ignored."""
    return {
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": f"{{secret:mlflow-{user}}}",
    }
