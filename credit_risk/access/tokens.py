"""Tokens that say who the caller is: OpenID Connect's ID tokens, and assertions of Google's IAP.

Both are JSON Web Tokens (RFC 7519), signed by an issuer whose public keys are known. What a token
says counts only once its signature, issuer, audience and times are verified.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidTokenError,
)

from credit_risk.access.roles import folded
from credit_risk.access.signing_keys import IAP_KEYS, SigningKeys, fetch_keys, fetch_keys_of
from credit_risk.settings import Settings

IAP_HEADER = "x-goog-iap-jwt-assertion"
IAP_ISSUER = "https://cloud.google.com/iap"
# Never `none`, and no algorithm with a shared secret: a public key could be taken for one.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
IAP_ALGORITHMS = ("ES256",)
MAX_TOKEN = 8190  # as long as a header may be
MAX_GROUPS = 1000
# Seconds by which two clocks may differ.
_LEEWAY = 30
_REQUIRED = ["exp", "iat", "iss", "aud"]


class TokenRejected(Exception):
    """A token does not prove who the caller is.

    Attributes
    ----------
    reason : str
        One of `credit_risk.access.policy.REASONS`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Identity(NamedTuple):
    """Who a verified token names.

    Attributes
    ----------
    name : str
        See `roles.folded`.
    groups : tuple of str
    branch : str or None
    """

    name: str
    groups: tuple[str, ...]
    branch: str | None


class Claims(NamedTuple):
    """The names of the claims that hold name, groups and branch."""

    name: str
    groups: str
    branch: str


class TokenVerifier:
    """Verifies the tokens of one issuer for one audience.

    Parameters
    ----------
    issuer, audience : str
        What the claims `iss` and `aud` have to say.
    keys : SigningKeys
    algorithms : sequence of str
        Those that are accepted; the token's own header does not decide.
    claims : Claims
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        keys: SigningKeys,
        algorithms: Sequence[str],
        claims: Claims,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._algorithms = list(algorithms)
        self._claims = claims

    def verify(self, token: str) -> Identity:
        """Return who a token names.

        Raises
        ------
        TokenRejected
            When it is not one of this issuer's for this audience, or is not valid now.
        KeysUnavailable
            When the issuer's keys are unknown.
        """
        if len(token) > MAX_TOKEN:
            raise _bad(f"it has more than {MAX_TOKEN:,} characters")
        try:
            claims = self._verified(token)
        except ExpiredSignatureError:
            raise TokenRejected("expired-token", "The token has expired. Sign in again.") from None
        except InvalidAudienceError:
            raise _bad("it is meant for another service") from None
        except InvalidIssuerError:
            raise _bad("it is another issuer's") from None
        except (InvalidTokenError, ArithmeticError, ValueError, TypeError) as error:
            raise _bad(type(error).__name__) from None

        return Identity(self._name(claims), self._groups(claims), self._branch(claims))

    def _verified(self, token: str) -> dict[str, Any]:
        head = jwt.get_unverified_header(token)
        id, algorithm = head.get("kid"), head.get("alg")
        key = self._keys.find(id) if isinstance(id, str) else None
        if key is None:
            raise TokenRejected("unknown-signer", "The token is signed with an unknown key.")
        if algorithm not in self._algorithms or key.algorithm_name != algorithm:
            raise _bad("it is signed by an algorithm that is not accepted")

        claims = jwt.decode(
            token,
            key,
            algorithms=self._algorithms,
            audience=self._audience,
            issuer=self._issuer,
            leeway=_LEEWAY,
            options={"require": _REQUIRED, "strict_aud": False},
        )
        if self._issuer != IAP_ISSUER:
            self._check_is_id_token(head, claims)
        return claims

    def _check_is_id_token(self, head: Mapping[str, Any], claims: Mapping[str, Any]) -> None:
        """Refuse access tokens, and what another client got for the user (OpenID Connect, 3.1.3.7).

        RFC 9068 gives access tokens a type in the header, Keycloak gives its own one in a claim.
        """
        if claims.get("azp", self._audience) != self._audience:
            raise _bad("it was issued to another client")
        if str(head.get("typ", "JWT")).upper() != "JWT" or claims.get("typ", "ID") != "ID":
            raise _bad("it is not an ID token")

    def _name(self, claims: Mapping[str, Any]) -> str:
        is_unverified = claims.get("email_verified", True) not in (True, "true", None)
        if is_unverified and self._claims.name == "email":
            raise _bad("its email address is not verified")
        name = claims.get(self._claims.name)
        if not isinstance(name, str):
            raise _bad(f"it has no claim {self._claims.name}, which names the user")
        return folded(name)

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        groups = claims.get(self._claims.groups) or []
        if isinstance(groups, str):
            groups = [groups]
        if not isinstance(groups, list) or len(groups) > MAX_GROUPS:
            raise _bad(f"its claim {self._claims.groups} is not a list of groups")
        return tuple(group for group in groups if isinstance(group, str))

    def _branch(self, claims: Mapping[str, Any]) -> str | None:
        branch = claims.get(self._claims.branch)
        if branch is None:
            return None
        if not isinstance(branch, str) or not branch.isprintable() or not 1 <= len(branch) <= 100:
            raise _bad(f"its claim {self._claims.branch} is not a branch: 1 to 100 characters")
        return branch


def _bad(why: str) -> TokenRejected:
    return TokenRejected("bad-token", f"The token was not accepted: {why}.")


def open_verifier(settings: Settings, iap_keys: str = IAP_KEYS) -> TokenVerifier | None:
    """Return the verifier of the settings; None where no issuer is set.

    It asks for the issuer's keys, and goes on without them where the issuer does not answer.

    Parameters
    ----------
    settings : Settings
    iap_keys : str
        Where IAP's keys are. No setting says so: whoever could change it could sign in as anybody.
    """
    claims = Claims(
        settings.oidc_name_claim, settings.oidc_groups_claim, settings.oidc_branch_claim
    )
    if audience := settings.iap_audience:
        signing = SigningKeys(lambda: fetch_keys(iap_keys))
        return TokenVerifier(IAP_ISSUER, audience, signing, IAP_ALGORITHMS, claims)
    if issuer := settings.oidc_issuer:
        signing = SigningKeys(lambda: fetch_keys_of(issuer))
        return TokenVerifier(issuer, settings.oidc_audience, signing, ALGORITHMS, claims)
    return None
