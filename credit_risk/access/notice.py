"""What a service says about access when it starts: who is let in, and which keys have no end."""

import logging
import sys

from credit_risk import keys
from credit_risk.access.roles import RolesFileInvalid, read_roles
from credit_risk.settings import Settings

# A level of `logging`, and a line.
Notice = tuple[int, str]


def notices(settings: Settings, port: int) -> list[Notice]:
    """Return what to log, or end the process with one line where ROLES_FILE is invalid.

    Parameters
    ----------
    settings : Settings
    port : int
        The service's.
    """
    try:
        roles = read_roles(settings.roles_file) if settings.roles_file else None
    except RolesFileInvalid as error:
        sys.exit(str(error))

    known = keys.parse(settings.api_keys.get_secret_value())
    ways = {
        f"tokens of {settings.oidc_issuer}": settings.oidc_issuer,
        "Google's IAP": settings.iap_audience,
        f"{settings.user_header} of {settings.trusted_proxies}": settings.user_header,
        f"API keys ({len(known)})": known,
    }
    chosen = [way for way, is_set in ways.items() if is_set]
    if not chosen:
        address = f"{settings.bind_address}:{port}"
        line = f"open to everybody who reaches {address}; docs/access.md says how to close it"
        return [(logging.INFO, f"access: {line}")]

    said = "no ROLES_FILE is set" if roles is None else f"ROLES_FILE sets {len(roles)} roles"
    lines = [(logging.INFO, f"access: by {' and '.join(chosen)}; {said}")]
    if endless := sorted({key.name for key in known.values() if key.expires is None}):
        names = ", ".join(endless)
        lines.append(
            (logging.WARNING, f"access: keys that never expire: {names}; make new ones that do")
        )
    return lines
