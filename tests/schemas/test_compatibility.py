"""FULL_TRANSITIVE: our verdict equals what an Avro reader does, and every incompatible field is named."""

from __future__ import annotations

import copy
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from deploy.schemas_cli import app
from schemas.compatibility import compare
from schemas.contract_check import check_released, released_versions
from schemas.registry import AVRO_DIR, FAMILIES, load_schema

# --- law: compatible exactly when each side reads everything that the other can write ---

PRIMITIVES: dict[str, list[Any]] = {
    "boolean": [True],
    "int": [7],
    "long": [2**40],
    "float": [0.5],
    "double": [0.25],
    "string": ["text"],
}
DEFAULTS = {"boolean": False, "int": 1, "long": 1, "float": 1.0, "double": 1.0, "string": "x"}


def samples(schema: Any) -> list[Any]:
    """Values that use every branch and symbol of a schema."""
    if isinstance(schema, list):
        return [value for branch in schema for value in samples(branch)]
    if schema == "null":
        return [None]
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    if schema["type"] == "enum":
        return list(schema["symbols"])
    if schema["type"] == "array":
        return [samples(schema["items"])]
    columns = {field["name"]: samples(field["type"]) for field in schema["fields"]}
    rows = max((len(values) for values in columns.values()), default=1)
    return [{name: values[row % len(values)] for name, values in columns.items()} for row in range(rows)]


def reads(writer: dict[str, Any], reader: dict[str, Any]) -> bool:
    parsed_writer = fastavro.parse_schema(copy.deepcopy(writer))
    parsed_reader = fastavro.parse_schema(copy.deepcopy(reader))
    for record in samples(writer):
        body = io.BytesIO()
        fastavro.schemaless_writer(body, parsed_writer, record)
        body.seek(0)
        try:
            fastavro.schemaless_reader(body, parsed_writer, parsed_reader)
        except Exception:
            return False
    return True


primitives = st.sampled_from(sorted(PRIMITIVES))


@st.composite
def enums(draw: st.DrawFn, name: str) -> dict[str, Any]:
    symbols = draw(st.lists(st.sampled_from(["A", "B", "C", "D"]), min_size=1, max_size=4, unique=True))
    enum: dict[str, Any] = {"type": "enum", "name": f"E_{name}", "symbols": symbols}
    if draw(st.booleans()):
        enum["default"] = symbols[0]
    return enum


@st.composite
def types(draw: st.DrawFn, name: str, depth: int = 2) -> Any:
    kinds = ["primitive", "enum", "optional", "array", "record"] if depth else ["primitive", "enum"]
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        return draw(primitives)
    if kind == "enum":
        return draw(enums(name))
    if kind == "optional":
        return ["null", draw(types(name, 0))]
    if kind == "array":
        return {"type": "array", "items": draw(types(name, 0))}
    return draw(record_types(f"R_{name}", depth - 1))


@st.composite
def record_types(draw: st.DrawFn, name: str, depth: int = 2) -> dict[str, Any]:
    fields = []
    for field in draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True)):
        kind = draw(types(f"{name}_{field}", depth))
        entry = {"name": field, "type": kind}
        if draw(st.booleans()):
            if isinstance(kind, str):
                entry["default"] = DEFAULTS[kind]
            elif isinstance(kind, list):
                entry["default"] = None
        fields.append(entry)
    return {"type": "record", "name": name, "fields": fields}


