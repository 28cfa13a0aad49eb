"""Confluent wire format: a zero byte, the schema id as 4-byte big-endian unsigned integer, then the Avro body.

Source: Confluent Schema Registry documentation, "Wire format".
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import Any, Final

import fastavro

MAGIC: Final = 0
PREFIX_BYTES: Final = 5
_PREFIX: Final = struct.Struct(">bI")


class NotConfluentFramed(ValueError):  # noqa: N818 - reads as the sentence it is
    """A record value without the five-byte prefix; ``found`` says what was there instead."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"not in Confluent wire format: found {found}, expected byte 0 and a 4-byte schema id; "
            "publish with PartnerProducer or a Confluent Avro serializer"
        )
        self.found = found


def frame(schema_id: int, body: bytes) -> bytes:
    """Put the prefix before an Avro body.

    Raises:
        ValueError: ``schema_id`` does not fit 32 bits.
    """
    if not 0 <= schema_id <= 0xFFFFFFFF:
        raise ValueError(f"schema id {schema_id} does not fit the wire format's 32 bits")
    return _PREFIX.pack(MAGIC, schema_id) + body


def encode(schema_id: int, parsed: Any, record: dict[str, Any]) -> bytes:
    """Encode and frame one record; ``parsed`` is what ``fastavro.parse_schema`` returned.

    Raises:
        ValueError, TypeError: the record does not fit the schema.
    """
    out = io.BytesIO()
    out.write(_PREFIX.pack(MAGIC, schema_id))
    fastavro.schemaless_writer(out, parsed, record)
    return out.getvalue()


def prefixes_of(values: Iterable[bytes | None]) -> set[bytes]:
    """The first five bytes, or what there is of them, of the values that have any: what names their schemas."""
    return {value[:PREFIX_BYTES] for value in values if value}


def unframe(raw: bytes | None) -> tuple[int, bytes]:
    """Split a record value into schema id and Avro body (which may be empty).

    Raises:
        NotConfluentFramed: no value, shorter than the prefix, or another first byte.
    """
    if raw is None:
        raise NotConfluentFramed("no value (tombstone)")
    if len(raw) < PREFIX_BYTES:
        raise NotConfluentFramed(f"only {len(raw)} bytes ({raw.hex(' ') or 'empty'})")
    if raw[0] != MAGIC:
        raise NotConfluentFramed(f"first byte 0x{raw[0]:02x}{_guess(raw)}")
    return int.from_bytes(raw[1:PREFIX_BYTES], "big"), raw[PREFIX_BYTES:]


def _guess(raw: bytes) -> str:
    """Name the format that a wrong first byte suggests: it is what the partner has to change."""
    if raw[:4] == b"Obj\x01":
        return " (an Avro container file)"
    if raw[:2] == b"\xc3\x01":
        return " (Avro single-object encoding)"
    if raw[:1] in (b"{", b"["):
        return " (JSON text)"
    return ""
