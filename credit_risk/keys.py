"""API keys: each has a name, is random, and is stored as its hash only.

    python -m credit_risk.keys branch-12

prints a new key, once, and the entry for `API_KEYS`. A key is 256 random bits, which nobody guesses, whatever the hash
takes: SHA-256 is right here, and a slow hash, which guessable passwords need, would only slow each request. Nothing but
the standard library is imported, so that a key can be made before anything is installed.
"""

import argparse
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

MIN_LENGTH = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def make() -> str:
    """Return a new random key, 43 letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """Return what is stored of a key: its SHA-256, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def parse(text: str) -> dict[str, str]:
    """Return the names of keys by their digests, as `API_KEYS` has them: `NAME:SHA256`, separated by commas.

    One name may have several keys, so that one can replace another.

    Raises
    ------
    ValueError
        When an entry is anything else, such as a key itself. The message does not quote it.
    """
    found: dict[str, str] = {}
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        name, _, hashed = entry.partition(":")
        if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(hashed):
            raise ValueError(
                f"entry {number} is not NAME:SHA256 (keys are stored hashed); "
                "`make api-key NAME=branch-12` makes a key and prints its entry"
            )
        if found.setdefault(hashed, name) != name:
            raise ValueError(f"entry {number} is the key of another name; each name needs a key of its own")
    return found


def owner(key: str, names: Mapping[str, str]) -> str | None:
    """Return the name of a key, found by its digest; None where it is none of them, or too short.

    Every digest is compared, each in constant time.
    """
    sent = digest(key)
    matches = [name for hashed, name in names.items() if hmac.compare_digest(sent, hashed)]
    return matches[0] if matches and len(key) >= MIN_LENGTH else None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m credit_risk.keys", description="Make an API key.")
    parser.add_argument("name", help="whose key it is, such as branch-12: letters, digits, '.', '_', '-'")
    name = parser.parse_args(arguments).name
    if not _NAME.fullmatch(name):
        parser.error(f"{name!r} is no name of a key: up to 64 letters, digits, '.', '_' and '-'")
    key = make()
    print(f"The key, which is shown only here and now; give it to {name}:\n\n    {key}\n")  # noqa: T201
    print("For .env, behind a comma where there are keys already; then start the Risk-O-Meter again:\n")  # noqa: T201
    print(f"    API_KEYS={name}:{digest(key)}")  # noqa: T201


if __name__ == "__main__":
    main()
