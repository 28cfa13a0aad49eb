"""A client with the real ClickHouse engine behind it, and sample alerts to put in."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.binding import bind_query
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.migrations import load_migrations

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
Json = dict[str, Any]
SAME_IN_ROW = (
    *("alert_id", "version", "status", "kind", "level", "exercise", "tlp", "confidence", "group", "story"),
    *("partners", "families", "countries", "places", "lat", "lon", "first_event_at", "last_event_at"),
    *("published_at", "created_at", "updated_at", "evidence_total"),
)


@dataclass
class Answer:
    column_names: list[str]
    column_types: list[str]
    result_rows: list[list[Any]] = field(default_factory=list)


class EngineClient:
    """Speaks like clickhouse-connect's client, down to its way of binding parameters."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("chdb_worker.py")), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def query(self, query: str, parameters: Json | None = None) -> Answer:
        sql, bound = bind_query(query, parameters)
        params = {name.removeprefix("param_"): value for name, value in bound.items()}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"sql": sql, "params": params}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise DatabaseError(answer["error"])
        meta = answer["meta"]
        return Answer([each["name"] for each in meta], [each["type"] for each in meta], answer["data"])

    def insert(self, table: str, rows: list[Json]) -> None:
        lines = "\n".join(json.dumps(row) for row in rows)
        self.query(
            f"INSERT INTO {table} SETTINGS date_time_input_format='best_effort', "
            f"input_format_skip_unknown_fields=0 FORMAT JSONEachRow\n{lines}"
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def apply_schema(client: EngineClient) -> None:
    client.query("CREATE DATABASE IF NOT EXISTS tocsin")
    client.query("USE tocsin")
    for migration in load_migrations():
        for statement in migration.statements:
            client.query(statement.text)


def iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def evidence(number: int, **changes: Any) -> Json:
    places = (
        ("bpol-de", "border_crossing", "DE", "Frankfurt (Oder)", 52.34, 14.55),
        ("rail-at", "travel_booking", "AT", "Wien Hauptbahnhof", 48.18, 16.38),
        ("hub-ke", "border_crossing", "KE", "Nairobi", -1.29, 36.82),
        ("tipline-uk", "tip_report", "GB", "London", 51.5, -0.12),
    )
    partner, family, country, place, lat, lon = places[number % len(places)]
    happened = NOW - timedelta(minutes=30 - 7 * number)
    item = {
        "event_id": f"0195500a-0000-7000-8000-{number:012d}",
        "partner": partner,
        "family": family,
        "occurred_at": iso(happened),
        "published_at": iso(happened + timedelta(milliseconds=900)),
        "ingested_at": iso(happened + timedelta(milliseconds=1240)),
        "tlp": "AMBER",
        "country": country,
        "place": place,
        "lat": lat,
        "lon": lon,
        "summary": f"Document X1234567 seen at {place}.",
        "rule_id": "b2a1",
        "rule_title": "A document is shown at a border",
        "matched": {"document_number": "X1234567", "direction": "entry"},
        "topic": f"events.{family}.v1",
        "partition": number % 4,
        "offset": 1000 + number,
        "exercise": True,
        "confidence": 80,
        "entities": [{"type": "document", "value": "X1234567", "role": "holder"}],
    }
    return item | changes


def alert(alert_id: str, **changes: Any) -> Json:
    items = changes.pop("evidence", [evidence(number) for number in range(4)])
    happened = sorted(item["occurred_at"] for item in items)
    raised = datetime.fromisoformat(max((item["ingested_at"] for item in items), default=iso(NOW))) + timedelta(
        seconds=1
    )
    record = {
        "alert_id": alert_id,
        "version": 1,
        "status": "open",
        "superseded_by": None,
        "supersedes": [],
        "rule": {
            "id": "c0ffee",
            "title": "One document at two distant borders",
            "version": "1f3a9c",
            "level": "high",
            "tags": ["attack.t1036"],
            "description": "The same document is shown at borders too far apart for the time between them.",
            "type": "value_count",
            "timespan_s": 7200,
            "condition": "value_count of location.country gte 2 within 7200 s",
        },
        "kind": "correlation",
        "level": "high",
        "exercise": True,
        "tlp": "AMBER",
        "confidence": 80,
        "group": {"document_number": "X1234567"},
        "story": "Document X1234567 was shown in Germany and in Kenya within 14 minutes.",
        "partners": sorted({item["partner"] for item in items}),
        "families": sorted({item["family"] for item in items}),
        "countries": sorted({item["country"] for item in items}),
        "places": [item["place"] for item in items],
        "lat": items[0]["lat"] if items else None,
        "lon": items[0]["lon"] if items else None,
        "first_event_at": happened[0] if happened else iso(NOW),
        "last_event_at": happened[-1] if happened else iso(NOW),
        "published_at": max((item["published_at"] for item in items), default=iso(NOW)),
        "created_at": iso(raised),
        "updated_at": iso(raised),
        "evidence_total": len(items),
        "evidence": items,
        "explain": {
            "type": "value_count",
            "bounds": [["gte", 2.0]],
            "observed": 4,
            "timespan_s": 7200,
            "by_rule": {"A document is shown at a border": len(items)},
            "situation": {"first_us": 0, "last_us": 0, "capped": False},
        },
    }
    return record | changes


def alert_row(record: Json) -> Json:
    """The row of the table ``alerts`` for a record."""
    rule = record["rule"]
    return {name: record[name] for name in SAME_IN_ROW} | {
        "superseded_by": record["superseded_by"] or "",
        "rule_id": rule["id"],
        "rule_title": rule["title"],
        "rule_version": rule["version"],
        "tags": rule["tags"],
        "record": json.dumps(record),
    }


def put_alerts(client: EngineClient, *records: Json) -> None:
    client.insert("alerts", [alert_row(record) for record in records])
