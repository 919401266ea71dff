"""Hand out the secrets of docker-compose.yml: to each container a folder of its own, and in it only what it needs.

A one-shot job does this before every start, on a volume that no other container sees whole. What tools/passwords.py
makes is in `kept`, for this job alone. Of the other folders each is mounted into the one container of that name, so
that its files may be read by whatever user runs there. A file named in capitals becomes a variable of the environment
(tools/with-secrets.sh). A password that a person has set in the job's environment, by `.env`, goes before the one made.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from tools import passwords

KEPT = "kept"
# Who asks the decision log: a user of MongoDB each, with the rights of tools/mongo-roles.json.
LOG_USERS = ("risk-o-meter", "training", "reporting", "exporter", "approver")
# What a person may set, and what is made where nobody does.
SETTABLE = {
    "POSTGRES_PASSWORD": "postgres-admin",
    "MLFLOW_DB_PASSWORD": "postgres-mlflow",
    "PREFECT_DB_PASSWORD": "postgres-prefect",
    "MONGO_PASSWORD": "mongo-admin",
}
MADE = (*passwords.SECRETS, *SETTABLE.values(), *(f"mongo-{user}" for user in LOG_USERS))

Folders = dict[str, dict[str, str]]


def folders(made: Mapping[str, str], given: Mapping[str, str]) -> Folders:
    """Return what each container gets: its name, and file by file the text.

    Parameters
    ----------
    made : mapping
        The secrets of `MADE`, by name.
    given : mapping
        What a person has set, by variable; what is empty is not set.
    """
    used = dict(made) | {name: given[variable] for variable, name in SETTABLE.items() if given.get(variable)}

    def log(user: str) -> dict[str, str]:
        return {"DECISION_LOG": f"mongodb://{user}:{used[f'mongo-{user}']}@mongo:27017/credit_risk?authSource=admin"}

    # Who has it can run code on the workers.
    login = f"admin:{used['prefect-login']}"
    prefect = {"PREFECT_API_AUTH_STRING": login}

    def mlflow(user: str) -> dict[str, str]:
        return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": used[f"mlflow-{user}"]}

    def database(driver: str, name: str) -> str:
        return f"postgresql+{driver}://{name}:{quote(used[f'postgres-{name}'], safe='')}@postgres:5432/{name}"

    return {
        "postgres": {"POSTGRES_PASSWORD": used["postgres-admin"]},
        "postgres-roles": {
            **{name: used[f"postgres-{name}"] for name in ("admin", "mlflow", "prefect")},
            "admin-made": made["postgres-admin"],
        },
        "mongo": {"MONGO_PASSWORD": used["mongo-admin"]},
        "mongo-roles": {
            **{name: used[f"mongo-{name}"] for name in ("admin", *LOG_USERS)},
            "admin-made": made["mongo-admin"],
        },
        "mlflow": {
            "MLFLOW_BACKEND_STORE_URI": database("psycopg2", "mlflow"),
            **{name: used[name] for name in passwords.SECRETS if name.startswith("mlflow-")},
        },
        "prefect-server": {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database("asyncpg", "prefect"),
            "PREFECT_SERVER_API_AUTH_STRING": login,
        },
        "deployments": prefect,
        "training-worker": log("training") | mlflow("training") | prefect,
        "first-model": log("approver") | mlflow("approver") | prefect,
        "approver": log("approver") | mlflow("approver"),
        "reporting-worker": log("reporting") | mlflow("serving") | prefect,
        "risk-o-meter": log("risk-o-meter") | mlflow("serving") | {"scrape-key": used["scrape-key"]},
        "evidently-exporter": log("exporter") | mlflow("serving") | prefect | {"scrape-key": used["scrape-key"]},
        "prometheus": {"scrape-key": used["scrape-key"]},
        "alertmanager": {name: given.get(name, "") for name in ("ALERT_WEBHOOK_URL", "SMTP_PASSWORD")},
        # On this machine only, and as the table of addresses says, unless somebody sets another.
        "grafana": {"GRAFANA_PASSWORD": given.get("GRAFANA_PASSWORD") or "admin"},
    }


def hand_out(volume: Path, given: Mapping[str, str]) -> None:
    """Make what is missing, and write each container's folder anew."""
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
        Path(new.name).replace(folder / name)  # whoever reads it meanwhile reads the one or the other
    for file in folder.iterdir():
        if file.name not in files:
            file.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.handout", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("volume", type=Path, help="where the folders are")
    hand_out(parser.parse_args(arguments).volume, os.environ)
    return 0


if __name__ == "__main__":
    sys.exit(main())
