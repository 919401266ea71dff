"""Fetches packages of Debian for the data in them, without installing them."""

import subprocess
from pathlib import Path


class NotMade(Exception):
    """The files cannot be made; the message says what to do."""


def fetch(package: str, folder: Path, version: str = "") -> Path:
    """Download a package into a folder, and return its file; by default the newest version.

    Raises
    ------
    NotMade
        When apt-get is missing, does not know this version or cannot reach its mirror.
    """
    # apt gives up its privileges for a user who may not write into a folder of root's, and then
    # only warns.
    asked = f"{package}={version}" if version else package
    _run(
        ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", asked],
        folder,
        "run `apt-get update` on Debian 12, or name a copy that is already there",
    )
    (file,) = folder.glob(f"{package}_*.deb")
    return file


def unpack(file: Path, folder: Path) -> None:
    """Unpack a package's file into a folder.

    Raises
    ------
    NotMade
        When it is no package, or dpkg-deb is missing.
    """
    command = ["dpkg-deb", "-x", str(file.absolute()), "."]
    _run(command, folder, "install Debian's package dpkg")


def _run(command: list[str], folder: Path, remedy: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True)
    except FileNotFoundError:
        raise NotMade(f"{command[0]} is missing; {remedy}") from None
    except subprocess.CalledProcessError as error:
        raise NotMade(f"{command[0]} ended with {error.returncode}; {remedy}") from None
