"""Who may use the Risk-O-Meter, checked in one place.

It holds for the page, the API, the callbacks, files and metrics.
"""

from collections.abc import Collection, Mapping

from credit_risk.access.access_log import Entry
from credit_risk.access.policy import AccessDenied, AccessPolicy
from credit_risk.access.roles import Permission
from credit_risk.settings import Settings
from model_deployment.http.problem import RETRY_SECONDS, Problem
from model_deployment.http.request import UNMATCHED, Request


class Access:
    """Lets requests in.

    Parameters
    ----------
    settings : Settings
    unlocked : collection of str
        The paths that are open to anybody.
    permissions : mapping of str to str
        What each rule takes, those of the unlocked paths aside. Nobody gets in by one that is not
        listed.

    Attributes
    ----------
    closed : bool
        Whether callers have to be known.
    """

    def __init__(
        self,
        settings: Settings,
        unlocked: Collection[str],
        permissions: Mapping[str, Permission],
    ) -> None:
        self._unlocked = frozenset(unlocked)
        self._policy = AccessPolicy(settings, self._unlocked)
        self._permissions = permissions
        self.closed = self._policy.closed

    def admit(self, request: Request) -> None:
        """Set the caller of a request that was routed.

        Raises
        ------
        Problem
            When access is denied; its kind is one of `credit_risk.access.policy.REASONS`.
        """
        try:
            caller = self._policy.caller(
                request.method, request.path, request.headers, request.peer
            )
            request.caller = caller
            # Where no rule matches there is nothing to be had.
            if request.path not in self._unlocked and request.route != UNMATCHED:
                self._policy.require(caller, self._permissions.get(request.route))
        except AccessDenied as denied:
            request.caller = denied.caller
            raise refused(denied, request.entry) from None


def refused(denied: AccessDenied, entry: Entry) -> Problem:
    """Return the problem of a refusal, which the access log will have."""
    entry.refuse(denied.reason)
    headers = {"WWW-Authenticate": "Bearer"} if denied.status == 401 else {}
    if denied.status == 503:
        headers = {"Retry-After": str(RETRY_SECONDS)}
    return Problem(denied.status, denied.reason, str(denied), headers)
