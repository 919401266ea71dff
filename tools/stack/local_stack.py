"""The local stack: every service as a process of this machine, under supervisord.

`run` holds a lock that the kernel releases however the process dies, so whether a stack runs is
never a guess. Every process of a stack carries a mark (see processes.py), so what a killed
supervisor left behind is found and ended.
"""

import contextlib
import fcntl
import http.client
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any
from xmlrpc.client import ServerProxy

from pydantic import SecretStr
from supervisor.xmlrpc import SupervisorTransport

from credit_risk.settings import Settings, split_words
from tools.access.exposure import bind_address, names, reachable
from tools.access.passwords import PREFECT_LOGIN, filled
from tools.failure import Failed
from tools.paths import ROOT
from tools.stack.credentials import mlflow_login
from tools.stack.services import SERVICES

SQLITE = "sqlite:///"


class Stack:
    """One local stack: its settings, the files below its `var/`, and its supervisord."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.var = (ROOT / settings.var_dir).resolve()
        self.run_dir = self.var / "run"
        self.log_dir = self.var / "log"
        self.secrets = self.var / "secrets"

    def environment(self) -> dict[str, str]:
        """Return all settings as services see them: absolute paths, and this stack's addresses.

        The stack's own secrets appear by name only (see passwords.py), and are filled in for each
        process that has them.
        """
        values = variables(self.settings)
        hosts = [*split_words(self.settings.allowed_hosts), *names(self.settings.host)]
        values["ALLOWED_HOSTS"] = ",".join(dict.fromkeys(hosts))
        values["VAR_DIR"] = str(self.var)
        values["DO_NOT_TRACK"] = "1"

        values |= self._addresses(values)
        values |= self._prefect()
        values |= self._state(values)
        return values

    def _addresses(self, values: dict[str, str]) -> dict[str, str]:
        """Return where services listen, and where their clients reach them."""
        binds = {
            service.port: bind_address(service.name, values) for service in SERVICES if service.port
        }
        mlflow = f"http://{reachable(binds['MLFLOW_PORT'])}:{self.settings.mlflow_port}"
        prefect = f"http://{reachable(binds['PREFECT_PORT'])}:{self.settings.prefect_port}"
        return {
            **{port.replace("_PORT", "_ADDRESS"): address for port, address in binds.items()},
            "MLFLOW_TRACKING_URI": mlflow,
            **mlflow_login("approver"),  # for a person's commands; services have their own logins
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PREFECT_API_URL": f"{prefect}/api",
            "APPROVALS_URL": self._approvals_url(binds["APPROVALS_PORT"]),
        }

    def _approvals_url(self, bound: str) -> str:
        """Return where the operator's commands ask: by default this stack's own service."""
        if "approvals_url" in self.settings.model_fields_set:
            return self.settings.approvals_url
        return f"http://{reachable(bound)}:{self.settings.approvals_port}"

    def _prefect(self) -> dict[str, str]:
        return {
            "PREFECT_API_AUTH_STRING": PREFECT_LOGIN,
            "PREFECT_SERVER_API_AUTH_STRING": PREFECT_LOGIN,
            "PREFECT_HOME": str(self.var / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # A person waits for the run that they started; the default is ten seconds.
            "PREFECT_WORKER_QUERY_SECONDS": "3",
            # The server writes its pages there: two stacks must not share them.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(self.var / "prefect" / "ui"),
        }

    def _state(self, values: dict[str, str]) -> dict[str, str]:
        """Return where the state and the data are: in `var/` unless set, and as absolute paths."""
        chosen = self.settings.model_fields_set
        log, bucket, key = values["DECISION_LOG"], values["BUCKET"], values["SCRAPE_KEY_FILE"]
        if "decision_log" not in chosen:
            log = f"{SQLITE}{self.var / 'decisions.db'}"
        elif log.startswith(SQLITE):
            log = f"{SQLITE}{ROOT / log.removeprefix(SQLITE)}"
        if "bucket" not in chosen:
            bucket = str(self.var / "bucket")
        portfolios = values["PORTFOLIO_FOLDER"]
        if "portfolio_folder" not in chosen:
            portfolios = str(self.var / "portfolios")
        if "scrape_key_file" not in chosen:
            key = str(self.secrets / "scrape-key")

        roles = values.get("ROLES_FILE")
        return {
            **({"ROLES_FILE": _absolute(roles)} if roles else {}),
            "DECISION_LOG": log,
            "BUCKET": _absolute(bucket),
            "DATASET": _definition(values["DATASET"]),
            "DATA": _absolute(values["DATA"]),
            "PORTFOLIO_FOLDER": _absolute(portfolios),
            "SCRAPE_KEY_FILE": str(ROOT / key),
        }

    def close(self) -> None:
        """Make the state private where earlier versions let other users of the machine read it.

        Raises
        ------
        Failed
            When everybody may write to the folder: it does not belong to this user alone then.
        """
        self.var.mkdir(parents=True, exist_ok=True)
        if self.var.stat().st_mode & stat.S_IWOTH:
            raise Failed(
                f"VAR_DIR={self.var} is open to everybody: name a folder that is yours alone"
            )
        self.var.chmod(0o700)

        log = self.environment()["DECISION_LOG"].removeprefix(SQLITE)  # it may be elsewhere
        for name in (log, f"{log}-wal", f"{log}-shm", *self._files()):
            with contextlib.suppress(FileNotFoundError):
                mode = os.lstat(name).st_mode
                if stat.S_ISREG(mode) and mode & 0o077:
                    os.chmod(name, mode & 0o700)

    def _files(self) -> Iterator[str]:
        for folder, _, files in os.walk(self.var):
            yield from (os.path.join(folder, file) for file in files)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock that shows that this stack runs.

        Raises
        ------
        Failed
            When another process holds it.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with (self.run_dir / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.2)  # `runner` holds it for a moment when it looks
                if pid := self.runner():
                    message = (
                        f"already running (pid {pid}): `make status` shows it, `make stop` stops it"
                    )
                    raise Failed(message) from None
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def runner(self) -> int | None:
        """Return the pid of the process that holds the lock; None when nobody does."""
        with contextlib.suppress(FileNotFoundError), (self.run_dir / "lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
        return None

    def remember(self, environment: dict[str, str] | None) -> None:
        """Keep the environment for commands from other terminals; None forgets it.

        The ports, for example, need not be set there.
        """
        file = self.run_dir / "environment.json"
        file.unlink(missing_ok=True)
        if environment is not None:
            file.touch(mode=0o600)  # keys and passwords are in it
            file.write_text(json.dumps(environment))

    def remembered(self) -> dict[str, str]:
        """Return the environment of the running stack; an empty one when none runs."""
        if self.runner() is None:
            return {}
        with contextlib.suppress(FileNotFoundError, ValueError):
            return filled(json.loads((self.run_dir / "environment.json").read_text()), self.secrets)
        return {}

    def call(self, method: str, *arguments: object) -> Any:
        """Call supervisord.

        Raises
        ------
        OSError
            When it does not answer.
        """
        # The socket's name is relative: a whole path may be too long for a socket.
        with contextlib.chdir(self.run_dir):
            transport = SupervisorTransport(None, None, "unix://supervisor.sock")
            server = ServerProxy("http://127.0.0.1", transport=transport)
            try:
                return getattr(server.supervisor, method)(*arguments)
            except http.client.HTTPException as error:
                raise ConnectionError(str(error)) from error
            finally:
                transport.close()

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return what supervisord knows of each service, by name; empty if it does not answer."""
        with contextlib.suppress(OSError):
            return {process["name"]: process for process in self.call("getAllProcessInfo")}
        return {}


def variables(settings: Settings) -> dict[str, str]:
    """Return settings as variables of the environment; one that is not set, None, is left out."""
    values = settings.model_dump()
    return {name.upper(): _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    """Return a setting as a text; `str` of a secret would be asterisks."""
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _absolute(place: str) -> str:
    """Return a path as absolute, from the repository's root; an address, or none, as it is."""
    return str(ROOT / place) if place and "://" not in place else place


def _definition(chosen: str) -> str:
    """Return a path to a data set as absolute; a name as it is."""
    return str(ROOT / chosen) if (ROOT / chosen).exists() else chosen
