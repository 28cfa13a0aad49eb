"""``tocsin quarantine replay`` over the real broker, once the cause is mended."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import fastavro
import yaml
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from schemas.registry import load_schema, subject_of
from schemas.wire import encode
from streams.registry_cache import UNKNOWN_FOR_S
from tests.integration.events import encoded, event
from tests.integration.test_publish import tocsin
from tests.stack import Outgoing, Stack

TOPIC = "events.tip_report.v1"
EACH = 40


def held(stack: Stack, partner: str, reason: str) -> int:
    found = stack.rows(
        "SELECT count() FROM quarantine FINAL WHERE partner = {p:String} AND reason = {r:String}", p=partner, r=reason
    )
    return int(found[0][0])


def test_events_of_a_partner_who_joins_later(stack: Stack) -> None:
    name, source = f"tips-{uuid4().hex[:6]}", f"joins-{uuid4().hex[:8]}"
    tip = stack.schema_ids["tip_report"]
    events = [event(source, partner=name) for _ in range(EACH)]
    stack.produce_all([Outgoing(TOPIC, encoded(tip, each)) for each in events])
    stack.wait_until(lambda: held(stack, name, "partner_unknown") == EACH, 30, "all in quarantine")

    listed = tocsin(stack, "quarantine", "list", "--partner", name)
    assert (listed["total"], listed["by_reason"]) == (EACH, {"partner_unknown": EACH})
    early = tocsin(stack, "quarantine", "replay", "--partner", name)
    assert early["sent"] == EACH
    stack.wait_until(lambda: held(stack, name, "partner_unknown") == 2 * EACH, 30, "refused again at new positions")
    assert stack.stored(source) == 0

    file = stack.settings.partners_file
    partners = yaml.safe_load(file.read_text())
    joined = {**next(each for each in partners if each["id"] == "tipline-uk"), "id": name, "name": name}
    joined["kafka_principal"] = f"User:{name}"
    file.write_text(yaml.safe_dump([*partners, joined]))
    worker = stack.part("ingest-0")
    worker.stop()
    worker.start(60)

    assert tocsin(stack, "quarantine", "replay", "--partner", name, "--dry-run")["sent"] == 0
    replayed = tocsin(stack, "quarantine", "replay", "--partner", name)
    assert (replayed["found"], replayed["sent"], replayed["error"]) == (2 * EACH, 2 * EACH, None)
    stack.wait_until(lambda: stack.stored(source) == EACH, 30, "each event stored once")
    ids = stack.rows("SELECT event_id FROM events FINAL WHERE source_system = {s:String}", s=source)
    assert {row[0] for row in ids} == {each["header"]["event_id"] for each in events}
    assert held(stack, name, "partner_unknown") == 2 * EACH


def test_events_of_a_schema_that_is_registered_later(stack: Stack) -> None:
    source = f"schema-{uuid4().hex[:8]}"
    client = SchemaRegistryClient({"url": stack.settings.registry_url})

    def register(subject: str, contract: dict[str, Any]) -> int:
        return int(client.register_schema(subject, Schema(json.dumps(contract), "AVRO")))

    def filler() -> int:
        record = {"type": "record", "name": f"Filler{uuid4().hex[:8]}", "fields": []}
        return register(f"tests-{record['name']}-value", record)

    # Ids count up by one, so that the id of a schema not yet registered is known.
    coming = filler() + 1
    contract = load_schema("tip_report")
    contract["fields"].append({"name": f"extra_{uuid4().hex[:8]}", "type": ["null", "string"], "default": None})
    parsed = fastavro.parse_schema(contract)
    events = [event(source) for _ in range(EACH)]
    headers = {"partner": b"tipline-uk"}
    stack.produce_all([Outgoing(TOPIC, encode(coming, parsed, each), None, headers) for each in events])

    def waiting() -> int:
        found = stack.rows("SELECT count() FROM quarantine FINAL WHERE schema_id = {i:Int32}", i=coming)
        return int(found[0][0])

    stack.wait_until(lambda: waiting() == EACH, 30, "all in quarantine")
    assert register(subject_of("tip_report"), contract) == coming
    time.sleep(UNKNOWN_FOR_S + 0.5)  # before that the worker does not ask the registry for the id again
    replayed = tocsin(stack, "quarantine", "replay", "--reason", "unknown_schema_id", "--partner", "tipline-uk")
    assert replayed["sent"] >= EACH
    stack.wait_until(lambda: stack.stored(source) == EACH, 30, "each event stored once")
    assert waiting() == EACH
