"""Who may use the Risk-O-Meter, checked in one place.

It holds for the page, the API, the callbacks, files and metrics.
"""

from collections.abc import Collection

from credit_risk.access.caller import Caller
from credit_risk.access.policy import AccessDenied, AccessPolicy, Header
from credit_risk.settings import Settings
from model_deployment.http.problem import Problem


class Access:
    """Identifies the caller of a request.

    Parameters
    ----------
    settings : Settings
    unlocked : collection of str
        The paths that are open to anybody.

    Attributes
    ----------
    closed : bool
        Whether callers have to be known: `USER_HEADER` or `API_KEYS` is set.
    """

    def __init__(self, settings: Settings, unlocked: Collection[str]) -> None:
        self._policy = AccessPolicy(settings, tuple(unlocked))
        self.closed = self._policy.closed

    def caller(
        self, method: str, path: str, headers: Collection[Header], peer: str | None
    ) -> Caller:
        """Return the caller; see `AccessPolicy.caller`.

        Raises
        ------
        Problem
            When access is denied; its kind is one of `credit_risk.access.policy.REASONS`.
        """
        try:
            return self._policy.caller(method, path, headers, peer)
        except AccessDenied as denied:
            headers_back = {"WWW-Authenticate": "Bearer"} if denied.status == 401 else {}
            raise Problem(denied.status, denied.reason, str(denied), headers_back) from None
