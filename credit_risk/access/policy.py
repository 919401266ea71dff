"""The access policy: who the caller is, and whether the request is allowed.

A request's method, path, headers and peer decide, and nothing else does.

Any web page that a clerk has open can post a form to 127.0.0.1 and, under a host name of its own
that resolves to that address, even read the answer. So requests must use a name that the service is
known under, and writes must come from its own page or from no page. With `USER_HEADER` or
`API_KEYS` set, everything but the probes and the API's description is closed to callers whom
neither a trusted proxy nor a key identifies. Roles and rate limits belong to that proxy.
"""

import hmac
import logging
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from credit_risk import keys
from credit_risk.access.caller import Caller
from credit_risk.settings import Network, Settings, networks, split_words

METRICS = "/metrics"
MAX_NAME = 200
# Why a request may be refused, as logs and a metric's label say it.
REASONS = (
    "unknown-host",
    "foreign-origin",
    "doubled-header",
    "no-user",
    "untrusted-proxy",
    "bad-user",
    "no-key",
    "wrong-key",
)

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))

Header = tuple[str, str]

logger = logging.getLogger(__name__)


class AccessDenied(Exception):
    """A request is refused.

    Attributes
    ----------
    status : int
        400, 401 or 403.
    reason : str
        One of `REASONS`.
    """

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason


class AccessPolicy:
    """The rules for requests to one service.

    Parameters
    ----------
    settings : Settings
    public : collection of str
        Paths that are open to everybody. They match exactly: another spelling of one is closed.
    hosts : collection of str
        Host names that the service answers to in addition to `ALLOWED_HOSTS`.
    """

    def __init__(
        self, settings: Settings, public: Collection[str], hosts: Collection[str] = ()
    ) -> None:
        self._hosts = {host.lower() for host in (*split_words(settings.allowed_hosts), *hosts)}
        self._keys = keys.parse(settings.api_keys.get_secret_value())
        self._user_header = settings.user_header.lower()
        self._proxies = networks(settings.trusted_proxies)
        self._public = frozenset(public)
        self.closed = bool(self._keys or self._user_header)
        self._scrape_key = _read(settings.scrape_key_file) if self.closed else None

    def caller(
        self, method: str, path: str, headers: Collection[Header], peer: str | None
    ) -> Caller:
        """Return the caller of a request.

        Parameters
        ----------
        method : str
        path : str
            The path as it is routed, without a query.
        headers : collection of (str, str)
            All headers, names in lower case; one that was sent twice is listed twice.
        peer : str or None
            The address of the other end of the connection.

        Raises
        ------
        AccessDenied
            When the request is not allowed.
        """
        host = self._check_host(headers)
        self._check_page(method, headers, host)

        if not self.closed or path in self._public:
            return Caller()
        if user := self._user(headers, peer):
            return Caller(user, "user")
        return self._key_holder(path, headers)

    def _check_host(self, headers: Iterable[Header]) -> str:
        host = (_only("host", headers, 400) or "").lower()
        match = _HOST.fullmatch(host)
        if match is None or match[1].strip("[]") not in self._hosts:
            detail = (
                "This service is not known by that name. "
                "ALLOWED_HOSTS lists the names that it answers to."
            )
            raise AccessDenied(400, "unknown-host", detail)
        return host

    def _check_page(self, method: str, headers: Collection[Header], host: str) -> None:
        origin = _only("origin", headers, 403)
        site = _only("sec-fetch-site", headers, 403)
        own_origins = (f"http://{host}", f"https://{host}")
        is_foreign = origin is not None and origin.lower() not in own_origins
        is_foreign = is_foreign or site not in (None, "same-origin", "none")
        if method not in _SAFE and is_foreign:
            raise AccessDenied(403, "foreign-origin", "Requests from other web pages are refused.")

    def _user(self, headers: Collection[Header], peer: str | None) -> str | None:
        """Return the user that a proxy names; None where the header is absent."""
        name = _only(self._user_header, headers, 403) if self._user_header else None
        if name is None:
            return None
        if not _lies_in(peer or "", self._proxies):
            detail = (
                "The header that names the user came from an address "
                "that is not in TRUSTED_PROXIES."
            )
            raise AccessDenied(403, "untrusted-proxy", detail)

        name = name.strip()
        if "," in name:  # a proxy may join a header that was sent twice
            raise _doubled(self._user_header, 403)
        if not name or len(name) > MAX_NAME or not name.isprintable():
            detail = (
                "The header that names the user holds no name: "
                f"1 to {MAX_NAME} printable characters."
            )
            raise AccessDenied(403, "bad-user", detail)
        return name

    def _key_holder(self, path: str, headers: Collection[Header]) -> Caller:
        given = _only("authorization", headers, 401)
        if given is None:
            raise self._unidentified()

        kind, _, token = given.partition(" ")
        token = token.strip() if kind.lower() == "bearer" else ""

        if name := keys.owner(token, self._keys):
            return Caller(name, "key")
        if path == METRICS and self._is_scrape_key(token):
            return Caller("prometheus", "scrape")
        raise AccessDenied(
            401, "wrong-key", "This service wants a key that it knows: Authorization: Bearer KEY."
        )

    def _unidentified(self) -> AccessDenied:
        """Return the refusal of a request that has neither a user nor a key."""
        if not self._user_header:
            detail = "This service wants a key: Authorization: Bearer KEY."
            return AccessDenied(401, "no-key", detail)

        detail = "A proxy in TRUSTED_PROXIES has to say who asks"
        if self._keys:
            detail += ", or the request needs a key: Authorization: Bearer KEY."
        else:
            detail += "."
        return AccessDenied(403, "no-user", detail)

    def _is_scrape_key(self, token: str) -> bool:
        key = self._scrape_key
        return key is not None and hmac.compare_digest(token.encode(), key.encode())


@lru_cache(maxsize=1024)
def _lies_in(peer: str, proxies: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return any(address in network for network in proxies)


def _only(name: str, headers: Iterable[Header], status: int) -> str | None:
    """Return a header's value, None where it is absent; refuse one that was sent twice."""
    values = [value for given, value in headers if given == name]
    if len(values) > 1:
        raise _doubled(name, status)
    return values[0] if values else None


def _doubled(name: str, status: int) -> AccessDenied:
    return AccessDenied(status, "doubled-header", f"The header {name} came more than once.")


def _read(file: Path) -> str | None:
    """Return Prometheus' key, None where it is not readable or too short."""
    try:
        key = file.read_text().strip()
    except OSError as error:
        logger.warning("no scrape key: SCRAPE_KEY_FILE %s: %s", file, error.strerror)
        return None

    if len(key) < keys.MIN_LENGTH:
        logger.warning(
            "no scrape key: SCRAPE_KEY_FILE %s holds fewer than %d characters",
            file,
            keys.MIN_LENGTH,
        )
        return None
    return key
