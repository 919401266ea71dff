"""Hand out the secrets of docker-compose.yml: each container gets a folder with what it needs.

A one-shot job does this before every start, on a volume that no other container sees as a whole.
The secrets that passwords.py makes are in `kept`, for this job alone. Each of the other folders is
mounted into the one container of that name, so its files may be readable by any user there. A file
named in capitals becomes a variable of the environment (tools/with-secrets.sh). A password that a
person has set in the job's environment, through `.env`, takes precedence over the one made.
"""

import argparse
import base64
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tools.access import passwords

KEPT = "kept"
# Users of MongoDB, one for each client of the decision log, with the rights of mongo-roles.json.
LOG_USERS = ("risk-o-meter", "scoring", "training", "reporting", "exporter", "approver")
# Passwords that a person may set, and the names of those that are made otherwise.
SETTABLE = {
    "POSTGRES_PASSWORD": "postgres-admin",
    "MLFLOW_DB_PASSWORD": "postgres-mlflow",
    "PREFECT_DB_PASSWORD": "postgres-prefect",
    "MONGO_PASSWORD": "mongo-admin",
}
# What oauth2-proxy encrypts and signs its cookies with.
COOKIES = "sign-in-cookies"
MADE = (
    *passwords.SECRETS,
    *SETTABLE.values(),
    *(f"mongo-{user}" for user in LOG_USERS),
    COOKIES,
)

Folders = dict[str, dict[str, str]]


def folders(made: Mapping[str, str], given: Mapping[str, str]) -> Folders:
    """Return the files of each container, by its name: the text of each file.

    Parameters
    ----------
    made : mapping
        The secrets of `MADE`, by name.
    given : mapping
        What a person has set, by variable; an empty one counts as not set.
    """
    chosen = {name: given[variable] for variable, name in SETTABLE.items() if given.get(variable)}
    used = {**made, **chosen}
    return {
        **_servers(used, made),
        **_clients(used),
        **_monitoring(used, given),
        **_door(used, given),
    }


def _servers(used: Mapping[str, str], made: Mapping[str, str]) -> Folders:
    """Return the files of the databases, MLflow and Prefect, and of the jobs that set them up."""
    postgres_roles = {name: used[f"postgres-{name}"] for name in ("admin", "mlflow", "prefect")}
    mongo_roles = {name: used[f"mongo-{name}"] for name in ("admin", *LOG_USERS)}
    mlflow = {name: used[name] for name in passwords.SECRETS if name.startswith("mlflow-")}
    return {
        "postgres": {"POSTGRES_PASSWORD": used["postgres-admin"]},
        "postgres-roles": {**postgres_roles, "admin-made": made["postgres-admin"]},
        "mongo": {"MONGO_PASSWORD": used["mongo-admin"]},
        "mongo-roles": {**mongo_roles, "admin-made": made["mongo-admin"]},
        "mlflow": {"MLFLOW_BACKEND_STORE_URI": _database(used, "psycopg2", "mlflow"), **mlflow},
        "prefect-server": {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": _database(used, "asyncpg", "prefect"),
            "PREFECT_SERVER_API_AUTH_STRING": _prefect_login(used),
        },
    }


def _clients(used: Mapping[str, str]) -> Folders:
    """Return the files of the services and jobs that use the log, MLflow and Prefect."""
    prefect = {"PREFECT_API_AUTH_STRING": _prefect_login(used)}
    scrape_key = {"scrape-key": used["scrape-key"]}
    serving = _mlflow(used, "serving")
    approver = {**_log(used, "approver"), **_mlflow(used, "approver")}
    scoring = {**_log(used, "scoring"), **serving}
    return {
        "deployments": prefect,
        "training-worker": {**_log(used, "training"), **_mlflow(used, "training"), **prefect},
        "first-model": {**approver, **prefect},
        "approver": approver,
        "approvals": {**approver, **prefect, **scrape_key},
        "reporting-worker": {**_log(used, "reporting"), **serving, **prefect},
        "risk-o-meter": {**_log(used, "risk-o-meter"), **serving, **scrape_key},
        "scoring-worker": {**scoring, **prefect},
        "dask-worker": scoring,
        "evidently-exporter": {**_log(used, "exporter"), **serving, **prefect, **scrape_key},
    }


def _monitoring(used: Mapping[str, str], given: Mapping[str, str]) -> Folders:
    alerts = {name: given.get(name, "") for name in ("ALERT_WEBHOOK_URL", "SMTP_PASSWORD")}
    return {
        "prometheus": {"scrape-key": used["scrape-key"]},
        "alertmanager": alerts,
        # It answers on this machine only, and the table of addresses shows this default.
        "grafana": {"GRAFANA_PASSWORD": given.get("GRAFANA_PASSWORD") or "admin"},
    }


def _door(used: Mapping[str, str], given: Mapping[str, str]) -> Folders:
    """Return the files of the profile `secure`: of its proxy, and of oauth2-proxy."""
    return {
        "secure-proxy": {
            "MLFLOW_LOGIN": _basic(f"people:{used['mlflow-people']}"),
            "PREFECT_LOGIN": _basic(_prefect_login(used)),
        },
        "sign-in": {
            "cookie-secret": used[COOKIES],
            "client-secret": given.get("OIDC_CLIENT_SECRET", ""),
        },
    }


def _basic(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


def _prefect_login(used: Mapping[str, str]) -> str:
    """Return Prefect's login; who has it can run code on the workers."""
    return f"admin:{used['prefect-login']}"


def _log(used: Mapping[str, str], user: str) -> dict[str, str]:
    login = f"{user}:{used[f'mongo-{user}']}"
    return {
        "DECISION_LOG": f"mongodb://{login}@mongo:27017/credit_risk?authSource=admin&journal=true"
    }


def _mlflow(used: Mapping[str, str], user: str) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": used[f"mlflow-{user}"],
    }


def _database(used: Mapping[str, str], driver: str, name: str) -> str:
    password = quote(used[f"postgres-{name}"], safe="")
    return f"postgresql+{driver}://{name}:{password}@postgres:5432/{name}"


def hand_out(volume: Path, given: Mapping[str, str]) -> None:
    """Make the missing secrets, and write the folder of each container."""
    wanted = folders(passwords.make(volume / KEPT, MADE), given)
    for name, files in wanted.items():
        _write(volume / name, files)

    for folder in volume.iterdir():
        if folder.name not in wanted and folder.name != KEPT:
            shutil.rmtree(folder)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)

    for name, text in files.items():
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as new:
            new.write(text)
        Path(new.name).chmod(0o444)
        # A process that reads the file meanwhile gets the old or the new one.
        Path(new.name).replace(folder / name)

    for file in folder.iterdir():
        if file.name not in files:
            file.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.access.handout", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("volume", type=Path, help="where the folders are")
    hand_out(parser.parse_args(arguments).volume, os.environ)
    return 0


if __name__ == "__main__":
    sys.exit(main())
