"""Event ids (RFC 9562): time-ordered for new events, repeatable for events that come from a file."""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS: Final = (1 << 48) - 1


def uuid7(unix_ms: int | None = None, random_bits: int | None = None) -> str:
    """A UUID version 7 (section 5.7): milliseconds since 1970, then 74 random bits; both may be given for tests."""
    ms = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    bits = secrets.randbits(74) if random_bits is None else random_bits
    return _assemble(ms, 7, bits)


def source_uuid(*names: str, at: datetime | None = None) -> str:
    """A UUID version 8 (section 5.8) that is the same for the same names and time.

    The layout is version 7's, so ids of a file sort by time: 48 bits of milliseconds (0 without ``at`` or before
    1970), then 74 bits of the SHA-256 over the names, each with its length so that no two lists run together.
    """
    digest = hashlib.sha256()
    for name in names:
        encoded = name.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    ms = 0 if at is None else (at - _EPOCH) // (datetime.resolution * 1000)
    return _assemble(ms, 8, int.from_bytes(digest.digest()[:10], "big") >> 6)


def _assemble(ms: int, version: int, bits: int) -> str:
    clamped = min(max(ms, 0), _MAX_MS)
    high, low = (bits >> 62) & 0xFFF, bits & ((1 << 62) - 1)
    return str(UUID(int=clamped << 80 | version << 76 | high << 64 | 0b10 << 62 | low))
