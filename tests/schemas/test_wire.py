"""Confluent framing: any id and body come back, anything else is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.wire import NotConfluentFramed, frame, unframe


@given(st.integers(0, 2**32 - 1), st.binary(max_size=40))
def test_frame_and_unframe_are_inverse(schema_id: int, body: bytes) -> None:
    assert unframe(frame(schema_id, body)) == (schema_id, body)


def test_layout_is_big_endian() -> None:
    assert frame(258, b"x") == b"\x00\x00\x00\x01\x02x"


@pytest.mark.parametrize("schema_id", [-1, 2**32])
def test_ids_beyond_32_bits_are_refused(schema_id: int) -> None:
    with pytest.raises(ValueError, match=str(schema_id)):
        frame(schema_id, b"")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (None, "no value"),
        (b"", "only 0 bytes (empty)"),
        (b"\x00\x01\x02", "only 3 bytes (00 01 02)"),
        (b'{"header": 1}', "first byte 0x7b (JSON text)"),
        (b"Obj\x01abcdef", "an Avro container file"),
        (b"\xc3\x01abcdefgh", "Avro single-object encoding"),
        (b"\x01\x00\x00\x00\x07abc", "first byte 0x01"),
    ],
)
def test_what_was_found_is_named(raw: bytes | None, found: str) -> None:
    with pytest.raises(NotConfluentFramed) as caught:
        unframe(raw)
    assert found in caught.value.found
    assert "expected byte 0" in str(caught.value)


@given(st.binary(max_size=30))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    try:
        schema_id, body = unframe(raw)
    except NotConfluentFramed:
        assert len(raw) < 5 or raw[0] != 0
    else:
        assert frame(schema_id, body) == raw
