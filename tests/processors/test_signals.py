"""Signals made by column say byte for byte what a plain reading of each event says."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest

from deploy.loadgen import encode_scenarios, generate_encoded
from processors.fields import EventBatch, Rows
from processors.rule_files import load_texts, read_texts
from processors.rulebook import Detection, Rulebook
from processors.signals import Origin, SignalMaker
from processors.times import micros
from schemas.alerts import Signal
from schemas.registry import RegisteredSchema, family_of, schema_text, subject_of
from schemas.settings import Settings
from streams.decode import Decoder
from streams.watermarks import SECOND_US
from tests.demo.pipeline import EVENT_FAMILIES, SCHEMA_IDS

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
LATENESS_S = 3600
KEYWORDS = """
title: Words anywhere in {family}
id: 00000000-0000-4000-8000-0000000000{number:02d}
name: words_{family}
status: test
level: low
logsource: {{product: tocsin, category: {family}}}
detection: {{keywords: [passport], condition: keywords}}
"""


@pytest.fixture(scope="module")
def book() -> Rulebook:
    words = [
        (Path(f"{family}.yml"), KEYWORDS.format(family=family, number=number))
        for number, family in enumerate(EVENT_FAMILIES)
    ]
    return load_texts([*read_texts([Settings().rules_path]), *words])


@pytest.fixture(scope="module")
def batches() -> dict[str, EventBatch]:
    records = generate_encoded(3_000, 5, EVENT_FAMILIES, SCHEMA_IDS, until=NOW, spread_s=60)
    records += encode_scenarios("run-1", SCHEMA_IDS, NOW)
    values: dict[str, list[bytes]] = {}
    for topic, _, value in records:
        values.setdefault(family_of(topic), []).append(value)
    return {family: EventBatch(family, _decoded(family, each)) for family, each in values.items()}


def _decoded(family: str, values: list[bytes]) -> Any:
    number = SCHEMA_IDS[family]
    registered = RegisteredSchema(number, schema_text(family), (subject_of(family),))
    return Decoder(family, {number: registered}.get, 1 << 20).decode(values).table


def cell(batch: EventBatch, name: str, row: int) -> Any:
    column = batch.column(name)
    if column is None:
        return None
    if column.rows is None:
        return column.values[row].as_py()
    return [value for value, of_row in zip(column.values.to_pylist(), column.rows, strict=True) if of_row == row]


def piece_of(book: Rulebook, batch: EventBatch, detection: Detection, row: int, origin: Origin) -> list[Any]:
    header = batch.table.column(0)[row].as_py()
    location = header["location"] or {}
    names = dict.fromkeys((*detection.fields, *book.carried.get(detection.meta.id, ())))
    if detection.has_keywords:
        names |= dict.fromkeys(batch.names())
    found = {name: cell(batch, name, row) for name in names}
    return [
        header["event_id"],
        header["partner"],
        batch.family,
        micros(header["occurred_at"]),
        micros(header["published_at"]),
        micros(origin.ingested_at),
        header["handling"]["tlp"],
        batch.places.country[row].as_py() or "",
        location.get("place") or batch.places.place[row].as_py() or "",
        location.get("lat"),
        location.get("lon"),
        header["summary"],
        detection.meta.id,
        {name: value for name, value in found.items() if value not in (None, [])},
        int(origin.partitions[row]),
        int(origin.offsets[row]),
        header["exercise"],
        header["confidence"],
        [[each["type"], each["value"], each["role"]] for each in header["entities"]],
    ]


def signals_of(book: Rulebook, detection: Detection, piece: list[Any], behind_us: int) -> list[Signal]:
    evidence = orjson.dumps([piece], option=orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z, default=str)
    found = piece[13]
    event = (piece[1], piece[0], piece[3], piece[16])
    signals = []
    if detection.alerts:
        late = behind_us > LATENESS_S * SECOND_US
        signals.append(Signal("", detection.meta.version, detection.meta.id, (), None, *event, late, False, evidence))

    def texts(name: str) -> list[str]:
        value = found.get(name)
        many = value if isinstance(value, list) else [value]
        return list(dict.fromkeys(str(each) for each in many if each not in (None, "")))

    for correlation in book.watchers.get(detection.meta.id, ()):
        lateness_s = LATENESS_S if correlation.allowed_lateness_s is None else correlation.allowed_lateness_s
        if behind_us > lateness_s * SECOND_US:
            continue
        groups = [texts(correlation.group_field(key, detection.meta.id)) for key in correlation.group_by]
        values: list[str | None] = [None]
        if correlation.value_fields:
            values = ["\x1f".join(each) for each in itertools.product(*map(texts, correlation.value_fields))]
        elif correlation.type == "travel":
            values = [] if None in piece[9:11] else [f"{piece[9]},{piece[10]}"]
        signals += [
            Signal(
                *(correlation.meta.id, correlation.fingerprint, detection.meta.id),
                *(group, value, *event, False, False, evidence),
            )
            for group in itertools.product(*groups)
            for value in values
        ]
    return signals


@pytest.mark.parametrize("share", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("family", EVENT_FAMILIES)
def test_signals_equal_those_of_a_plain_reading(
    book: Rulebook, batches: dict[str, EventBatch], family: str, share: float
) -> None:
    batch, random = batches[family], Random(f"{family} {share}")
    partitions = np.arange(batch.num_rows) % 4
    origin = Origin(f"events.{family}.v1", partitions, np.arange(1_000, 1_000 + batch.num_rows), NOW)
    behind = np.array([random.choice([0, 5, 86_400]) * SECOND_US for _ in range(batch.num_rows)])
    matches: list[tuple[Detection, Rows]] = []
    # What the rules really match does not matter here: any rows, and rows that several rules share.
    for detection in (each for each in book.detections if each.family == family):
        rows = [row for row in range(batch.num_rows) if random.random() < share][:40]
        if rows:
            matches.append((detection, np.array(rows, dtype=np.int64)))
    made = SignalMaker(book, LATENESS_S).make(EventBatch(family, batch.table), matches, behind, origin)
    expected = [
        signal
        for detection, rows in matches
        for row in rows.tolist()
        for signal in signals_of(book, detection, piece_of(book, batch, detection, row, origin), int(behind[row]))
    ]
    assert [each.to_bytes() for each in made] == [each.to_bytes() for each in expected]
    assert made == expected


def test_the_comparison_covers_what_rules_carry(book: Rulebook, batches: dict[str, EventBatch]) -> None:
    assert set(batches) == set(EVENT_FAMILIES)
    assert all(batch.num_rows >= 3 for batch in batches.values())
    names = {name for each in book.detections for name in (*each.fields, *book.carried.get(each.meta.id, ()))}
    assert any(name.startswith("entity.") for name in names)
    assert {each.type for each in book.correlations} >= {"travel", "value_count", "temporal"}
    assert any(batch.header.field("location").null_count for batch in batches.values())


def test_no_match_is_no_signal(book: Rulebook, batches: dict[str, EventBatch]) -> None:
    origin = Origin("events.tip_report.v1", *(np.zeros(0, dtype=np.int64),) * 2, NOW)
    assert SignalMaker(book, LATENESS_S).make(batches["tip_report"], [], np.zeros(0), origin) == []
