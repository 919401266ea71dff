"""The access policy: who the caller is, and whether the request is allowed.

A request's method, path, headers and peer decide, and nothing else does.

Any web page that a clerk has open can post a form to 127.0.0.1 and, under a host name of its own
that resolves to that address, even read the answer. So requests must use a name that the service is
known under, and writes must come from its own page or from no page. Once a way to identify callers
is set, everything but the probes and the API's description is closed to callers whom no signed
token, trusted proxy or key identifies, and who have no role for it. Rate limits belong to a proxy.
"""

import hmac
import logging
import re
import socket
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from credit_risk import keys
from credit_risk.access.caller import Caller
from credit_risk.access.roles import ANYBODY, SCRAPER, SERVICE, Permission, Rights, read_roles
from credit_risk.access.signing_keys import KeysUnavailable
from credit_risk.access.tokens import IAP_HEADER, TokenRejected, TokenVerifier, open_verifier
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
    "expired-key",
    "no-token",
    "bad-token",
    "expired-token",
    "unknown-signer",
    "no-signing-keys",
    "no-role",
    "not-permitted",
)

_NAME = f"1 to {MAX_NAME} printable characters"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
# In ALLOWED_HOSTS, stands for the addresses that the machine has when a request comes. A container
# gets others when it is put back on a network.
OWN_ADDRESSES = "own-addresses"

Header = tuple[str, str]

logger = logging.getLogger(__name__)


