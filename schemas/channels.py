"""Ways to reach a person, as ``oncall.yml`` names them. Secrets stay out of the file: it says where they are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from schemas.fields import NonEmpty

ChannelKind = Literal["apprise", "smtp", "webhook", "log"]
SECRET_LITERAL: Final = "secret_literal"
"""Code of the problem of a secret that stands in the file; whoever reports it must not print the value."""
_REFERENCE: Final = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*")
_MAILBOX: Final = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")


class SecretMissingError(Exception):
    """A secret that a channel refers to is not where it says; the message names the place, never the value."""


def is_reference(text: str) -> bool:
    """Whether it says where a secret is kept: ``env:NAME`` or ``file:PATH``."""
    return _REFERENCE.fullmatch(text) is not None


def resolve(reference: str) -> str:
    """The value behind ``env:NAME`` or ``file:PATH`` (without the line feed at its end); other text as it is.

    Raises:
        SecretMissingError: the variable is not set, or the file cannot be read, or it is empty.
    """
    if not is_reference(reference):
        return reference
    kind, _, place = reference.partition(":")
    if kind == "env":
        value = os.environ.get(place, "")
        if not value:
            raise SecretMissingError(f"environment variable {place} is not set")
        return value
    try:
        value = Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretMissingError(f"{place} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not value:
        raise SecretMissingError(f"{place} is empty")
    return value


def _only_reference(text: Any) -> str:
    if not isinstance(text, str) or not is_reference(text):
        raise PydanticCustomError(
            SECRET_LITERAL, "a secret does not belong in this file; write env:NAME or file:PATH, and keep it there"
        )
    return text


def _http_address(text: str) -> str:
    if is_reference(text):
        return text
    parts = urlsplit(text)
    if parts.password is not None:
        return _only_reference(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PydanticCustomError("url", "must be an http:// or https:// address, or env:NAME, or file:PATH")
    return text


def _apprise_address(text: str) -> str:
    """Takes a literal address only when Apprise itself finds nothing in it to hide from a log."""
    if is_reference(text):
        return text
    from apprise import Apprise  # a second of imports that most policies do without

    service = Apprise.instantiate(text, suppress_exceptions=True)
    if service is None:
        # It may be a mistyped address with a token in it.
        raise PydanticCustomError(SECRET_LITERAL, "Apprise knows no such address; see https://appriseit.com/services/")
    plain, masked = (service.url(privacy=each) for each in (False, True))  # type: ignore[no-untyped-call]
    return text if plain == masked else _only_reference(text)


SecretRef = Annotated[str, BeforeValidator(_only_reference)]
Mailbox = Annotated[str, Field(pattern=_MAILBOX.pattern, description="one address, such as watch@desk.example")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Smtp(_Model):
    """Mail through one relay. ``starttls`` refuses a relay that does not offer it, or whose certificate is wrong."""

    host: NonEmpty
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    sender: Annotated[Mailbox, Field(alias="from")]
    to: Mailbox
    starttls: bool = True
    user: NonEmpty | None = None
    password: SecretRef | None = None

    @model_validator(mode="after")
    def _user_and_password(self) -> Smtp:
        if (self.user is None) != (self.password is None):
            raise PydanticCustomError("login", "user and password go together; give both or none")
        if self.user is not None and not self.starttls:
            raise PydanticCustomError("login", "a password is not sent in the clear; set starttls: true")
        return self


class Webhook(_Model):
    """An HTTP endpoint that gets signed JSON (processors/notify/signing.py)."""

    url: Annotated[NonEmpty, AfterValidator(_http_address)]
    secret: SecretRef


class Channel(_Model):
    """One way to reach somebody: exactly one of ``apprise``, ``smtp``, ``webhook`` and ``log``.

    ``outside`` says that what goes there leaves the organisation, so that nothing above TLP:GREEN may be in it; it
    holds unless it is denied, and for ``log`` (the worker's own log) the other way round. ``rate_limit`` is messages a
    minute.
    """

    apprise: Annotated[NonEmpty, AfterValidator(_apprise_address)] | None = None
    smtp: Smtp | None = None
    webhook: Webhook | None = None
    log: Literal[True] | None = None
    outside: bool = True
    rate_limit: Annotated[int, Field(ge=1, le=60_000, description="messages a minute")] = 30

    @model_validator(mode="before")
    @classmethod
    def _log_stays_inside(cls, value: object) -> object:
        return {"outside": False, "rate_limit": 6_000, **value} if isinstance(value, dict) and "log" in value else value

    @model_validator(mode="after")
    def _one_kind(self) -> Channel:
        given = [kind for kind in ("apprise", "smtp", "webhook", "log") if getattr(self, kind) is not None]
        if len(given) != 1:
            found = ", ".join(given) or "none"
            raise PydanticCustomError(
                "channel_kind", "exactly one of apprise, smtp, webhook, log is needed; it has {found}", {"found": found}
            )
        return self

    @field_validator("log", mode="before")
    @classmethod
    def _log_is_true(cls, value: object) -> object:
        if value is not True:
            raise PydanticCustomError("log", "must be true")
        return value

    @property
    def kind(self) -> ChannelKind:
        """Which of the four it is."""
        if self.apprise is not None:
            return "apprise"
        if self.smtp is not None:
            return "smtp"
        return "webhook" if self.webhook is not None else "log"

    @property
    def address(self) -> str:
        """Where it leads, showing no secret: without the paths of URLs, where services put tokens."""
        if self.smtp is not None:
            return self.smtp.to
        if self.log is not None:
            return "log"
        reference = self.apprise if self.webhook is None else self.webhook.url
        if reference is None or is_reference(reference):
            return reference or ""
        parts = urlsplit(reference)
        port = f":{parts.port}" if self.webhook is not None and parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}"
