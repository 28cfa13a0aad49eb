"""Whole batches of Confluent-framed Avro to Arrow in the reader's schema; what cannot be read is named row by row.

Records written with the reader's own schema decode in native code (pyruhvro). Its refusals, and strings that are not
UTF-8 (which it lets through), are found by halving the batch; fastavro then says what is wrong. Records of any other
writer schema are resolved to the reader's by fastavro (Avro 1.12, "Schema Resolution") and join the same batch.

Cutting the frame off each record would copy them all. Its five bytes are five ints of Avro as long as none has its
highest bit set (Avro 1.12, "Primitive Types"), so they are read as fields before those of the schema.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyruhvro
from fastavro.schema import to_parsing_canonical_form

from schemas.registry import RegisteredSchema, load_schema, schema_text, subject_of
from schemas.wire import MAGIC, PREFIX_BYTES, NotConfluentFramed, prefixes_of, unframe
from streams.refusal import Reason, Refusal

_CONTINUED = 0x80
"""A byte of an Avro int that another follows, and one of a text that is not ASCII."""


@dataclass(frozen=True)
class Decoded:
    """``table`` holds the readable rows in reader form; ``rows[i]`` is the row of the batch that line i came from."""

    table: pa.RecordBatch
    rows: np.ndarray
    schema_ids: np.ndarray
    refused: list[Refusal]


@dataclass(frozen=True)
class _Writer:
    """How to read one schema id: ``parsed`` is None where the text equals the reader's."""

    refusal: tuple[Reason, str] | None
    parsed: Any = None


