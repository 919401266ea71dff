"""Run MLflow's server, with a login wherever HOST opens it to other machines.

It is what `mlflow server` runs, without the parts that do more than keep runs and models: the
assistant runs commands for anybody on this machine, the gateway asks language models, and an
experiment with its own artifact location makes this process write wherever it has the right to.

The users of its login are those of `USERS`; their passwords are the files of these names in
SECRETS_DIR at each start. All of them may read. Only `WRITERS` may change what training has logged
and registered; anybody may change the experiments and models that they have made themselves.
"""

import argparse
import base64
import configparser
import os
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.access.exposure import is_loopback
from tools.access.passwords import read

if TYPE_CHECKING:
    from starlette.types import ASGIApp

ADMIN = "admin"
USERS = (ADMIN, "training", "approver", "serving", "people")
WRITERS = ("training", "approver")
KEY = "mlflow-flask-key"
"""The key that the pages that change users are signed with."""

EXPERIMENT = "credit-risk"
"""Where training logs its runs, and so where the files of registered versions are."""

ARTIFACTS = "mlflow-artifacts:/"
RUN = ("run_id", "run_uuid", "runId", "runUuid")
"""All names by which a request may name a run."""
OWN_NAMES = ("localhost", "127.0.0.1", "::1", "mlflow")


def hosts_and_origins(names: Sequence[str], port: int) -> dict[str, str]:
    """Return the names that it answers to, and the origins of pages that may change anything.

    Parameters
    ----------
    names : sequence of str
        Host names and addresses, beside those by which this machine and other containers know it.
    port : int
        The port that others reach it on.
    """
    hosts: list[str] = []
    origins: list[str] = []
    for name in dict.fromkeys([*OWN_NAMES, *names]):
        place = f"[{name}]" if ":" in name else name
        pattern = place.replace("[", "[[]")
        hosts += [place, f"{pattern}:*"]
        origins += [f"http://{place}:{port}", f"http://{place}", f"https://{place}"]

    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
    }


def without_login(database: str, destination: str) -> "ASGIApp":
    """Return MLflow's application.

    Parameters
    ----------
    database : str
        Where runs, versions and users are kept, as an SQLAlchemy URL.
    destination : str
        Where artifacts are kept, a folder or an address.
    """
    _prepare(database, destination)
    from mlflow.server import fastapi_app

    application: ASGIApp = fastapi_app.app
    return application


def with_login(database: str, destination: str, secrets: Path, model: str) -> "ASGIApp":
    """Return MLflow's application with its login, with users and their rights up to date.

    Parameters
    ----------
    database, destination : str
        As in `without_login`.
    secrets : Path
        The folder of passwords.
    model : str
        The registered model that only `WRITERS` may change.
    """
    _prepare(database, destination)
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = read(secrets, KEY)
    # The file's mode is 0600: the database's address may hold a password.
    with tempfile.NamedTemporaryFile("w") as file:
        _configuration(database).write(file)
        file.flush()
        os.environ["MLFLOW_AUTH_CONFIG_PATH"] = file.name
        from mlflow.server import auth

    auth.store.init_db(database)  # migrates the tables of an earlier version of MLflow
    for user in USERS:
        password = read(secrets, f"mlflow-{user}")
        if not auth.store.has_user(user):
            auth.store.create_user(user, password, is_admin=user == ADMIN)
        elif not auth.store.authenticate_user(user, password):
            auth.store.update_user(user, password=password)

    experiment, registered = _experiment(database), _registered(database, model)
    for user in WRITERS:
        auth.store.grant_user_permission(user, "experiment", experiment, "EDIT")
        auth.store.grant_user_permission(user, "registered_model", registered, "EDIT")

    application: ASGIApp = auth.create_app()
    return application


def upgrade(database: str) -> None:
    """Migrate runs, versions and users to the schema of the installed MLflow.

    `mlflow db upgrade` does the same, but takes the address, and with it the password, as an
    argument, which every user of a machine can read.
    """
    from mlflow.db import upgrade as migrate
    from mlflow.server.auth.db.cli import upgrade as migrate_users
    from sqlalchemy import create_engine, inspect

    assert migrate.callback
    assert migrate_users.callback
    migrate.callback(database)

    engine = create_engine(database)
    if inspect(engine).has_table("users"):  # there is none if it never had a login
        migrate_users.callback(database, "head")
    engine.dispose()


def outdated(database: str) -> bool:
    """Return whether a database has another version's schema; an empty one does not.

    MLflow itself refuses some of these, with a traceback, and migrates others before anybody has
    made a backup.
    """
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine_with_retry(database)
    try:
        if utils._is_empty_database(engine):
            return False
        return bool(utils._get_schema_version(engine) != utils._get_latest_schema_revision())
    finally:
        engine.dispose()


