"""Logging in at an identity provider: OpenID Connect, authorization code with PKCE, state and nonce.

Nothing of an attempt is kept in the browser but a random value that ties the answer to it; state, nonce and verifier
are in the desk's file for ten minutes and used once. The role comes from a claim, looked up in ``settings.oidc_roles``.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped]

from dashboards.desk.auth.accounts import Account, AccountError, Accounts
from dashboards.desk.auth.database import digest, stamp
from dashboards.desk.auth.roles import ROLES, Role
from dashboards.desk.auth.throttle import address_key
from schemas.settings import Settings

ATTEMPT_VALID: Final = timedelta(minutes=10)
MAX_ATTEMPTS: Final = 10_000
MAX_OF_ADDRESS: Final = 100
_MAKE_ROOM: Final = (
    "DELETE FROM oidc_logins WHERE state_hash IN "
    "(SELECT state_hash FROM oidc_logins {where} ORDER BY expires_at DESC LIMIT -1 OFFSET ?)"
)
SCOPE: Final = "openid profile email"

log = logging.getLogger(__name__)


class OidcError(Exception):
    """The login did not work; the message is for the person. ``status`` is the HTTP status that says so."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class OidcSettingError(ValueError):
    """A setting is missing or wrong; the message names it."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whom the provider vouched for, and where the person wanted to go."""

    account: Account
    next: str


class Oidc:
    """The client of one identity provider.

    Raises:
        OidcSettingError: no client id, or a role that does not exist.
    """

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        if not settings.oidc_issuer or not settings.oidc_client_id:
            raise OidcSettingError("TOCSIN_OIDC_ISSUER needs TOCSIN_OIDC_CLIENT_ID beside it, and the other way round")
        self._issuer = settings.oidc_issuer
        self._claim = settings.oidc_role_claim
        self._roles = {value: _role(value, text) for value, text in settings.oidc_roles.items()}
        self._accounts = accounts
        self._client_id = settings.oidc_client_id
        self._client: Any = OAuth().register(
            "desk",
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret or None,
            server_metadata_url=f"{self._issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={"scope": SCOPE, "code_challenge_method": "S256", "timeout": 10},
        )

    async def begin(self, browser: str, redirect_uri: str, wanted: str, address: str = "") -> str:
        """The address to send the browser to; ``browser`` is the random value that it keeps meanwhile.
        An address has ``MAX_OF_ADDRESS`` attempts under way, all together ``MAX_ATTEMPTS``: the oldest gives way.

        Raises:
            OidcError: the provider does not answer, or is another one than the settings say.
        """
        try:
            metadata = await self._client.load_server_metadata()
            if metadata.get("issuer") != self._issuer:
                raise ValueError(f"it calls itself {metadata.get('issuer')!r}")
            made = await self._client.create_authorization_url(redirect_uri)
        except Exception as error:  # network, JSON and protocol errors have no common type
            log.warning("the identity provider %s cannot be used: %s", self._issuer, error)
            raise OidcError(
                "The identity provider does not answer. Try again, or log in with a password.", 503
            ) from error
        now = self._accounts.now()
        source = address_key(address)
        values = (digest(made["state"]), digest(browser), made["nonce"], made["code_verifier"], redirect_uri, wanted)
        with self._accounts.database.write() as connection:
            connection.execute("DELETE FROM oidc_logins WHERE expires_at <= ?", (stamp(now),))
            # Never refused: whoever begins many logins must not keep others from theirs.
            connection.execute(_MAKE_ROOM.format(where="WHERE address_hash = ?"), (source, MAX_OF_ADDRESS - 1))
            connection.execute(_MAKE_ROOM.format(where=""), (MAX_ATTEMPTS - 1,))
            connection.execute(
                "INSERT INTO oidc_logins VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, stamp(now + ATTEMPT_VALID), source),
            )
        return str(made["url"])

    async def finish(self, browser: str, answer: Mapping[str, str]) -> Admitted:
        """The account of the person whom the provider sent back with ``answer`` (the callback's parameters).

        Raises:
            OidcError: the answer belongs to no attempt of this browser, the provider refused, its token is not valid,
                or the person has no role here.
        """
        attempt = self._attempt(browser, answer.get("state", ""))
        if "error" in answer or "code" not in answer:
            raise OidcError("The identity provider did not log you in.", 403)
        if answer.get("iss", self._issuer) != self._issuer:
            raise OidcError("The answer comes from another identity provider.")
        try:
            token = await self._client.fetch_access_token(
                redirect_uri=attempt["redirect_uri"], code=answer["code"], code_verifier=attempt["verifier"]
            )
            claims = await self._client.parse_id_token(token, nonce=attempt["nonce"], claims_options=self._expected())
            if claims is None:
                raise ValueError("no id_token in the answer")
            if self._claim not in claims and "userinfo_endpoint" in self._client.server_metadata:
                more = await self._client.userinfo(token=token)
                # OpenID Connect Core 5.3.2: another subject's answer must not be used.
                claims = claims if more.get("sub") != claims["sub"] else {**more, **claims}
        except Exception as error:  # network, JSON, signature and claim errors have no common type
            log.warning("a login at %s could not be completed: %s", self._issuer, error)
            raise OidcError("The identity provider's answer could not be verified. Log in again.") from error
        return Admitted(self._admit(claims), attempt["next"])

    def _attempt(self, browser: str, state: str) -> dict[str, str]:
        """The attempt of this state, taken out so that it serves once."""
        with self._accounts.database.write() as connection:
            row = connection.execute(
                "DELETE FROM oidc_logins WHERE state_hash = ? RETURNING *", (digest(state),)
            ).fetchone()
        over = row is None or row["expires_at"] <= stamp(self._accounts.now())
        if over or not browser or not hmac.compare_digest(row["browser_hash"], digest(browser)):
            raise OidcError("This login was not begun in this browser, or too long ago. Log in again.")
        return {name: row[name] for name in ("nonce", "verifier", "redirect_uri", "next")}

    def _expected(self) -> dict[str, Any]:
        return {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client_id},
            "sub": {"essential": True},
            "nonce": {"essential": True},
        }

    def _admit(self, claims: Mapping[str, Any]) -> Account:
        found = claims.get(self._claim, [])
        values = [found] if isinstance(found, str) else [str(each) for each in found] if isinstance(found, list) else []
        mapped = next((self._roles[value] for value in self._roles if value in values), None)
        subject = str(claims["sub"])
        display = str(claims.get("name") or claims.get("preferred_username") or claims.get("email") or subject)
        if mapped is None:
            raise OidcError(
                f"The identity provider knows you as {display}, but no role at this desk is given to you. "
                f"Ask an administrator: the claim '{self._claim}' decides.",
                403,
            )
        wanted = str(claims.get("preferred_username") or claims.get("email") or subject).partition("@")[0]
        role, partner = mapped
        try:
            return self._accounts.admit(
                f"{self._issuer} {subject}", wanted, role, partner=partner, display=display[:100]
            )
        except AccountError as error:
            raise OidcError(str(error), 403) from error


def _role(value: str, text: str) -> tuple[Role, str | None]:
    name, _, partner = text.partition(":")
    if name not in ROLES or (name == "partner") != bool(partner):
        raise OidcSettingError(
            f"TOCSIN_OIDC_ROLES: '{value}' maps to '{text}'; expected partner:ID or one of "
            f"{', '.join(role for role in ROLES if role != 'partner')}"
        )
    return name, partner or None
