"""Whole batches decode as fastavro would decode each record, and bad records are named one by one."""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.demo.world import background
from schemas.registry import RegisteredSchema, load_schema, schema_text, subject_of
from schemas.wire import encode, frame, prefixes_of
from streams.decode import Decoder
from streams.refusal import Reason

FAMILY = "financial_transaction"
OWN, OLDER, OTHER, UNKNOWN, HIGH = 7, 8, 9, 10, 0x01C3
LIMIT = 1 << 20


def older_schema() -> dict[str, Any]:
    """A writer that does not know ``purpose_text`` yet and still has a field that is gone."""
    schema = load_schema(FAMILY)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "purpose_text"]
    schema["fields"].append({"name": "branch", "type": ["null", "string"], "default": None})
    return schema


REGISTERED = {
    HIGH: RegisteredSchema(HIGH, schema_text(FAMILY), (subject_of(FAMILY),)),
    OWN: RegisteredSchema(OWN, schema_text(FAMILY), (subject_of(FAMILY),)),
    OLDER: RegisteredSchema(OLDER, json.dumps(older_schema()), (subject_of(FAMILY),)),
    OTHER: RegisteredSchema(OTHER, schema_text("tip_report"), (subject_of("tip_report"),)),
}
PARSED = fastavro.parse_schema(load_schema(FAMILY))
EVENTS = [event for _, event in itertools.islice(background("fiu-nl", [FAMILY], 5), 40)]
VALUES = [encode(OWN, PARSED, event) for event in EVENTS]


def decoder() -> Decoder:
    return Decoder(FAMILY, REGISTERED.get, LIMIT)


def ids(decoded: Any) -> list[str]:
    return decoded.table.column(0).field("event_id").to_pylist()  # type: ignore[no-any-return]


def test_a_clean_batch_keeps_every_row_in_order() -> None:
    decoded = decoder().decode(VALUES)
    assert decoded.rows.tolist() == list(range(len(VALUES)))
    assert ids(decoded) == [event["header"]["event_id"] for event in EVENTS]
    assert not decoded.refused
    first = decoded.table.slice(0, 1).to_pylist()[0]
    expected: Any = fastavro.schemaless_reader(io.BytesIO(VALUES[0][5:]), PARSED)
    assert first["amount_minor"] == expected["amount_minor"]
    assert first["header"]["entities"] == expected["header"]["entities"]


def test_every_schema_id_reads_alike() -> None:
    # A byte of it with the highest bit set is no Avro int by itself.
    high = [frame(HIGH, value[5:]) for value in VALUES]
    assert decoder().decode(high).table.equals(decoder().decode(VALUES).table)
    assert set(decoder().decode(high).schema_ids.tolist()) == {HIGH}


@pytest.mark.parametrize("place", ["purpose_text", "partner", "value"])
def test_text_that_is_not_utf_8_is_refused_wherever_it_stands(place: str) -> None:
    event = {**EVENTS[3], "purpose_text": "fffff"}
    text = {"purpose_text": "fffff", "partner": "fiu-nl", "value": event["header"]["entities"][0]["value"]}[place]
    value = encode(OWN, PARSED, event)
    bad = value.replace(text.encode(), b"\xff" * len(text.encode()), 1)
    assert bad != value
    decoded = decoder().decode([value, bad, value])
    (refusal,) = decoded.refused
    assert (refusal.index, refusal.reason) == (1, Reason.UNDECODABLE)
    good = value.replace(text.encode(), ("\u00e9" * len(text)).encode()[: len(text.encode())], 1)
    assert (len(text) % 2 == 1) == bool(decoder().decode([good]).refused)


def test_writer_schemas_mix_within_a_batch() -> None:
    older = fastavro.parse_schema(older_schema())
    mixed = [
        encode(OLDER, older, event) if n % 2 else value
        for n, (event, value) in enumerate(zip(EVENTS, VALUES, strict=True))
    ]
    decoded = decoder().decode(mixed)
    assert sorted(decoded.rows.tolist()) == list(range(len(mixed)))
    assert dict(zip(decoded.rows.tolist(), ids(decoded), strict=True)) == {
        n: event["header"]["event_id"] for n, event in enumerate(EVENTS)
    }
    by_row = dict(zip(decoded.rows.tolist(), decoded.schema_ids.tolist(), strict=True))
    assert by_row == {n: OLDER if n % 2 else OWN for n in range(len(mixed))}
    purposes = dict(zip(decoded.rows.tolist(), decoded.table.column("purpose_text").to_pylist(), strict=True))
    assert all(purposes[n] is None for n in range(1, len(mixed), 2))


