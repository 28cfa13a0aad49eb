"""Passwords: Argon2id hashes, what may be chosen (NIST SP 800-63B section 5.1.1), and one-time passwords."""

from __future__ import annotations

import secrets
import unicodedata
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH: Final = 12
MAX_LENGTH: Final = 256
_TOO_COMMON: Final = ("password", "passwort", "motdepasse", "qwerty", "azerty", "letmein", "tocsin", "123456", "abcdef")
# No characters that are taken for another when read from a screen.
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"

_hasher = PasswordHasher()


class WeakPasswordError(ValueError):
    """The password may not be used; the message says why, without repeating it."""


def normal(password: str) -> str:
    """One form for what keyboards of several systems write differently (NIST: NFKC before hashing)."""
    return unicodedata.normalize("NFKC", password)


def check(password: str, name: str, old: str = "") -> None:
    """Whether ``name`` may use the password.

    Raises:
        WeakPasswordError: too short, too long, the name, the old one, or one of the first that anybody tries.
    """
    text = normal(password)
    if len(text) < MIN_LENGTH:
        raise WeakPasswordError(f"The password is too short: at least {MIN_LENGTH} characters, any kind.")
    if len(text) > MAX_LENGTH:
        raise WeakPasswordError(f"The password is too long: at most {MAX_LENGTH} characters.")
    if old and text == normal(old):
        raise WeakPasswordError("The new password is the old one.")
    rest = text.casefold()
    if name.casefold() in rest:
        rest = rest.replace(name.casefold(), "")
        if len(rest) < MIN_LENGTH // 2:
            raise WeakPasswordError("The password is little more than the name.")
    for word in _TOO_COMMON:
        rest = rest.replace(word, "")
    if len(rest) < MIN_LENGTH // 2 or len(set(text)) < 4:
        raise WeakPasswordError(
            "The password is one of the first that anybody tries. Four random words make a good one."
        )


def hashed(password: str) -> str:
    """The Argon2id hash with its parameters; takes tens of milliseconds on purpose, so not on an event loop."""
    return _hasher.hash(normal(password))


def verify(stored: str | None, password: str) -> bool:
    """Whether it is the password. Costs the same when there is no account or no hash, so that time tells nothing."""
    if len(password) > 4 * MAX_LENGTH:
        password = ""
    try:
        matches = _hasher.verify(stored or _nobodys(), normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return matches and stored is not None


def is_dated(stored: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(stored)


def one_time() -> str:
    """A password to be read from a screen once: 20 characters, 98 bits."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


@cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_urlsafe(32))
