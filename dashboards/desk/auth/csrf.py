"""Protection against requests that another site makes a browser send.

Every unsafe request must come from this origin (Fetch Metadata, else Origin). Those that a cookie authenticates must
also carry the session's token: forms in a field, the API in a header. Bearer tokens are not sent by browsers unasked
and need neither.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

FIELD: Final = "csrf_token"
HEADER: Final = "x-csrf-token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def fresh() -> str:
    """A random value for a browser that has no session yet, from which its login form's token follows."""
    return secrets.token_urlsafe(32)


def token_of(session: str) -> str:
    """The token of a session, by its id: not stored, and tells nothing of the id."""
    mac = hmac.new(session.encode(), b"tocsin csrf token", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def is_right(session: str, given: str | None) -> bool:
    """Whether ``given`` is the token of the session."""
    return bool(session) and hmac.compare_digest(token_of(session).encode(), (given or "").encode())


def from_here(headers: Headers, *, websocket: bool = False) -> bool:
    """Whether a page of this origin sent the request. A request with neither header is no browser's, except that
    every browser names the origin of a websocket."""
    site = headers.get("sec-fetch-site")
    if site == "same-origin":
        # No page can set this header; Origin may be null beside it, as a referrer policy has it.
        return True
    if site is not None and site != "none":
        return False
    origin = headers.get("origin")
    if origin is None:
        return not websocket
    return origin != "null" and urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