@pytest.mark.parametrize(
    ("value", "reason", "part"),
    [
        (None, Reason.NOT_CONFLUENT_FRAMED, "no value"),
        (b"", Reason.NOT_CONFLUENT_FRAMED, "0 bytes"),
        (b'{"json": 1}', Reason.NOT_CONFLUENT_FRAMED, "JSON"),
        (b"\x01" + VALUES[0][1:], Reason.NOT_CONFLUENT_FRAMED, "0x01"),
        (frame(UNKNOWN, VALUES[0][5:]), Reason.UNKNOWN_SCHEMA_ID, "10"),
        (frame(OTHER, VALUES[0][5:]), Reason.SCHEMA_MISMATCH, "tip_report"),
        (VALUES[0][:40], Reason.UNDECODABLE, "too early"),
        (VALUES[0].replace(b"fiu-nl", b"fiu-\xff\xfe"), Reason.UNDECODABLE, "utf-8"),
        (frame(OWN, b"\0" * (LIMIT + 1)), Reason.OVERSIZE, "1,048,576"),
        (frame(OLDER, VALUES[0][5:25]), Reason.UNDECODABLE, "8"),
    ],
    # The bytes hold an id that is another in each process, and processes that share the tests name them alike.
    ids=lambda each: "bytes" if isinstance(each, bytes) else None,
)
def test_a_bad_record_is_named_and_its_neighbours_pass(value: bytes | None, reason: Reason, part: str) -> None:
    batch: list[bytes | None] = [*VALUES]
    batch[17] = value
    decoded = decoder().decode(batch)
    (refusal,) = decoded.refused
    assert (refusal.index, refusal.reason) == (17, reason)
    assert part in refusal.message
    assert decoded.rows.tolist() == [n for n in range(len(batch)) if n != 17]


def test_an_id_registered_later_is_accepted_later() -> None:
    known = dict(REGISTERED)
    late = known.pop(OWN)
    chosen = Decoder(FAMILY, known.get, LIMIT)
    assert len(chosen.decode(VALUES).refused) == len(VALUES)
    known[OWN] = late
    assert not chosen.decode(VALUES).refused


def test_schema_ids_of_a_batch_are_listed_for_fetching() -> None:
    values = [*VALUES, None, b"", b"\0\0", b"x", frame(UNKNOWN, b"")]
    assert Decoder.schema_ids(prefixes_of(values)) == {OWN, UNKNOWN}


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A body with a byte changed, cut off, or spliced in."""
    body = bytearray(draw(st.sampled_from(VALUES))[5:])
    match draw(st.sampled_from(("flip", "cut", "insert"))):
        case "flip":
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
        case "cut":
            del body[draw(st.integers(0, len(body) - 1)) :]
        case _:
            at = draw(st.integers(0, len(body)))
            body[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(body)


@given(st.lists(mutated(), min_size=1, max_size=6), st.sampled_from((OWN, HIGH)))
@settings(max_examples=400, deadline=None)
def test_damaged_records_never_raise_and_never_take_a_neighbour_along(bodies: list[bytes], schema_id: int) -> None:
    batch = [frame(schema_id, body) for body in (VALUES[0][5:], *bodies, VALUES[1][5:])]
    decoded = decoder().decode(batch)
    refused = {each.index for each in decoded.refused}
    assert refused | set(decoded.rows.tolist()) == set(range(len(batch)))
    assert refused.isdisjoint(decoded.rows.tolist())
    assert {0, len(batch) - 1} <= set(decoded.rows.tolist())
    partners = decoded.table.column(0).field("partner").to_pylist()
    amounts = decoded.table.column("amount_minor").to_pylist()
    for row, event_id, partner, amount in zip(decoded.rows.tolist(), ids(decoded), partners, amounts, strict=True):
        # What is accepted says what fastavro would have read.
        read = _fastavro(batch[row][5:])
        if read is not None:
            assert (event_id, partner) == (read["header"]["event_id"], read["header"]["partner"])
            assert amount == read["amount_minor"]


def _fastavro(body: bytes) -> Any:
    try:
        return fastavro.schemaless_reader(io.BytesIO(body), PARSED)
    except Exception:  # a damaged record may raise anything
        return None
