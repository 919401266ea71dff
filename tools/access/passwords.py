"""The stack's own secrets, made at its first start: each is a file that only its user can read.

Nobody has to think of one, and none has a default. A file that is there is never changed, so a
person may put their own in its place. Only the standard library is imported: a container of any of
our images can do this.
"""

import os
import re
import secrets
import string
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

SECRETS = {
    "prefect-login": "password of Prefect's page and API",
    "scrape-key": "key that Prometheus shows to the services whose figures it scrapes",
    "mlflow-admin": "password of MLflow's administrator, who adds users",
    "mlflow-people": "password of MLflow's user for people, who reads and has own experiments",
    "mlflow-training": "password with which training logs to MLflow",
    "mlflow-approver": "password with which an approval moves MLflow's alias",
    "mlflow-serving": "password of the services that only read from MLflow",
    "mlflow-flask-key": "key that MLflow signs its page for new users with",
}

LETTERS = string.ascii_letters + string.digits  # safe in addresses and in configuration files
LENGTH = 43  # letters, for as many bits as 32 bytes have

PREFECT_LOGIN = "admin:{secret:prefect-login}"
_NAMED = re.compile(r"\{secret:([a-z-]+)\}")


def make(folder: Path, names: Iterable[str] = SECRETS) -> dict[str, str]:
    """Make the secrets that are not there yet, and return all of them by name.

    Two processes that do this at once return the same secrets.

    Parameters
    ----------
    folder : Path
        Where they are kept, one file each; it is made if missing. Only its owner can look into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in names:
        if not (folder / name).exists():
            _write(folder / name, "".join(secrets.choice(LETTERS) for _ in range(LENGTH)))
    return {name: read(folder, name) for name in names}


def _write(file: Path, secret: str) -> None:
    """Write a file completely or not at all, and only where there is none."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".") as new:  # its mode is 0600
        new.write(secret)
        new.flush()
        os.fsync(new.fileno())
        try:
            os.link(new.name, file)
        except FileExistsError:
            return  # another process was faster: its secret counts


def read(folder: Path, name: str) -> str:
    """Return a secret.

    Raises
    ------
    FileNotFoundError
        When it has not been made.
    """
    file = folder / name
    # Cloud Run mounts each secret in a folder of its own.
    return (file / name if file.is_dir() else file).read_text().strip()


def fill(text: str, folder: Path) -> str:
    """Return a text with each `{secret:NAME}` in it replaced by that secret.

    Raises
    ------
    FileNotFoundError
        When one of them has not been made.
    """
    return _NAMED.sub(lambda named: read(folder, named[1]), text)


def filled(variables: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return environment variables with the secrets that they name filled in."""
    return {name: fill(value, folder) for name, value in variables.items()}


def typed(folder: Path, *, mlflow: bool = True) -> str:
    """Return the logins that a person types into the pages that ask for one, one line each.

    Parameters
    ----------
    folder : Path
        Where the secrets are.
    mlflow : bool
        Whether to include MLflow's, which has a login where HOST opens it.
    """
    lines = [f"Prefect  {PREFECT_LOGIN}  (all of it, in its one field)"]
    if mlflow:
        lines.append("MLflow   user people, password {secret:mlflow-people}  (where HOST opens it)")
        lines.append("         user admin, password {secret:mlflow-admin}  (adds users at /signup)")
    return fill("\n".join(lines), folder)


def main() -> int:
    """Print the logins that a person types."""
    folder = os.environ.get("SECRETS_DIR") or Path(os.environ.get("VAR_DIR", "var")) / "secrets"
    try:
        print(typed(Path(folder)))
    except OSError as error:
        print(f"passwords: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