class AccessDenied(Exception):
    """A request is refused.

    Attributes
    ----------
    status : int
        400, 401, 403 or 503.
    reason : str
        One of `REASONS`.
    caller : Caller or None
        Who is refused, where that is known.
    """

    def __init__(self, status: int, reason: str, detail: str, caller: Caller | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.caller = caller


class AccessPolicy:
    """The rules for requests to one service.

    Parameters
    ----------
    settings : Settings
    public : collection of str
        Paths that are open to everybody. They match exactly: another spelling of one is closed.
    hosts : collection of str
        Host names that the service answers to in addition to `ALLOWED_HOSTS`.
    verifier : TokenVerifier, optional
        Verifies users' tokens; as the settings say when not given.

    Attributes
    ----------
    closed : bool
        Whether callers have to identify themselves.

    Raises
    ------
    RolesFileInvalid
        When there is a ROLES_FILE that cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        public: Collection[str],
        hosts: Collection[str] = (),
        verifier: TokenVerifier | None = None,
    ) -> None:
        self._hosts = {host.lower() for host in (*split_words(settings.allowed_hosts), *hosts)}
        self._own_addresses = OWN_ADDRESSES in self._hosts
        self._hosts.discard(OWN_ADDRESSES)
        self._keys = keys.parse(settings.api_keys.get_secret_value())
        self._user_header = settings.user_header.lower()
        self._proxies = networks(settings.trusted_proxies)
        self._public = frozenset(public)
        self._groups_header = settings.groups_header.lower()
        self._roles = read_roles(settings.roles_file) if settings.roles_file else None
        self._by_iap = bool(settings.iap_audience)
        self._verifier = verifier or open_verifier(settings)
        self.closed = bool(self._keys or self._user_header or self._verifier)
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

        if not self.closed:
            return Caller(rights=ANYBODY)
        if path in self._public:
            return Caller()

        caller = self._by_token(headers) or self._by_proxy(headers, peer)
        caller = caller or self._key_holder(path, headers)
        if not caller.rights.roles:
            detail = "You are known here, but have no role. ROLES_FILE says who has which."
            raise AccessDenied(403, "no-role", detail, caller)
        return caller

    @staticmethod
    def require(caller: Caller, permission: Permission | None) -> None:
        """Return when a caller has a permission; nobody passes where none is named.

        Raises
        ------
        AccessDenied
        """
        if permission is not None and caller.rights.may(permission):
            return

        detail = "No role is allowed to do this."
        if permission is not None:
            roles = " and ".join(caller.rights.roles) or "nobody"
            detail = f"This takes the right “{permission}”, which {roles} does not have."
        raise AccessDenied(403, "not-permitted", detail, caller)

    def _check_host(self, headers: Iterable[Header]) -> str:
        host = (_only("host", headers, 400) or "").lower()
        match = _HOST.fullmatch(host)
        if match is None or not self._is_known(match[1].strip("[]")):
            detail = (
                "This service is not known by that name. "
                "ALLOWED_HOSTS lists the names that it answers to."
            )
            raise AccessDenied(400, "unknown-host", detail)
        return host

    def _is_known(self, host: str) -> bool:
        return host in self._hosts or (self._own_addresses and _is_own_address(host))

    def _check_page(self, method: str, headers: Collection[Header], host: str) -> None:
        origin = _only("origin", headers, 403)
        site = _only("sec-fetch-site", headers, 403)
        own_origins = (f"http://{host}", f"https://{host}")
        is_foreign = origin is not None and origin.lower() not in own_origins
        is_foreign = is_foreign or site not in (None, "same-origin", "none")
        if method not in _SAFE and is_foreign:
            raise AccessDenied(403, "foreign-origin", "Requests from other web pages are refused.")

    def _by_token(self, headers: Collection[Header]) -> Caller | None:
        """Return the user whom a signed token names; None where there is no token."""
        token = self._token(headers) if self._verifier else None
        if self._verifier is None or token is None:
            return None
        try:
            found = self._verifier.verify(token)
        except TokenRejected as error:
            raise AccessDenied(401, error.reason, str(error)) from None
        except KeysUnavailable as error:
            raise AccessDenied(503, "no-signing-keys", f"Nobody can sign in: {error}.") from None

        if not _is_name(found.name):
            raise AccessDenied(403, "bad-user", f"The token holds no name: {_NAME}.")
        rights = self._rights(found.name, found.groups)
        return Caller(found.name, "user", rights, found.branch, is_proven=True)

    def _token(self, headers: Collection[Header]) -> str | None:
        if self._by_iap:
            return _only(IAP_HEADER, headers, 401)
        token = _bearer(headers)
        # A JSON Web Token has three parts; of the keys of programs none has a dot.
        return token if token and token.count(".") == 2 else None

    def _rights(self, name: str, groups: Collection[str]) -> Rights:
        return ANYBODY if self._roles is None else self._roles.of(name, groups)

    def _by_proxy(self, headers: Collection[Header], peer: str | None) -> Caller | None:
        """Return the user whom a proxy names; None where the header is absent."""
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
        if not _is_name(name):
            detail = f"The header that names the user holds no name: {_NAME}."
            raise AccessDenied(403, "bad-user", detail)

        groups = _only(self._groups_header, headers, 403) if self._groups_header else None
        return Caller(name, "user", self._rights(name, split_words(groups or "")))

    def _key_holder(self, path: str, headers: Collection[Header]) -> Caller:
        token = _bearer(headers)
        if token is None:
            raise self._unidentified()

        if key := keys.find(token, self._keys):
            if key.has_expired:
                detail = f"The key was valid until {key.expires}. `make api-key` makes another."
                raise AccessDenied(401, "expired-key", detail)
            rights = self._roles.of_keys if self._roles else SERVICE
            return Caller(key.name, "key", rights)
        if path == METRICS and self._is_scrape_key(token):
            return Caller("prometheus", "scrape", SCRAPER)
        raise AccessDenied(
            401, "wrong-key", "This service wants a key that it knows: Authorization: Bearer KEY."
        )

    def _unidentified(self) -> AccessDenied:
        """Return the refusal of a request that has no user, token or key."""
        if self._by_iap:
            detail = "Requests come through Google's IAP, which says who asks."
            return AccessDenied(401, "no-token", detail)
        if self._verifier:
            detail = "This service wants a token of its issuer: Authorization: Bearer TOKEN."
            return AccessDenied(401, "no-token", detail)
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
    address = _address(peer)
    return address is not None and any(address in network for network in proxies)


def _is_own_address(host: str) -> bool:
    """Return whether an address is one of this machine's now, loopback aside.

    No socket can be bound to any other.
    """
    address = _address(host)
    if address is None or address.is_loopback or address.is_unspecified or address.is_multicast:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, as IPv4 where it is one written as IPv6; None where it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _only(name: str, headers: Iterable[Header], status: int) -> str | None:
    """Return a header's value, None where it is absent; refuse one that was sent twice."""
    values = [value for given, value in headers if given == name]
    if len(values) > 1:
        raise _doubled(name, status)
    return values[0] if values else None


def _bearer(headers: Iterable[Header]) -> str | None:
    """Return the token of the Authorization header; empty where it is of another kind."""
    given = _only("authorization", headers, 401)
    if given is None:
        return None
    kind, _, token = given.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _is_name(name: str) -> bool:
    is_short = 0 < len(name) <= MAX_NAME
    return is_short and name.isprintable() and "," not in name and name == name.strip()


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
