"""Batches, refusals, signals and alerts as the columns of their ClickHouse tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from processors.alerts import Telling
from processors.evidence import COLUMN, Shown, columns_of, topic_of_family
from processors.fields import EventBatch
from processors.signals import Origin
from schemas.alerts import AlertHead, Signal
from streams.batching import TopicBatch
from streams.records import Record
from streams.refusal import Refusal

_MS = pa.timestamp("ms", tz="UTC")


def event_rows(batch: EventBatch, schema_ids: np.ndarray, late: np.ndarray, origin: Origin) -> pa.Table:
    """Rows of ``events``; family fields go into ``payload`` as JSON text.

    Texts that repeat are dictionary-encoded: ClickHouse takes the dictionary over instead of hashing every value.
    """
    header, places, rows = batch.header, batch.places, batch.num_rows
    handling, location, entities = (header.field(name) for name in ("handling", "location", "entities"))
    parts = entities.flatten()
    offsets = _offsets(entities)
    releasable = handling.field("releasable_to")
    columns: dict[str, Any] = {
        "event_id": header.field("event_id"),
        "partner": _codes(header.field("partner")),
        "family": _repeat(batch.family, rows),
        "occurred_at": _ms(header.field("occurred_at")),
        "occurred_precision": _codes(header.field("occurred_precision")),
        "published_at": _ms(header.field("published_at")),
        "ingested_at": pa.repeat(pa.scalar(origin.ingested_at, _MS), rows),
        "source_system": _codes(header.field("source_system")),
        "tlp": _codes(handling.field("tlp")),
        "releasable_to": pa.ListArray.from_arrays(_offsets(releasable), _codes(releasable.flatten())),
        "purpose": _codes(handling.field("purpose")),
        "legal_basis": _codes(handling.field("legal_basis")),
        "retain_days": handling.field("retain_days").cast(pa.uint32()),
        "exercise": header.field("exercise"),
        "late": pa.array(late),
        "confidence": header.field("confidence").cast(pa.uint8()),
        "lat": places.lat,
        "lon": places.lon,
        "precision_m": pc.struct_field(location, "precision_m").cast(pa.uint32()),
        "place": _codes(pc.struct_field(location, "place")),
        "country": _codes(pc.struct_field(location, "country")),
        "geo_country": _codes(places.country),
        "geo_place": _codes(places.place),
        "geo_continent": _codes(places.continent),
        "entities.type": pa.ListArray.from_arrays(offsets, _codes(parts.field("type"))),
        "entities.value": pa.ListArray.from_arrays(offsets, parts.field("value")),
        "entities.role": pa.ListArray.from_arrays(offsets, _codes(parts.field("role"))),
        "summary": header.field("summary"),
        "payload": _payload(batch.table),
        "schema_id": pa.array(schema_ids, pa.uint32()),
        "topic": _repeat(origin.topic, rows),
        "partition": pa.array(origin.partitions, pa.uint32()),
        "offset": pa.array(origin.offsets, pa.uint64()),
    }
    return pa.table(columns)


def _payload(table: pa.RecordBatch) -> pa.Array:
    family = pl.DataFrame(table.drop_columns(["header"])).to_struct()
    return family.struct.json_encode().to_arrow().cast(pa.string())


def _offsets(array: pa.ListArray) -> pa.Array:
    """Offsets into ``array.flatten()``, which starts at zero even where the array is a slice."""
    return pc.subtract(array.offsets, array.offsets[0])


def _codes(texts: pa.Array) -> pa.DictionaryArray:
    """Texts as codes of a dictionary; null reads as the empty text."""
    return pc.fill_null(texts, "").dictionary_encode()


def _repeat(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int32)), [text])


def _ms(times: pa.Array) -> pa.Array:
    """Microseconds without zone to milliseconds UTC; what lies below a millisecond is cut."""
    return pc.floor_temporal(times, unit="millisecond").cast(pa.timestamp("ms")).cast(_MS)


def _from_dicts(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def signal_rows(
    signals: Sequence[Signal], partitions: Mapping[tuple[str, str], int], origin: Origin, family: str
) -> pa.Table:
    """Rows of ``signals``, all of one batch; ``partitions`` are those of the events by partner
    and event id."""
    rows = len(signals)
    occurred = pa.array([each.occurred_us // 1000 for each in signals], pa.int64())
    return pa.table(
        {
            "correlation_id": [each.correlation_id for each in signals],
            "rule_id": [each.rule_id for each in signals],
            "group_key": ["; ".join(each.group) for each in signals],
            "value": [each.value or "" for each in signals],
            "event_id": [each.event_id for each in signals],
            "partner": [each.partner for each in signals],
            "family": _repeat(family, rows),
            "occurred_at": occurred.cast(_MS),
            "ingested_at": pa.repeat(pa.scalar(origin.ingested_at, _MS), rows),
            "exercise": [each.exercise for each in signals],
            "late": [each.late for each in signals],
            "topic": _repeat(origin.topic, rows),
            "partition": pa.array([partitions[each.partner, each.event_id] for each in signals], pa.uint32()),
        }
    )


_TEXTS = pa.list_(pa.string())
_ALERTS = pa.schema(
    [
        ("alert_id", pa.string()),
        ("version", pa.uint64()),
        ("status", pa.string()),
        ("superseded_by", pa.string()),
        ("rule_id", pa.string()),
        ("rule_title", pa.string()),
        ("rule_version", pa.string()),
        ("kind", pa.string()),
        ("level", pa.string()),
        ("exercise", pa.bool_()),
        ("tlp", pa.string()),
        ("confidence", pa.uint8()),
        ("group", pa.map_(pa.string(), pa.string())),
        ("story", pa.string()),
        ("tags", _TEXTS),
        ("partners", _TEXTS),
        ("families", _TEXTS),
        ("countries", _TEXTS),
        ("places", _TEXTS),
        ("lat", pa.float64()),
        ("lon", pa.float64()),
        ("first_event_at", _MS),
        ("last_event_at", _MS),
        ("published_at", _MS),
        ("created_at", _MS),
        ("updated_at", _MS),
        ("evidence_total", pa.uint32()),
        ("record", pa.string()),
    ]
)
_SAME_NAME = [
    "alert_id",
    "version",
    "status",
    "kind",
    "level",
    "exercise",
    "tlp",
    "confidence",
    "story",
    "partners",
    "families",
    "countries",
    "places",
    "lat",
    "lon",
    "first_event_at",
    "last_event_at",
    "published_at",
    "created_at",
    "updated_at",
    "evidence_total",
]


def alert_rows(alerts: Sequence[AlertHead], records: Sequence[bytes | str]) -> pa.Table:
    """Rows of ``alerts``; ``records`` are the alerts as JSON."""
    columns: dict[str, list[Any]] = {name: [getattr(each, name) for each in alerts] for name in _SAME_NAME}
    columns |= {
        "superseded_by": [each.superseded_by or "" for each in alerts],
        "rule_id": [each.rule.id for each in alerts],
        "rule_title": [each.rule.title for each in alerts],
        "rule_version": [each.rule.version for each in alerts],
        "group": [list(each.group.items()) for each in alerts],
        "tags": [each.rule.tags for each in alerts],
        "record": list(records),
    }
    return pa.table(columns, schema=_ALERTS)


_EVIDENCE = pa.schema(
    [
        ("alert_id", pa.string()),
        ("event_id", pa.string()),
        ("rule_id", pa.string()),
        ("rule_title", pa.string()),
        ("partner", pa.string()),
        ("family", pa.string()),
        ("occurred_at", _MS),
        ("published_at", _MS),
        ("ingested_at", _MS),
        ("tlp", pa.string()),
        ("country", pa.string()),
        ("place", pa.string()),
        ("lat", pa.float64()),
        ("lon", pa.float64()),
        ("summary", pa.string()),
        ("matched", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.uint32()),
        ("offset", pa.uint64()),
    ]
)


_EVENT, _RULE = COLUMN["event_id"], COLUMN["rule_id"]
EvidenceKey = tuple[str, str, str]


def evidence_rows(told: Sequence[Telling], known: set[EvidenceKey]) -> pa.Table:
    """Rows of ``alert_evidence`` for open alerts, but for those in ``known``, to which they are added: an alert that
    grows has told most before. A superseded alert's evidence is its successor's."""
    ids: list[str] = []
    new: list[Shown] = []
    for alert in told:
        identifier = alert.head.alert_id
        for each in alert.evidence if alert.head.status == "open" else ():
            key = (identifier, each.piece[_EVENT], each.piece[_RULE])
            if key not in known:
                known.add(key)
                ids.append(identifier)
                new.append(each)
    if not new:
        return _EVIDENCE.empty_table()
    columns = columns_of(new)
    times = {
        f"{name}_at": pa.array([each // 1000 for each in columns[f"{name}_us"]], pa.int64()).cast(_MS)
        for name in ("occurred", "published", "ingested")
    }
    made = {
        "alert_id": ids,
        "rule_title": [each.rule_title for each in new],
        "matched": [orjson.dumps(each) for each in columns["matched"]],
        "topic": list(map(topic_of_family, columns["family"])),
    }
    rows = columns | times | made
    return pa.table({name: rows[name] for name in _EVIDENCE.names}, schema=_EVIDENCE)


_METRICS = pa.schema(
    [
        ("sampled_at", _MS),
        ("worker", pa.string()),
        ("metric", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
        ("value", pa.float64()),
    ]
)


def metric_rows(worker: str, sampled_at: dt.datetime, samples: Sequence[tuple[str, dict[str, str], float]]) -> pa.Table:
    """Rows of ``pipeline_metrics``."""
    rows = [
        {"sampled_at": sampled_at, "worker": worker, "metric": name, "labels": list(labels.items()), "value": value}
        for name, labels, value in samples
    ]
    return _from_dicts(rows, _METRICS)


_QUARANTINE = pa.schema(
    [
        ("quarantined_at", _MS),
        ("partner", pa.string()),
        ("family", pa.string()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("message", pa.string()),
        ("event_id", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.uint32()),
        ("offset", pa.uint64()),
        ("kafka_at", _MS),
        ("schema_id", pa.int32()),
        ("size", pa.uint64()),
        ("raw", pa.binary()),
    ]
)


def quarantine_rows(family: str, batch: TopicBatch, refused: Sequence[Refusal], now: dt.datetime) -> pa.Table:
    """Rows of ``quarantine``: each refused record of the batch with its reason and its bytes."""
    rows = []
    for refusal in refused:
        record: Record = batch[refusal.index]
        rows.append(
            {
                "quarantined_at": now,
                "partner": refusal.partner or partner_header(record),
                "family": family,
                "reason": refusal.reason.value,
                "field": refusal.field,
                "message": refusal.message,
                "event_id": refusal.event_id,
                "topic": batch.topic,
                "partition": int(batch.partitions[refusal.index]),
                "offset": record.offset,
                "kafka_at": dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC),
                # ClickHouse column is signed so that -1 can say that there was none.
                "schema_id": min(refusal.schema_id, 2**31 - 1),
                "size": len(record.value or b""),
                "raw": record.value or b"",
            }
        )
    return _from_dicts(rows, _QUARANTINE)


def partner_header(record: Record) -> str:
    """The partner that the SDK names in the Kafka header ``partner``, for records whose own header cannot be read."""
    for name, value in record.headers or ():
        if name == "partner" and value:
            return value.decode("utf-8", "replace")[:64]
    return ""