def _prepare(database: str, destination: str) -> None:
    """Set the variables that MLflow reads when it is imported, as `mlflow server` does."""
    from mlflow.server import constants

    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: database,
        constants.REGISTRY_STORE_URI_ENV_VAR: database,
        constants.ARTIFACT_ROOT_ENV_VAR: ARTIFACTS,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: destination,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        # Eight processes for features that nobody uses here.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
    }

    from mlflow.server import app
    from mlflow.server.assistant.api import assistant_router
    from mlflow.server.handlers import initialize_backend_stores

    app.before_request(_refuse)
    assistant_router.routes.clear()  # before the application includes them
    initialize_backend_stores(database, database, ARTIFACTS)


def _refuse() -> tuple[dict[str, str], int] | None:
    """Refuse requests that the login and the server could understand differently.

    Tried with 3.17.2: the login looked at the address and the server at the body, and a reader
    deleted the model; it looked at `run_uuid` and the server at `runId`, and a reader wrote into
    training's run. Requests that nobody here needs are refused too.
    """
    from flask import request
    from mlflow.protos.service_pb2 import CreateExperiment
    from mlflow.server.handlers import _get_request_message

    if any(f"/mlflow-artifacts/{kind}/" in request.path for kind in ("mpu", "presigned")):
        return _refusal("artifacts go up and down by this server alone", 404)

    # A file, or the form of the page that makes a user, which has its own token.
    raw_ends = ("/upload-artifact", "/users/create-ui")
    raw = "/mlflow-artifacts/" in request.path or request.path.endswith(raw_ends)
    body: dict[str, object] = {}
    if not raw and request.get_data():
        if request.args:
            return _refusal("a request has a query or a body, not both")
        sent = request.get_json(silent=True)
        if not isinstance(sent, dict):
            return _refusal("the body is not a JSON object of type application/json")
        body = sent

    runs = {value for name in RUN for value in request.args.getlist(name)}
    runs |= {str(body[name]) for name in RUN if name in body}
    if len(runs) > 1:
        return _refusal("the request names two runs")

    creates = request.path.endswith("/experiments/create")
    if creates and _get_request_message(CreateExperiment()).artifact_location:
        return _refusal("artifact_location cannot be chosen here: leave it out")
    return None


def _refusal(message: str, status: int = 400) -> tuple[dict[str, str], int]:
    return {"error_code": "INVALID_PARAMETER_VALUE", "message": message}, status


def _configuration(database: str) -> configparser.ConfigParser:
    configuration = configparser.ConfigParser()
    configuration["mlflow"] = {
        "default_permission": "READ",
        "database_uri": database.replace("%", "%%"),
        "admin_username": ADMIN,
        # Every request brings a password, and checking one takes a tenth of a second.
        "auth_cache_ttl_seconds": "300",
    }
    return configuration


def _experiment(database: str) -> str:
    """Return the experiment's id; since it is made here, it does not belong to a user."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(database, ARTIFACTS)
    found = store.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else store.create_experiment(EXPERIMENT))


def _registered(database: str, model: str) -> str:
    """Return the model's name; since it is made here, it does not belong to a user."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    try:
        SqlAlchemyStore(database).create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return model


def healthy(port: int, secrets: Path) -> bool:
    """Return whether it answers a client's request.

    /health answers 200 even to hosts that get 403 elsewhere.
    """
    login = base64.b64encode(f"serving:{read(secrets, 'mlflow-serving')}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    address = f"http://mlflow:{port}/api/2.0/mlflow/experiments/search"
    request = urllib.request.Request(address, b'{"max_results": 1}', headers)
    with urllib.request.urlopen(request, timeout=8) as answer:  # noqa: S310
        return bool(answer.status == 200)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.servers.mlflow_server", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=5051, help="port to listen on (5051)")
    parser.add_argument(
        "--backend-store-uri", default=os.environ.get("MLFLOW_BACKEND_STORE_URI"), metavar="URI"
    )
    parser.add_argument("--artifacts-destination", metavar="PLACE", help="where artifacts are kept")
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask the one that runs in this container whether it is well",
    )
    parser.add_argument(
        "--upgrade",
        action="store_true",
        help="migrate the database, which nobody may use meanwhile",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    if options.upgrade:
        upgrade(options.backend_store_uri)
        return

    secrets = Path(os.environ.get("SECRETS_DIR") or "var/secrets")
    if options.check:
        sys.exit(not healthy(options.port, secrets))
    if outdated(options.backend_store_uri):
        sys.exit(
            "mlflow: its database is of another version: "
            "stop, and `make upgrade` backs it up and migrates it"
        )

    published = os.environ.get("HOST") or "127.0.0.1"
    names = os.environ.get("ALLOWED_HOSTS", "").replace(",", " ").split()
    port = int(os.environ.get("MLFLOW_PORT") or options.port)
    os.environ |= hosts_and_origins([*names, published], port)
    if is_loopback(published):
        app = without_login(options.backend_store_uri, options.artifacts_destination)
    else:
        model = os.environ.get("MODEL_NAME") or "credit-risk"
        app = with_login(options.backend_store_uri, options.artifacts_destination, secrets, model)

    import uvicorn

    uvicorn.run(
        app, host=options.host, port=options.port, log_level="warning", timeout_graceful_shutdown=10
    )


if __name__ == "__main__":
    main()