class Decoder:
    """Decodes one family's batches. ``lookup`` answers a schema id from memory: None means that the registry knows
    no such id. Not thread-safe."""

    def __init__(self, family: str, lookup: Callable[[int], RegisteredSchema | None], max_bytes: int) -> None:
        self._family, self._lookup, self._max_bytes = family, lookup, max_bytes
        self._text = schema_text(family)
        schema = load_schema(family)
        frame = [{"name": f"frame_{number}", "type": "int"} for number in range(PREFIX_BYTES)]
        self._framed = json.dumps({**schema, "fields": [*frame, *schema["fields"]]})
        self._canonical = to_parsing_canonical_form(schema)
        self._reader = fastavro.parse_schema(schema)
        self._arrow = pyruhvro.avro_to_arrow_schema(self._text)
        self._writers: dict[int, _Writer] = {}

    @staticmethod
    def schema_ids(prefixes: Collection[bytes]) -> set[int]:
        """Schema ids that values with these prefixes name, for the caller to have at hand before :meth:`decode`."""
        return {int.from_bytes(each[1:], "big") for each in prefixes if len(each) == PREFIX_BYTES and each[0] == MAGIC}

    def decode(self, values: Sequence[bytes | None], prefixes: Collection[bytes] | None = None) -> Decoded:
        """Decode record values in order; ``prefixes`` are what ``prefixes_of`` says of them, where that is known. Never
        raises for bad input: each bad row becomes a :class:`Refusal`."""
        refused: list[Refusal] = []
        if prefixes is None:
            prefixes = prefixes_of(values)
        bodies: Sequence[bytes]
        text = self._text
        prefix = self._own_prefix(values, prefixes)
        if prefix is not None:
            rows, ids = np.arange(len(values)), np.full(len(values), _schema_id(prefix), dtype=np.uint32)
            if max(prefix) < _CONTINUED:
                bodies, text = values, self._framed  # type: ignore[assignment]
            else:
                bodies = [value[PREFIX_BYTES:] for value in values]  # type: ignore[index]
        else:
            bodies, found = [], []
            for index, value in enumerate(values):
                read = self._resolve(index, value)
                if isinstance(read, Refusal):
                    refused.append(read)
                else:
                    found.append((index, read[0]))
                    bodies.append(read[1])
            rows = np.array([index for index, _ in found], dtype=np.int64)
            ids = np.array([schema_id for _, schema_id in found], dtype=np.uint32)
        batches: list[pa.RecordBatch] = []
        kept: list[range] = []
        self._decode(bodies, text, 0, batches, kept, refused, rows, ids)
        chosen = np.concatenate([np.arange(each.start, each.stop) for each in kept] or [np.arange(0)])
        return Decoded(
            _joined(batches, self._arrow), rows[chosen], ids[chosen], sorted(refused, key=lambda each: each.index)
        )

    def _own_prefix(self, values: Sequence[bytes | None], prefixes: Collection[bytes]) -> bytes | None:
        """What all records begin with if it names the reader's own schema and none is too large: the usual case."""
        if len(prefixes) != 1 or not all(values):
            return None
        (prefix,) = prefixes
        if len(prefix) < PREFIX_BYTES or prefix[0] != MAGIC or self._writer(_schema_id(prefix)) != _Writer(None):
            return None
        return prefix if max(map(len, values)) <= self._max_bytes else None  # type: ignore[arg-type]

    def _writer(self, schema_id: int) -> _Writer:
        known = self._writers.get(schema_id)
        if known is not None:
            return known
        registered = self._lookup(schema_id)
        if registered is None:
            # Not kept: the id may be registered a moment later.
            return _Writer(
                (Reason.UNKNOWN_SCHEMA_ID, f"schema id {schema_id} is not in the registry: register it first")
            )
        writer = self._make_writer(registered)
        self._writers[schema_id] = writer
        return writer

    def _make_writer(self, registered: RegisteredSchema) -> _Writer:
        expected = subject_of(self._family)
        if expected not in registered.subjects:
            found = ", ".join(registered.subjects) or "no subject"
            return _Writer(
                (
                    Reason.SCHEMA_MISMATCH,
                    f"schema id {registered.schema_id} belongs to {found}, this topic takes {expected}: "
                    "publish to the topic of the event's family",
                )
            )
        schema = json.loads(registered.text)
        if registered.text == self._text:
            return _Writer(None)
        parsed = fastavro.parse_schema(schema)
        if to_parsing_canonical_form(schema) == self._canonical:
            return _Writer(None)
        return _Writer(None, parsed)

    def _resolve(self, index: int, value: bytes | None) -> Refusal | tuple[int, bytes]:
        """The body in reader form of a record that is not plainly the reader's own, or why there is none."""
        size = len(value or b"")
        if size > self._max_bytes:
            message = f"record of {size:,} bytes, at most {self._max_bytes:,} are accepted: send a reference instead"
            return Refusal(index, Reason.OVERSIZE, message)
        try:
            schema_id, body = unframe(value)
        except NotConfluentFramed as error:
            return Refusal(index, Reason.NOT_CONFLUENT_FRAMED, str(error))
        writer = self._writer(schema_id)
        if writer.refusal is not None:
            return Refusal(index, writer.refusal[0], writer.refusal[1], schema_id=schema_id)
        if writer.parsed is None:
            return schema_id, body
        try:
            record = fastavro.schemaless_reader(io.BytesIO(body), writer.parsed, self._reader)
            out = io.BytesIO()
            fastavro.schemaless_writer(out, self._reader, record)
        except Exception as error:  # fastavro raises a dozen types on bad bytes, none of them its own
            return Refusal(index, Reason.UNDECODABLE, _readable(error, schema_id), schema_id=schema_id)
        return schema_id, out.getvalue()

    def _decode(
        self,
        bodies: Sequence[bytes],
        text: str,
        start: int,
        batches: list[pa.RecordBatch],
        kept: list[range],
        refused: list[Refusal],
        rows: np.ndarray,
        ids: np.ndarray,
    ) -> None:
        """Decode ``bodies``, which begin at position ``start`` of all; halve them where the decoder refuses."""
        if not bodies:
            return
        try:
            # The threaded variants copy each body to hand it over: that is dearer than the decoding itself.
            decoded = pyruhvro.deserialize_array(bodies, text)
            for column in decoded.columns:
                _require_utf8(column)
        except (ValueError, pa.ArrowInvalid) as error:
            if len(bodies) == 1:
                body = bodies[0][PREFIX_BYTES:] if text is self._framed else bodies[0]
                refused.append(self._diagnose(body, int(rows[start]), int(ids[start]), error))
                return
            middle = len(bodies) // 2
            self._decode(bodies[:middle], text, start, batches, kept, refused, rows, ids)
            self._decode(bodies[middle:], text, start + middle, batches, kept, refused, rows, ids)
            return
        batches.append(decoded.select(self._arrow.names))
        kept.append(range(start, start + len(bodies)))

    def _diagnose(self, body: bytes, index: int, schema_id: int, error: Exception) -> Refusal:
        try:
            fastavro.schemaless_reader(io.BytesIO(body), self._reader)
        except Exception as found:  # as in _resolve: any type may come
            return Refusal(index, Reason.UNDECODABLE, _readable(found, schema_id), schema_id=schema_id)
        return Refusal(index, Reason.UNDECODABLE, _readable(error, schema_id), schema_id=schema_id)


def _require_utf8(array: pa.Array) -> None:
    """Raises pyarrow.ArrowInvalid where a text of the array, at any depth, is not UTF-8."""
    for texts in _texts_in(array):
        data = texts.buffers()[2]
        # Nearly always all is ASCII, and one look at the bytes is all it takes.
        if data is not None and data.size and np.frombuffer(data, np.uint8).max() >= _CONTINUED:
            texts.validate(full=True)


def _texts_in(array: pa.Array) -> Iterator[pa.Array]:
    kind = array.type
    if pa.types.is_string(kind):
        yield array
    elif pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from _texts_in(array.field(number))
    elif pa.types.is_list(kind):
        yield from _texts_in(array.values)
    elif not pa.types.is_primitive(kind):
        array.validate(full=True)


def _schema_id(framed: bytes | None) -> int:
    return int.from_bytes((framed or b"")[1:PREFIX_BYTES], "big")


def _readable(error: Exception, schema_id: int) -> str:
    detail = "the record ends too early" if isinstance(error, EOFError) else str(error) or type(error).__name__
    return f"body does not decode with schema id {schema_id}: {detail[:300]}"


def _joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=schema)
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
