"""The local stack: every service as a process of this machine, under supervisord.

`run` holds a lock that the kernel lets go when it dies in whatever way, so whether a stack runs is never a guess; and
every process of a stack carries a mark (see processes.py), so what a killed supervisor left behind is found and ended.
"""

import contextlib
import fcntl
import http.client
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

from pydantic import SecretStr
from supervisor.xmlrpc import SupervisorTransport

from credit_risk.settings import Settings, words
from tools.archive import Failed
from tools.exposure import bind_address, names, reachable
from tools.passwords import PREFECT_LOGIN, filled
from tools.services import SERVICES, mlflow_login

ROOT = Path(__file__).resolve().parents[1]


class Stack:
    """One local stack: its settings, the files below its `var/`, and its supervisord."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.var = (ROOT / settings.var_dir).resolve()
        self.run_dir = self.var / "run"
        self.log_dir = self.var / "log"
        self.secrets = self.var / "secrets"

    def environment(self) -> dict[str, str]:
        """Return all settings as services are to see them: absolute paths, and the addresses of this stack.

        Its own secrets are named in it only (see passwords.py), and filled in for each process that has them.
        """
        settings = self.settings
        values = {name.upper(): _word(value) for name, value in settings.model_dump().items()}
        hosts = [*words(settings.allowed_hosts), *names(settings.host)]
        values["ALLOWED_HOSTS"] = ",".join(dict.fromkeys(hosts))
        binds = {s.port: bind_address(s.name, values) for s in SERVICES if s.port}
        values |= {port.replace("_PORT", "_ADDRESS"): address for port, address in binds.items()}
        values |= {
            "VAR_DIR": str(self.var),
            "MLFLOW_TRACKING_URI": f"http://{reachable(binds['MLFLOW_PORT'])}:{settings.mlflow_port}",
            **mlflow_login("approver"),  # for a person's commands; services have logins of their own
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": f"http://{reachable(binds['PREFECT_PORT'])}:{settings.prefect_port}/api",
            "PREFECT_API_AUTH_STRING": PREFECT_LOGIN,
            "PREFECT_SERVER_API_AUTH_STRING": PREFECT_LOGIN,
            "PREFECT_HOME": str(self.var / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # A person waits for the run that he started; ten seconds is the default.
            "PREFECT_WORKER_QUERY_SECONDS": "3",
            # The server writes its pages there: two stacks must not share them.
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(self.var / "prefect" / "ui"),
        }
        if "decision_log" not in settings.model_fields_set:
            values["DECISION_LOG"] = f"sqlite:///{self.var / 'decisions.db'}"
        elif settings.decision_log.startswith("sqlite:///"):
            values["DECISION_LOG"] = f"sqlite:///{ROOT / settings.decision_log.removeprefix('sqlite:///')}"
        if "bucket" not in settings.model_fields_set:
            values["BUCKET"] = str(self.var / "bucket")
        if "scrape_key_file" not in settings.model_fields_set:
            values["SCRAPE_KEY_FILE"] = str(self.secrets / "scrape-key")
        values["SCRAPE_KEY_FILE"] = str(ROOT / values["SCRAPE_KEY_FILE"])
        for name in ("BUCKET", "DATA"):
            if "://" not in values[name]:
                values[name] = str(ROOT / values[name])
        return values

    def close(self) -> None:
        """Take from other users of the machine what earlier versions let them read.

        Raises
        ------
        Failed
            When others may write there: then it is no place of this user's own.
        """
        self.var.mkdir(parents=True, exist_ok=True)
        if self.var.stat().st_mode & stat.S_IWOTH:
            raise Failed(f"VAR_DIR={self.var} is open to everybody: name a folder that is yours alone")
        self.var.chmod(0o700)
        log = self.environment()["DECISION_LOG"].removeprefix("sqlite:///")  # it may be elsewhere
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
        """Hold the lock that says that this stack runs.

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
                    message = f"already running (pid {pid}): `make status` shows it, `make stop` stops it"
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
        """Keep the environment for commands from terminals where, say, the ports are not set; None forgets it."""
        file = self.run_dir / "environment.json"
        if environment is None:
            file.unlink(missing_ok=True)
        else:
            file.unlink(missing_ok=True)
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
        with contextlib.chdir(self.run_dir):  # the socket's name is relative: a whole path may be too long for one
            transport = SupervisorTransport(None, None, "unix://supervisor.sock")
            try:
                return getattr(ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)(*arguments)
            except http.client.HTTPException as error:
                raise ConnectionError(str(error)) from error
            finally:
                transport.close()

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return what supervisord knows of each service, by name; nothing when it does not answer."""
        with contextlib.suppress(OSError):
            return {process["name"]: process for process in self.call("getAllProcessInfo")}
        return {}


def _word(value: object) -> str:
    """Return a setting as a variable; `str` of a secret would be stars."""
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)
