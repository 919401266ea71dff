"""Who asks the Risk-O-Meter, and whether they may; asked in one place, for page, API, callbacks, files and figures."""

from collections.abc import Collection

from credit_risk.access import AccessDenied, AccessPolicy, Header
from credit_risk.caller import Caller
from credit_risk.settings import Settings
from model_deployment.openapi import PUBLIC
from model_deployment.problems import Problem

# Probes, and what describes the API, with its style: whoever writes a client reads it before there is a key.
OPEN = ("/healthz", "/readyz", *PUBLIC, "/assets/riskometer.css", "/assets/logo.svg")


class Access:
    """Says who asks.

    Attributes
    ----------
    closed : bool
        Whether callers have to be known: `USER_HEADER` or `API_KEYS` is set.
    """

    def __init__(self, settings: Settings) -> None:
        self._policy = AccessPolicy(settings, OPEN)
        self.closed = self._policy.closed

    def caller(self, method: str, path: str, headers: Collection[Header], peer: str | None) -> Caller:
        """Return who asks; see `AccessPolicy.caller`.

        Raises
        ------
        Problem
            When they may not; its kind is one of `credit_risk.access.REASONS`.
        """
        try:
            return self._policy.caller(method, path, headers, peer)
        except AccessDenied as denied:
            headers_back = {"WWW-Authenticate": "Bearer"} if denied.status == 401 else {}
            raise Problem(denied.status, denied.reason, str(denied), headers_back) from None
