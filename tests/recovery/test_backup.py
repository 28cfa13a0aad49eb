"""Backup, wipe, restore: the same events, alerts, actions and offsets; workers go on as if nothing had been."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from typer.testing import CliRunner

from deploy.backup.archive import CommittedOffset, read_manifest
from deploy.backup.topics import committed
from deploy.cli import app
from deploy.demo.scenarios import expected
from deploy.embedded.checks import admin
from deploy.loadgen import encode_scenarios, produce_encoded
from deploy.parts import worker_groups, worker_parts
from schemas.settings import Settings
from schemas.wire import encode
from tests.integration.alerting import POLICY
from tests.integration.commands import said, tocsin
from tests.integration.events import event
from tests.integration.receiver import Receiver, receiving
from tests.integration.test_schema_versions import newer
from tests.recovery.test_recovery import last_of_all
from tests.stack import Outgoing, Stack, running_stack

TOPIC = "events.tip_report.v1"
BEFORE, ACROSS = "before-the-backup", "across-the-backup"
OURS = "alert_id IN (SELECT alert_id FROM alerts WHERE kind != 'platform')"
HELD = {
    "events": "SELECT partner, event_id, topic, partition, offset, schema_id FROM events FINAL ORDER BY ALL",
    "alerts": "SELECT alert_id, version, status, created_at, evidence_total FROM alerts FINAL WHERE kind != 'platform' "
    "ORDER BY ALL",
    "evidence": "SELECT alert_id, event_id, topic, partition, offset FROM alert_evidence FINAL ORDER BY ALL",
    "states": f"SELECT alert_id, revision, state, priority, verdict FROM alert_states FINAL WHERE {OURS} ORDER BY ALL",
    "actions": f"SELECT action_id, alert_id, verb, by, accepted FROM alert_actions FINAL WHERE {OURS} ORDER BY ALL",
    "quarantine": "SELECT topic, partition, offset, reason, raw FROM quarantine FINAL ORDER BY ALL",
    "rollup": "SELECT partner, family, uniqMerge(events), uniqIfMerge(late), max(last_event) FROM feed_minutes "
    "GROUP BY ALL ORDER BY ALL",
    "notifications": "SELECT notification_id, attempt, person, outcome FROM notifications FINAL "
    "WHERE hasAny(alert_ids, (SELECT groupArray(alert_id) FROM alerts WHERE kind != 'platform')) ORDER BY ALL",
}


def held(stack: Stack) -> dict[str, list[Any]]:
    return {name: stack.rows(sql) for name, sql in HELD.items()}


def offsets(settings: Settings) -> set[CommittedOffset]:
    return set(committed(settings, dict(worker_groups(settings).values())))


def messages(receiver: Receiver, alert_ids: set[str]) -> list[tuple[str, str]]:
    return sorted((each.key, each.kind) for each in receiver.got if each.alert_ids & alert_ids)


def quiet(stack: Stack) -> dict[str, list[Any]]:
    """What is held once nothing has changed for two seconds and everything has been read."""
    stack.wait_ingested()
    stack.wait_until(lambda: stack.signals_lag() < 20, 60, "every signal correlated")
    last: list[Any] = [None, 0]

    def same() -> bool:
        now = held(stack)
        last[:] = [now, last[1] + 1 if now == last[0] else 0]
        return bool(last[1] >= 10)

    stack.wait_until(same, 60, "nothing changes any more")
    return dict(last[0])


def used(stack: Stack, until: dt.datetime) -> set[str]:
    """Have everything on the platform that a backup must bring back; the ids of its alerts."""
    registry = SchemaRegistryClient({"url": stack.settings.registry_url})
    registry.register_schema("gone-value", Schema(json.dumps({"type": "record", "name": "Gone", "fields": []}), "AVRO"))
    for permanent in (False, True):
        registry.delete_subject("gone-value", permanent=permanent)
    later = registry.register_schema(f"{TOPIC}-value", Schema(json.dumps(newer()), "AVRO"))
    assert later > max(stack.schema_ids.values()) + 1, "an id that no subject has lies before it"
    produce_encoded(stack.settings, encode_scenarios(BEFORE, stack.schema_ids, until))
    produce_encoded(stack.settings, encode_scenarios(ACROSS, stack.schema_ids, until)[::2])
    content = event("newer", text="In the contract of next month.")
    content["header"]["desk"] = "night"
    by_newer = encode(later, fastavro.parse_schema(newer()), {**content, "shift": None, "calls": 2})
    stack.produce_all([Outgoing(TOPIC, by_newer), Outgoing(TOPIC, b"no event", partition=0)])
    quiet(stack)
    # What is only half seen may be superseded when the rest comes.
    whole = [alert for alert in stack.alerts() if any(each.met_by(alert) for each in expected(BEFORE))]
    first, second, *_ = sorted(alert["alert_id"] for alert in whole)
    tocsin(stack, "alerts", "ack", first, "--by", "ana", "--for", "2h")
    tocsin(stack, "alerts", "close", second, "--verdict", "benign", "--why", "a film crew", "--by", "bo")
    assert said(stack, "accounts", "add", "mira", "--role", "watch_officer")[0] == 0
    # As retention would: the partition begins where its first records are gone.
    end = stack.ends(TOPIC)[0]
    asking = admin(stack.settings)
    for future in asking.delete_records([TopicPartition(TOPIC, 0, end - 1)]).values():
        future.result(30)
    return {alert["alert_id"] for alert in stack.alerts()}


def test_backup_wipe_restore(tmp_path: Path) -> None:
    data, copy, policy = tmp_path / "data", tmp_path / "backup", tmp_path / "oncall.yml"
    until = dt.datetime.now(dt.UTC)
    with receiving() as receiver:
        there = f"{{webhook: {{url: '{receiver.url('ana')}', secret: 'file:{tmp_path / 'secret'}'}}, outside: false}}"
        (tmp_path / "secret").write_text("not a real one")
        person = f"  - {{id: ana, name: Ana, time_zone: UTC, channels: [{there}]}}"
        policy.write_text(
            POLICY.format(
                people=person, names="ana", group_by="rule_id", group_wait="1s", group_interval="2s", channel=there
            )
        )
        with running_stack(data, oncall_file=policy) as stack:
            alert_ids = used(stack, until)
            before = quiet(stack)
            status, _, error = said(stack, "backup", str(copy))
            assert status == 0, error
            told, committed_before = messages(receiver, alert_ids), offsets(stack.settings)
            ends = stack.ends(TOPIC)
            assert said(stack, "restore", str(copy))[0] == 1, "workers are at work"
        assert told
        assert all(before.values()), {name: len(rows) for name, rows in before.items()}
        assert before["quarantine"]
        shutil.rmtree(data)

        restored = CliRunner().invoke(app, ["restore", str(copy), "--start", "--data-dir", str(data)])
        assert restored.exit_code == 0, restored.output
        manifest = read_manifest(copy)
        with running_stack(data, workers=False, oncall_file=policy) as stack:
            assert offsets(stack.settings) == set(manifest.offsets)
            assert {(o.group, o.topic, o.partition) for o in manifest.offsets} == {
                (o.group, o.topic, o.partition) for o in committed_before
            }
            assert stack.ends(TOPIC) == ends
            assert held(stack) == before
            assert "mira" in said(stack, "accounts", "list")[1]
            refused = said(stack, "restore", str(copy))
            assert refused[0] == 1
            assert "the platform is not empty: table " in refused[2]

            stack.platform.add_parts(worker_parts(stack.settings))
            assert quiet(stack) == before, "workers go on and nothing is made twice"
            assert messages(receiver, alert_ids) == told, "nobody is told again"
            produce_encoded(stack.settings, encode_scenarios(ACROSS, stack.schema_ids, until)[1::2])
            produce_encoded(stack.settings, last_of_all(stack.schema_ids, until))
            wanted = [*expected(BEFORE), *expected(ACROSS)]

            def missing() -> list[Any]:
                alerts = stack.alerts()
                return [each for each in wanted if not any(each.met_by(alert) for alert in alerts)]

            stack.wait_until(lambda: not missing(), 60, "situations that were half seen are completed")
            assert len(stack.alerts()) == len(wanted)
            reopened = tocsin(stack, "alerts", "reopen", next(row[0] for row in before["states"] if row[2] == "closed"))
            assert reopened["before"] == "closed"
