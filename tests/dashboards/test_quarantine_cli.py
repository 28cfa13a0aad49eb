"""``tocsin quarantine`` over the real engine; what is sent again is caught by a recording sender."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dashboards.alerts import Store
from deploy import quarantine_cli
from deploy.quarantine_cli import Refused, batches, hexdump
from streams.outbox import DeliveryFailedError
from tests.dashboards.engine import EngineClient, iso

# Close to the clock: the table drops what is older than its 90 days.
NOW = datetime.now(UTC)
RAW = b"\x00\x00\x00\x00\x07broken \xff\xfe bytes"


@dataclass
class RecordingSender:
    fail_after: int = 1_000_000
    sent: list[tuple[str, bytes | None, int, dict[str, Any]]] = field(default_factory=list)

    def send(self, topic: str, value: bytes | None, *, partition: int = -1, headers: Any = None) -> None:
        self.sent.append((topic, value, partition, dict(headers or [])))

    async def delivered(self) -> None:
        if len(self.sent) > self.fail_after:
            raise DeliveryFailedError("1 records not delivered; first: broker away")


@pytest.fixture
def sender() -> RecordingSender:
    return RecordingSender()


@pytest.fixture
def run(store: Store, sender: RecordingSender, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(quarantine_cli, "open_store", lambda _data_dir: store)
    monkeypatch.setattr(quarantine_cli, "open_sender", lambda _settings: sender)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TOCSIN_REGISTRY_URL", "http://127.0.0.1:9/apis/ccompat/v7")

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(quarantine_cli.app, list(arguments))

    return call


def put(engine: EngineClient, offset: int, reason: str, partner: str = "bpol-de", raw: bytes = RAW) -> None:
    topic, family = "events.tip_report.v1", "tip_report"
    engine.query(
        "INSERT INTO quarantine (quarantined_at, kafka_at, partner, family, reason, field, message, topic, partition, "
        "offset, schema_id, size, raw) SELECT parseDateTime64BestEffort({at:String}, 3, 'UTC') AS at, at, "
        "{partner:String}, {family:String}, {reason:String}, 'header.occurred_at', {message:String}, {topic:String}, "
        "2, {offset:UInt64}, 7, length(raw), base64Decode({raw:String}) AS raw",
        {
            "at": iso(NOW),
            "partner": partner,
            "family": family,
            "reason": reason,
            "message": f"what was wrong with {offset}",
            "topic": topic,
            "offset": offset,
            "raw": base64.b64encode(raw).decode(),
        },
    )


def test_list_counts_by_reason_and_shows_the_newest(engine: EngineClient, run: Any) -> None:
    for offset in (1, 2, 3):
        put(engine, offset, "undecodable")
    put(engine, 3, "undecodable")
    put(engine, 4, "too_old", partner="fiu-nl")
    text = run("list").output
    assert "4 refused records" in text
    assert "what was wrong with 4" in text
    assert "events.tip_report.v1/2/4" in text
    body = json.loads(run("list", "--json", "--limit", "1").output)
    assert body["total"] == 4
    assert body["by_reason"] == {"undecodable": 3, "too_old": 1}
    assert [each["offset"] for each in body["records"]] == [4]
    assert json.loads(run("list", "--json", "--partner", "fiu-nl").output)["by_reason"] == {"too_old": 1}
    assert json.loads(run("list", "--json", "--reason", "undecodable").output)["total"] == 3
    assert "Nothing was refused" in run("list", "--reason", "oversize").output


def test_show_gives_reason_bytes_and_what_can_be_read(engine: EngineClient, run: Any) -> None:
    put(engine, 9, "undecodable")
    text = run("show", "events.tip_report.v1/2/9").output
    for shown in (
        "undecodable (field header.occurred_at)",
        "what was wrong with 9",
        "00 00 00 00 07 62 72 6f",
        "not decoded",
    ):
        assert shown in text
    body = json.loads(run("show", "events.tip_report.v1/2/9", "--json").output)
    assert base64.b64decode(body["raw_base64"]) == RAW
    assert body["schema_id"] == 7


def test_show_says_what_the_bytes_are_when_they_are_no_avro(engine: EngineClient, run: Any) -> None:
    put(engine, 9, "not_confluent_framed", raw=b'{"json": true}')
    assert "(JSON text)" in run("show", "events.tip_report.v1/2/9").output


def test_show_cuts_long_records_unless_asked(engine: EngineClient, run: Any) -> None:
    put(engine, 9, "oversize", raw=b"x" * 2000)
    assert "1488 more bytes" in run("show", "events.tip_report.v1/2/9").output
    assert "more bytes" not in run("show", "events.tip_report.v1/2/9", "--full").output


@pytest.mark.parametrize(("position", "code"), [("events.tip_report.v1/2/404", 1), ("nonsense", 2), ("a/b/c", 2)])
def test_show_of_a_wrong_position(run: Any, position: str, code: int) -> None:
    result = run("show", position)
    assert result.exit_code == code
    assert position in result.output


def test_replay_sends_the_bytes_unchanged_to_their_partition(
    engine: EngineClient, run: Any, sender: RecordingSender
) -> None:
    for offset in (3, 1, 2):
        put(engine, offset, "unknown_schema_id", raw=RAW + bytes([offset]))
    put(engine, 4, "too_old")
    result = run("replay", "--reason", "unknown_schema_id")
    assert result.exit_code == 0
    assert "3 of 3 records sent again: 3 unknown_schema_id." in result.output
    assert [value for _, value, _, _ in sender.sent] == [RAW + bytes([offset]) for offset in (1, 2, 3)]
    topic, _, partition, headers = sender.sent[0]
    assert (topic, partition) == ("events.tip_report.v1", 2)
    assert headers == {"tocsin-replay-of": b"events.tip_report.v1/2/1", "partner": b"bpol-de"}


def test_replay_dry_run_sends_nothing(engine: EngineClient, run: Any, sender: RecordingSender) -> None:
    put(engine, 1, "too_old")
    put(engine, 2, "too_old")
    assert "1 records would be sent: 1 too_old." in run("replay", "--dry-run", "--limit", "1").output
    body = json.loads(run("replay", "--dry-run", "--json", "--limit", "1").output)
    assert body == {"found": 1, "sent": 0, "by_reason": {"too_old": 1}, "left": 1, "dry_run": True, "error": None}
    assert sender.sent == []


def test_replay_reports_how_far_it_came(engine: EngineClient, run: Any, sender: RecordingSender) -> None:
    sender.fail_after = 0
    put(engine, 1, "too_old")
    result = run("replay")
    assert result.exit_code == 2
    assert "0 of 1 records sent again" in result.output
    assert "Stopped after 0 records" in result.stderr


def test_replay_of_nothing_is_fine(run: Any) -> None:
    assert "0 of 0 records sent again." in run("replay").output


def test_partners_words_are_neither_markup_nor_control_codes(engine: EngineClient, run: Any) -> None:
    put(engine, 1, "undecodable", partner="[red]\x1b]0;owned\x07[/nope]")
    for command in (("list",), ("show", "events.tip_report.v1/2/1")):
        result = run(*command)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert "[red]" in result.output


def test_batches_fit_in_memory_and_keep_the_order() -> None:
    sizes = [1, 20_000_000, 5_000_000, 5_000_000, 8_000_000, *([1] * 1200)]
    records = [Refused("t", 0, n, "r", "", "", "", "", "", -1, size, NOW, NOW) for n, size in enumerate(sizes)]
    found = list(batches(records))
    assert [record.offset for batch in found for record in batch] == list(range(len(sizes)))
    assert [len(batch) for batch in found] == [1, 1, 2, 500, 500, 201]


def test_hexdump() -> None:
    assert hexdump(b"") == "(no bytes)"
    assert hexdump(b"abcdefghijklmnopq\x00").splitlines() == [
        "00000000  61 62 63 64 65 66 67 68  69 6a 6b 6c 6d 6e 6f 70  abcdefghijklmnop",
        "00000010  71 00                                             q.",
    ]
