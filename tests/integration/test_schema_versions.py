"""Producers with an older and a newer version of a contract beside the present one, in the same topic."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from schemas.registry import load_schema, subject_of
from schemas.wire import encode
from tests.integration.events import encoded, event
from tests.stack import Outgoing, Stack

TOPIC = "events.tip_report.v1"
EACH = 200


def without(contract: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**contract, "fields": [field for field in contract["fields"] if field["name"] not in names]}


def older() -> dict[str, Any]:
    """The contract before it had a language and a topic."""
    return without(load_schema("tip_report"), "language", "topic")


def newer() -> dict[str, Any]:
    """The contract with two fields more, one in the header."""
    contract = load_schema("tip_report")
    contract["fields"].insert(2, {"name": "shift", "type": ["null", "string"], "default": None})
    contract["fields"].append({"name": "calls", "type": "int", "default": 1})
    contract["fields"][0]["type"]["fields"].append({"name": "desk", "type": "string", "default": ""})
    return contract


def register(stack: Stack, contract: dict[str, Any]) -> int:
    client = SchemaRegistryClient({"url": stack.settings.registry_url})
    return int(client.register_schema(subject_of("tip_report"), Schema(json.dumps(contract), "AVRO")))


def test_events_of_three_versions_are_all_stored(stack: Stack) -> None:
    source = f"versions-{uuid4().hex[:8]}"
    present = stack.schema_ids["tip_report"]
    old, new = register(stack, older()), register(stack, newer())
    assert len({old, new, present}) == 3
    by_id = {old: fastavro.parse_schema(older()), new: fastavro.parse_schema(newer())}
    sent: dict[str, tuple[int, str]] = {}
    records = []
    for number in range(EACH * 3):
        schema_id = (old, present, new)[number % 3]
        content = event(source, text=f"tip {number}")
        sent[content["header"]["event_id"]] = (schema_id, content["text"])
        if schema_id == present:
            value = encoded(present, {**content, "language": "de"})
        else:
            content["header"]["desk"] = "night"
            value = encode(schema_id, by_id[schema_id], {**content, "shift": "late", "calls": 3, "language": "de"})
        records.append(Outgoing(TOPIC, value, None, {}, number % 2))
    stack.produce_all(records)
    stack.wait_until(lambda: stack.stored(source) == len(records), 30, "events of all versions stored")
    rows = stack.rows(
        "SELECT event_id, schema_id, payload FROM events FINAL WHERE source_system = {s:String}", s=source
    )
    assert {row[0]: (row[1], json.loads(row[2])["text"]) for row in rows} == sent
    for _, schema_id, payload in rows:
        content = json.loads(payload)
        assert content["language"] == (None if schema_id == old else "de")
        assert "shift" not in content
        assert "calls" not in content


def test_the_registry_refuses_an_incompatible_version(stack: Stack) -> None:
    for broken in (without(load_schema("tip_report"), "text"), _with_new_obligation()):
        with pytest.raises(SchemaRegistryError) as refused:
            register(stack, broken)
        assert refused.value.http_status_code == 409


def _with_new_obligation() -> dict[str, Any]:
    contract = load_schema("tip_report")
    contract["fields"].append({"name": "must", "type": "string"})
    return contract
