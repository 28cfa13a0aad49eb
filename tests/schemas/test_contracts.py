"""The .avsc files, the models and the two Avro decoders say the same."""

from __future__ import annotations

import io
import json
import typing
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import fastavro
import pyarrow as pa
import pyruhvro
import pytest
from event_strategies import records
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from schemas.events import MODELS, model_for, to_avro
from schemas.registry import AVRO_DIR, FAMILIES, UnknownFamily, family_of, load_schema, schema_text, topic_of
from schemas.wire import encode, unframe

# What the design rules out so that batches decode by column.
FORBIDDEN = ("uuid", "decimal", "bytes", "fixed", "map")


def test_every_file_is_a_family_or_the_header() -> None:
    assert {path.stem for path in AVRO_DIR.glob("*.avsc")} == {*FAMILIES, "header"}
    assert set(MODELS) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_schema_parses_and_uses_only_types_that_decode_by_column(family: str) -> None:
    text = schema_text(family)
    fastavro.parse_schema(json.loads(text))
    assert [word for word in FORBIDDEN if f'"{word}"' in text] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_every_record_enum_and_field_is_documented(family: str) -> None:
    undocumented: list[str] = []

    def walk(schema: Any, path: str) -> None:
        if isinstance(schema, list):
            for branch in schema:
                walk(branch, path)
        elif isinstance(schema, dict):
            if schema["type"] in ("record", "enum") and not schema.get("doc", "").strip():
                undocumented.append(path)
            for field in schema.get("fields", []):
                if not field.get("doc", "").strip():
                    undocumented.append(f"{path}.{field['name']}")
                walk(field["type"], f"{path}.{field['name']}")
            walk(schema.get("items"), f"{path}[]")

    walk(load_schema(family), family)
    assert undocumented == []


def agree(schema: dict[str, Any], model: type[BaseModel], path: str) -> None:
    """Fields, order, nullability, types, enums and defaults are the same."""
    assert [field["name"] for field in schema["fields"]] == list(model.model_fields), path
    for field in schema["fields"]:
        where = f"{path}.{field['name']}"
        mine = model.model_fields[field["name"]]
        kind, nullable = field["type"], isinstance(field["type"], list)
        python = mine.annotation
        assert nullable == (type(None) in typing.get_args(python)), where
        if nullable:
            assert kind[0] == "null", where
            kind = kind[1]
            python = next(arg for arg in typing.get_args(python) if arg is not type(None))
        agree_type(kind, python, where)
        if "default" in field:
            assert as_json(mine.get_default(call_default_factory=False)) == field["default"], where
            assert not mine.is_required(), where
        else:
            assert mine.default is PydanticUndefined, where
            assert mine.is_required(), where


def agree_type(kind: Any, python: Any, where: str) -> None:
    while typing.get_origin(python) is typing.Annotated:
        python = typing.get_args(python)[0]
    name = kind if isinstance(kind, str) else kind["type"]
    if name == "record":
        agree(kind, python, where)
    elif name == "array":
        assert typing.get_origin(python) is tuple, where
        agree_type(kind["items"], typing.get_args(python)[0], f"{where}[]")
    elif name == "enum":
        assert issubclass(python, StrEnum), where
        assert [member.value for member in python] == kind["symbols"], where
        assert kind["default"] in kind["symbols"], where
    else:
        logical = None if isinstance(kind, str) else kind.get("logicalType")
        expected = {"timestamp-micros": datetime, "date": date}.get(logical or "") or {
            "string": str,
            "boolean": bool,
            "int": int,
            "long": int,
            "double": float,
        }[name]
        assert python is expected, where


def as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("family", FAMILIES)
def test_avsc_and_model_agree(family: str) -> None:
    agree(load_schema(family), model_for(family), family)


def test_agreement_notices_a_difference() -> None:
    schema = load_schema("tip_report")
    schema["fields"][2]["default"] = "something"
    with pytest.raises(AssertionError, match=r"tip_report\.text"):
        agree(schema, model_for("tip_report"), "tip_report")


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_events_survive_model_fastavro_and_pyruhvro(family: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(records(family), min_size=1, max_size=4))
    schema = load_schema(family)
    parsed = fastavro.parse_schema(load_schema(family))
    bodies = []
    for record in batch:
        event = model_for(family).model_validate(record)
        schema_id, body = unframe(encode(7, parsed, to_avro(event)))
        assert schema_id == 7
        assert fastavro.schemaless_reader(io.BytesIO(body), parsed, None) == record
        assert model_for(family).model_validate_json(event.model_dump_json()) == event
        bodies.append(body)
    tables = pyruhvro.deserialize_array_threaded(bodies, json.dumps(schema), 1)
    rows = pa.Table.from_batches(tables).to_pylist()
    assert [_utc(row) for row in rows] == batch


def _utc(value: Any) -> Any:
    """Pyruhvro gives timestamps without a zone; Avro's are UTC."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    if isinstance(value, dict):
        return {key: _utc(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_utc(item) for item in value]
    return value


def test_model_defaults_equal_what_a_reader_fills_in() -> None:
    # A writer of the smallest contract against today's: Avro's defaults must give the model's defaults.
    small = load_schema("travel_booking")
    small["fields"] = [field for field in small["fields"] if "default" not in field]
    header = small["fields"][0]["type"]
    header["fields"] = [field for field in header["fields"] if "default" not in field]
    handling = next(field["type"] for field in header["fields"] if field["name"] == "handling")
    handling["fields"] = [field for field in handling["fields"] if "default" not in field]
    now = "2026-03-01T12:00:00Z"
    given_fields = {
        "header": {
            "event_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "occurred_at": now,
            "published_at": now,
            "partner": "rail-at",
            "handling": {"tlp": "GREEN"},
        },
        "kind": "TRAIN",
    }
    event = model_for("travel_booking").model_validate(given_fields)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(small), to_avro(event))
    reader = fastavro.parse_schema(load_schema("travel_booking"))
    read = fastavro.schemaless_reader(io.BytesIO(out.getvalue()), fastavro.parse_schema(small), reader)
    assert model_for("travel_booking").model_validate(read) == event


def test_topics_and_families_map_both_ways() -> None:
    assert [family_of(topic_of(family)) for family in FAMILIES] == list(FAMILIES)
    for topic in ("events.nope.v1", "events.tip_report.v2", "signals.v1", "tip_report"):
        with pytest.raises(UnknownFamily, match="expected one of"):
            family_of(topic)
    with pytest.raises(UnknownFamily, match="tip_report"):
        topic_of("tip")


def test_load_schema_gives_a_copy() -> None:
    load_schema("heartbeat")["fields"].clear()
    assert load_schema("heartbeat")["fields"]
