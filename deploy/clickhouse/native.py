"""Native blocks for clients that announce a protocol version (``client_protocol_version``).

The engine writes Native for revision 0. A client that announces a revision expects, before each block, the block
info, and from revision 54454 on one byte behind each column's type that says whether its serialization is a custom
one. To put that byte in its place this module walks over the columns; it never changes the data.
Source: ClickHouse documentation, "Native format" and "Native protocol, data block".
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache

from deploy.clickhouse.errors import NOT_IMPLEMENTED, QueryError

CUSTOM_SERIALIZATION_REVISION = 54454
# Field 1: is_overflows = 0; field 2: bucket_num = -1; end of fields.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"

_FIXED = {
    "Int8": 1, "UInt8": 1, "Bool": 1, "Enum8": 1, "Nothing": 1,
    "Int16": 2, "UInt16": 2, "Enum16": 2, "Date": 2, "BFloat16": 2,
    "Int32": 4, "UInt32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4, "Time": 4,
    "Int64": 8, "UInt64": 8, "Float64": 8, "DateTime64": 8, "Time64": 8,
    "Int128": 16, "UInt128": 16, "UUID": 16, "IPv6": 16,
    "Int256": 32, "UInt256": 32,
}  # fmt: skip
_ALIASES = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "MultiLineString": "Array(LineString)",
    "Polygon": "Array(Ring)",
    "MultiPolygon": "Array(Polygon)",
}
_DECIMAL_BYTES = ((9, 4), (18, 8), (38, 16), (76, 32))
_ELEMENT_NAME = re.compile(r"(?:`(?:[^`\\]|\\.)*`|[A-Za-z_]\w*)\s+(?=\S)")


@lru_cache(maxsize=4096)
def _parse(type_name: str) -> tuple[str, tuple[str, ...]]:
    """A type's family and arguments, ``Map(String, Array(Int8))`` to ``("Map", ("String", "Array(Int8)"))``."""
    text = _ALIASES.get(type_name.strip(), type_name.strip())
    family, bracket, rest = text.partition("(")
    if not bracket:
        return family, ()
    inner, parts, depth, quote, start, at = rest[:-1], [], 0, "", 0, 0
    while at < len(inner):
        char = inner[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in "'`":
            quote = char
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "," and depth == 0:
            parts.append(inner[start:at].strip())
            start = at + 1
        at += 1
    parts.append(inner[start:].strip())
    return family, tuple(parts)


def _elements(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """A tuple's element types without their names."""
    return tuple(_ELEMENT_NAME.sub("", argument, count=1) for argument in arguments if argument)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _text(data: bytes, at: int) -> tuple[str, int]:
    size, at = _varint(data, at)
    return data[at : at + size].decode("utf-8", "replace"), at + size


def _u64(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<Q", data, at)[0])


def _unsupported(type_name: str) -> QueryError:
    return QueryError.of(
        NOT_IMPLEMENTED,
        f"Columns of type {type_name} cannot be sent to a client that announces a protocol version. "
        "Convert the column, for example with toString or finalizeAggregation, or ask for another FORMAT.",
    )


def _prefix_size(type_name: str) -> int:
    """Bytes of state that precede a column's data."""
    family, arguments = _parse(type_name)
    match family:
        case "LowCardinality":
            return 8
        case "Array" | "Nullable":
            return _prefix_size(arguments[0])
        case "SimpleAggregateFunction":
            return _prefix_size(arguments[1])
        case "Map":
            return sum(_prefix_size(argument) for argument in arguments)
        case "Tuple" | "Nested":
            return sum(_prefix_size(argument) for argument in _elements(arguments))
    return 0


def _skip(data: bytes, at: int, type_name: str, rows: int) -> int:
    """The position behind ``rows`` values of a type."""
    if rows == 0:
        return at
    family, arguments = _parse(type_name)
    size = _FIXED.get(family)
    if size is not None:
        return at + size * rows
    match family:
        case "String":
            for _ in range(rows):
                length = data[at]
                at += 1
                if length >= 0x80:
                    length, at = _varint(data, at - 1)
                at += length
            return at
        case "Nullable":
            return _skip(data, at + rows, arguments[0], rows)
        case "LowCardinality":
            return _skip_low_cardinality(data, at, arguments[0])
        case "Array":
            return _skip(data, at + 8 * rows, arguments[0], _u64(data, at + 8 * (rows - 1)))
        case "Map" | "Nested":
            total = _u64(data, at + 8 * (rows - 1))
            at += 8 * rows
            for argument in arguments if family == "Map" else _elements(arguments):
                at = _skip(data, at, argument, total)
            return at
        case "Tuple":
            for argument in _elements(arguments):
                at = _skip(data, at, argument, rows)
            return at if arguments and arguments[0] else at + rows
        case "FixedString":
            return at + int(arguments[0]) * rows
        case "Decimal":
            precision = int(arguments[0])
            return at + rows * next(width for limit, width in _DECIMAL_BYTES if precision <= limit)
        case "SimpleAggregateFunction":
            return _skip(data, at, arguments[1], rows)
    if family.startswith("Interval"):
        return at + 8 * rows
    raise _unsupported(type_name)


def _skip_low_cardinality(data: bytes, at: int, type_name: str) -> int:
    flags = _u64(data, at)
    at += 8
    family, arguments = _parse(type_name)
    if flags & 0x200:
        at = _skip(data, at + 8, arguments[0] if family == "Nullable" else type_name, _u64(data, at))
    return at + 8 + (1 << (flags & 0xFF)) * _u64(data, at)


def for_revision(data: bytes, revision: int) -> bytes:
    """Native data of whole blocks as a client of ``revision`` reads it; ``revision`` 0 leaves it as it is.

    Raises:
        QueryError: NOT_IMPLEMENTED for a column type whose length is not known here (AggregateFunction, Variant,
            Dynamic, JSON).
    """
    if revision == 0 or not data:
        return data
    out, at = [], 0
    while at < len(data):
        start = at
        columns, at = _varint(data, at)
        rows, at = _varint(data, at)
        out.append(BLOCK_INFO)
        for _ in range(columns):
            _, at = _text(data, at)
            type_name, at = _text(data, at)
            if revision >= CUSTOM_SERIALIZATION_REVISION:
                out.append(data[start:at])
                out.append(b"\x00")
                start = at
            if rows:
                at = _skip(data, at + _prefix_size(type_name), type_name, rows)
        out.append(data[start:at])
    return b"".join(out)
