"""Signatures of webhooks, for us and for receivers.

A request carries ``Tocsin-Timestamp`` (Unix seconds at which it was sent), ``Tocsin-Signature`` (``sha256=`` and the
HMAC-SHA256, in hex, of the timestamp, a dot, and the body as it was sent) and ``Idempotency-Key`` (the same for every
attempt of one notification, and ``notification_id`` in the body: whoever has handled a key ignores it from then on).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

TIMESTAMP_HEADER: Final = "Tocsin-Timestamp"
SIGNATURE_HEADER: Final = "Tocsin-Signature"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
_PREFIX: Final = "sha256="


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of ``Tocsin-Signature``."""
    return _PREFIX + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(
    secret: str, timestamp: str, body: bytes, signature: str, *, now: float | None = None, tolerance_s: float = 300.0
) -> bool:
    """Whether the request is ours. With ``now`` (Unix seconds) one that is more than ``tolerance_s`` away from it is
    refused as well, so that nobody can repeat an old one."""
    if not hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode("utf-8", "replace")):
        return False
    if now is None:
        return True
    return timestamp.isdigit() and abs(now - int(timestamp)) <= tolerance_s
