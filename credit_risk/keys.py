"""API keys: each has a name and an end, is random, and is stored as its hash only.

    python -m credit_risk.keys branch-12 --days 90

prints a new key, once, and the entry for `API_KEYS`. A key is 256 random bits, which nobody can
guess however fast the hash is. So SHA-256 is right here: a slow hash, which guessable passwords
need, would only slow down each request. Only the standard library is imported, so that a key can be
made before anything is installed.
"""

import argparse
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

MIN_LENGTH = 32
MAX_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Key(NamedTuple):
    """Whose a key is, and its last day, in UTC; None in entries from before keys had an end."""

    name: str
    expires: date | None = None

    @property
    def has_expired(self) -> bool:
        """Whether its last day is over."""
        return self.expires is not None and datetime.now(UTC).date() > self.expires


def make() -> str:
    """Return a new random key: 43 letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """Return the SHA-256 of a key, in hex, which is stored in place of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


def parse(text: str) -> dict[str, Key]:
    """Return keys by digest.

    `text` is the value of `API_KEYS`: `NAME:SHA256:LAST-DAY`, separated by commas. One name may
    have several keys, so that a key can be replaced.

    Raises
    ------
    ValueError
        When an entry is anything else, such as a key itself. The message does not quote it.
    """
    entries = [part.strip() for part in text.split(",") if part.strip()]

    found: dict[str, Key] = {}
    for number, entry in enumerate(entries, start=1):
        name, _, rest = entry.partition(":")
        hashed, has_end, end = rest.partition(":")
        if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(hashed):
            raise ValueError(
                f"entry {number} is not NAME:SHA256:LAST-DAY (keys are stored hashed); "
                "`make api-key NAME=branch-12` makes a key and prints its entry"
            )
        key = Key(name, _day(end, number) if has_end else None)
        if found.setdefault(hashed, key).name != name:
            raise ValueError(
                f"entry {number} is the key of another name; each name needs a key of its own"
            )

    return found


def _day(text: str, number: int) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"entry {number} does not end in the key's last day, such as 2027-01-31"
        ) from None


def find(key: str, known: Mapping[str, Key]) -> Key | None:
    """Return the entry of a key, found by its digest; None if it is unknown or too short.

    Every digest is compared, each in constant time.
    """
    sent = digest(key)
    matches = [entry for hashed, entry in known.items() if hmac.compare_digest(sent, hashed)]

    return matches[0] if matches and len(key) >= MIN_LENGTH else None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m credit_risk.keys", description="Make an API key."
    )
    parser.add_argument(
        "name", help="whose key it is, such as branch-12: letters, digits, '.', '_', '-'"
    )
    parser.add_argument("--days", type=int, default=365, help="for how many days it is valid (365)")
    asked = parser.parse_args(arguments)
    name = asked.name
    if not 1 <= asked.days <= MAX_DAYS:
        parser.error(f"--days {asked.days}: a key is valid for 1 to {MAX_DAYS:,} days")
    if not _NAME.fullmatch(name):
        parser.error(
            f"{name!r} is not a name for a key: up to 64 letters, digits, '.', '_' and '-'"
        )

    key = make()
    end = datetime.now(UTC).date() + timedelta(days=asked.days)
    lines = [
        f"The key, which is shown only here and now; give it to {name}:\n",
        f"    {key}\n",
        "For .env, behind a comma where there are keys already; "
        "then start the Risk-O-Meter again:\n",
        f"    API_KEYS={name}:{digest(key)}:{end}",
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
