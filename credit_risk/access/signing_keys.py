"""The public keys with which an issuer's tokens are verified.

A thread of its own fetches them, so that no request waits for the issuer. Whoever sends tokens with
the names of keys that do not exist cannot have it ask the issuer more than once a minute.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from jwt import PyJWK, PyJWKSet
from jwt.exceptions import PyJWTError

# The keys of Google's Identity-Aware Proxy (cloud.google.com/iap/docs/signed-headers-howto).
IAP_KEYS = "https://www.gstatic.com/iap/verify/public_key-jwk"
REFRESH_SECONDS = 3600.0
# Between two fetches, where one has failed or a token names an unknown key.
RETRY_SECONDS = 60.0
# Keys that could not be fetched again for so long are believed no more: the issuer may have
# withdrawn them.
TRUSTED_SECONDS = 86_400.0
_TIMEOUT = 5
_LARGEST = 1_000_000
_PART = 65_536

logger = logging.getLogger(__name__)


class KeysUnavailable(Exception):
    """The issuer's keys could not be fetched."""


class SigningKeys:
    """The newest keys of an issuer.

    Parameters
    ----------
    fetch : callable
        Returns the keys; raises `KeysUnavailable`.
    retry : float, optional
        Least seconds between two fetches.
    """

    def __init__(self, fetch: Callable[[], dict[str, PyJWK]], retry: float = RETRY_SECONDS) -> None:
        self._fetch = fetch
        self._retry = retry
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._wanted = threading.Event()
        self._look()
        threading.Thread(target=self._keep_looking, name="signing-keys", daemon=True).start()

    def find(self, id: str) -> PyJWK | None:
        """Return a key; None where the issuer has none with that id.

        Raises
        ------
        KeysUnavailable
            When no keys were fetched within the last day.
        """
        if key := self._keys.get(id):
            if self._is_fresh():
                return key
        else:
            self._wanted.set()
        if not self._is_fresh():
            raise KeysUnavailable("the issuer's keys are unavailable")
        return None

    def _is_fresh(self) -> bool:
        fetched_at = self._fetched_at
        return fetched_at is not None and time.monotonic() - fetched_at < TRUSTED_SECONDS

    def _keep_looking(self) -> None:
        while True:
            time.sleep(self._retry)
            age = time.monotonic() - (self._fetched_at or -REFRESH_SECONDS)
            self._wanted.wait(max(0.0, REFRESH_SECONDS - age))
            self._look()

    def _look(self) -> None:
        self._wanted.clear()
        try:
            self._keys = self._fetch()
            self._fetched_at = time.monotonic()
        except Exception as error:  # whatever it is, the thread goes on
            logger.warning("the keys that sign tokens are unavailable: %s", error)


def fetch_keys(address: str) -> dict[str, PyJWK]:
    """Return the keys of a JSON Web Key Set by their ids.

    Raises
    ------
    KeysUnavailable
    """
    try:
        keys = PyJWKSet.from_dict(_json(address)).keys
    except (PyJWTError, AttributeError, TypeError, ValueError) as error:
        raise KeysUnavailable(f"{address} is not a set of keys: {type(error).__name__}") from None
    # Others are for encryption.
    return {k.key_id: k for k in keys if k.key_id and k.public_key_use in (None, "sig")}


def fetch_keys_of(issuer: str) -> dict[str, PyJWK]:
    """Return the keys of an OpenID Connect provider, whose configuration says where they are.

    Raises
    ------
    KeysUnavailable
        Also when the configuration is another issuer's, or names keys at an address without TLS
        while the issuer's has it.
    """
    found = _json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise KeysUnavailable(f"the configuration at {issuer} is another issuer's")

    address = str(found.get("jwks_uri"))
    if urlsplit(issuer).scheme == "https" and urlsplit(address).scheme != "https":
        raise KeysUnavailable(f"the configuration at {issuer} names keys at {address}, without TLS")
    return fetch_keys(address)


def _json(address: str) -> dict[str, Any]:
    try:
        with requests.get(address, timeout=_TIMEOUT, allow_redirects=False, stream=True) as answer:
            status, body = answer.status_code, b""
            for part in answer.iter_content(_PART):
                body += part
                if len(body) > _LARGEST:
                    raise KeysUnavailable(f"{address} answers with more than {_LARGEST:,} bytes")
        found = json.loads(body) if status == requests.codes.ok else None
    except (requests.RequestException, ValueError, RecursionError) as error:
        raise KeysUnavailable(f"{address}: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise KeysUnavailable(f"{address} answers with status {status} and no JSON object")
    return found