@st.composite
def evolutions(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two records of one name: the second shares some fields of the first as they are, some changed."""
    old, other = draw(record_types("Event")), draw(record_types("Event"))
    kept = {field["name"]: field for field in old["fields"] if draw(st.booleans())}
    fields = [kept.pop(field["name"], field) for field in other["fields"]]
    return old, {**other, "fields": [*fields, *kept.values()]}


def record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "Event", "fields": list(fields)}


@settings(max_examples=500, deadline=None)
@given(evolutions())
@example((record({"name": "a", "type": "int"}), record({"name": "a", "type": "long"})))
@example((record({"name": "a", "type": ["null", "int"]}), record({"name": "a", "type": "int"})))
@example((record({"name": "a", "type": "int"}), record({"name": "a", "type": ["null", "int"]})))
def test_verdict_equals_what_fastavro_reads(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    old, new = pair
    found = compare(old, new)
    assert reads(old, new) == (not [p for p in found if "new readers, old events" in p.breaks]), found
    assert reads(new, old) == (not [p for p in found if "old readers, new events" in p.breaks]), found


# --- each kind of change by name, in a real contract ---

Change = Callable[[dict[str, Any]], object]


def header(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(field for field in schema["fields"][0]["type"]["fields"] if field["name"] == name)


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(field for field in schema["fields"] if field["name"] == name)


def add(**new: Any) -> Change:
    return lambda schema: schema["fields"].append({"name": "extra", "doc": "New.", **new})


def symbol_removed_without_enum_default(schema: dict[str, Any]) -> None:
    enum = field(schema, "violence_type")["type"]
    del enum["default"]
    enum["symbols"].remove("ONE_SIDED")


BOTH = ("new readers, old events", "old readers, new events")
CASES: list[tuple[str, Change, list[tuple[str, str, tuple[str, ...]]]]] = [
    ("nothing", dict.copy, []),
    ("documentation", lambda s: s.update(doc="Other words."), []),
    ("field with default", add(type=["null", "string"], default=None), []),
    ("field without default", add(type="string"), [("extra", "added_without_default", BOTH[:1])]),
    ("optional field removed", lambda s: s["fields"].remove(field(s, "target")), []),
    (
        "required field removed",
        lambda s: s["fields"].remove(field(s, "incident_type")),
        [("incident_type", "removed_without_default", BOTH[1:])],
    ),
    (
        "type changed",
        lambda s: field(s, "incident_type").update(type="int"),
        [("incident_type", "type_changed", BOTH)],
    ),
    (
        "widened",
        lambda s: header(s, "confidence").update(type="long"),
        [("header.confidence", "type_changed", BOTH[1:])],
    ),
    (
        "logical type",
        lambda s: header(s, "occurred_at")["type"].update(logicalType="timestamp-millis"),
        [("header.occurred_at", "logical_type_changed", BOTH)],
    ),
    (
        "made optional",
        lambda s: field(s, "incident_type").update(type=["null", "string"]),
        [("incident_type", "type_changed", BOTH[1:])],
    ),
    (
        "null taken away",
        lambda s: field(s, "target").update(type=["string"]),
        [("target", "union_branch_removed", BOTH[:1])],
    ),
    (
        "symbol removed from an enum with default",
        lambda s: header(s, "handling")["type"]["fields"][0]["type"]["symbols"].remove("GREEN"),
        [],
    ),
    (
        "enum default taken away and symbol removed",
        symbol_removed_without_enum_default,
        [("violence_type", "enum_symbol_removed", BOTH[:1])],
    ),
    (
        "record renamed",
        lambda s: header(s, "handling")["type"].update(name="Rules"),
        [("header.handling", "name_changed", BOTH)],
    ),
    (
        "array of something else",
        lambda s: header(s, "handling")["type"]["fields"][1]["type"].update(items="int"),
        [("header.handling.releasable_to[]", "type_changed", BOTH)],
    ),
    (
        "inside an optional record",
        lambda s: header(s, "location")["type"][1]["fields"].append({"name": "floor", "type": "int"}),
        [("header.location.floor", "added_without_default", BOTH[:1])],
    ),
]


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_change_is_named(change: Change, expected: list[tuple[str, str, tuple[str, ...]]]) -> None:
    old, new = load_schema("incident_report"), load_schema("incident_report")
    change(new)
    found = [(problem.field, problem.code, problem.breaks) for problem in compare(old, new)]
    assert found == expected


def test_renamed_field_with_alias_reads_old_events_only() -> None:
    old = record({"name": "a", "type": "int"})
    new = record({"name": "b", "aliases": ["a"], "type": "int"})
    assert [(p.field, p.code) for p in compare(old, new)] == [("a", "removed_without_default")]


def test_recursive_types_end() -> None:
    tree = record({"name": "next", "type": ["null", "Event"]})
    assert compare(tree, copy.deepcopy(tree)) == []


# --- the committed releases and the command ---


def test_working_tree_is_compatible_with_every_release() -> None:
    assert released_versions()[0] == 1
    results = check_released()
    assert len(results) == len(FAMILIES) * len(released_versions())
    assert [result for result in results if not result.compatible] == []


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    shutil.copytree(AVRO_DIR, tmp_path / "avro", ignore=shutil.ignore_patterns("released"))
    path = tmp_path / "avro" / "heartbeat.avsc"
    schema = json.loads(path.read_text())
    schema["fields"].append({"name": "mood", "type": "string", "doc": "No default."})
    path.write_text(json.dumps(schema))
    return tmp_path / "avro"


def test_check_names_the_field_and_exits_1(broken: Path) -> None:
    result = CliRunner().invoke(app, ["check", "--offline", "--folder", str(broken)])
    assert result.exit_code == 1
    assert "incompatible heartbeat against release 1" in result.output
    assert "mood: added without a default; give it one (breaks new readers, old events)" in result.output


def test_check_json(broken: Path) -> None:
    result = CliRunner().invoke(app, ["check", "--offline", "--json", "--folder", str(broken)])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["compatible"] is False
    bad = [entry for entry in report["comparisons"] if not entry["compatible"]]
    assert [(entry["family"], entry["incompatibilities"][0]["field"]) for entry in bad] == [("heartbeat", "mood")]


def test_check_without_registry_says_so_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_REGISTRY_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 0
    assert "registry not checked" in result.output


def test_export_writes_contracts_that_stand_alone(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(tmp_path / "out")])
    assert result.exit_code == 0
    for family in FAMILIES:
        exported = json.loads((tmp_path / "out" / f"{family}.avsc").read_text())
        assert exported == load_schema(family)
        fastavro.parse_schema(exported)
