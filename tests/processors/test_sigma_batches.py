"""Rules on batches of our own families, as the ingest worker has them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from processors.fields import EventBatch
from processors.matcher import Matcher
from processors.rule_files import load_texts
from tests.processors.conftest import NOW, header, table

EVENTS: list[dict[str, Any]] = [
    {
        "header": header(
            event_id="00000000-0000-4000-8000-000000000001",
            summary="Cash for precursor chemicals",
            occurred_at=NOW.replace(hour=3, minute=30),
            entities=[{"type": "phone", "value": "+31 20 1234567", "role": None}],
        ),
        "kind": "TRANSFER",
        "amount_minor": 900_000,
        "currency": "EUR",
        "from_country": "NL",
        "to_country": "nl",
    },
    {
        "header": header(event_id="00000000-0000-4000-8000-000000000002", summary="", confidence=90),
        "kind": "CARD",
        "amount_minor": 500,
        "currency": "JPY",
    },
]
"""Their ids are fixed: keywords look at ids as well."""


@pytest.fixture(scope="module")
def batch() -> EventBatch:
    rows = table("financial_transaction", EVENTS)
    return EventBatch("financial_transaction", rows)


def test_keywords_look_at_every_text(batch: EventBatch) -> None:
    names = set(batch.names())
    assert {"kind", "header.summary", "header.handling.releasable_to", "entity.phone"} <= names
    assert not names & {"header.confidence", "amount_minor", "header.entities", "header.occurred_at"}
    assert all(batch.column(name) is not None for name in names)


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("s: ['PRECURSOR*chem']\ncondition: s", [0]),
        ("s: ['+31 20']\ncondition: s", [0]),
        ("s: [transfer, '90']\ncondition: s", [0]),
        ("s: {occurred_at|hour: [2, 3]}\ncondition: s", [0]),
        ("s: {header.occurred_at|hour|gte: 4}\ncondition: s", [1]),
        ("s: {header.occurred_at|year: 2026}\ncondition: s", [0, 1]),
        ("s: {header.occurred_at|startswith: '2026-05-01 03:30'}\ncondition: s", [0]),
        ("s: {to_country|fieldref: from_country}\ncondition: s", [0]),
        ("s: {amount|gt: 499.5, header.confidence: 90}\ncondition: s", [1]),
        ("s: {amount: 9000}\ncondition: s", [0]),
        ("s: {amount: '9000'}\ncondition: s", [0]),
        ("s: {exercise: false, releasable_to: EU}\ncondition: s", [0, 1]),
        ("s: {from_country: null}\ncondition: s", [1]),
        ("s: {entity.phone|re: '^\\+31'}\ncondition: s", [0]),
        ("s: {entity.phone|exists: false}\ncondition: s", [1]),
        ("s: {geo.place: amsterdam}\nt: [transfer]\ncondition: s and not t", [1]),
    ],
)
def test_rules_find_our_events(batch: EventBatch, detection: str, expected: list[int]) -> None:
    indented = "\n".join(f"  {line}" for line in detection.splitlines())
    head = "title: A\nlogsource: {product: tocsin, category: financial_transaction}\ndetection:\n"
    book = load_texts([(Path("a.yml"), head + indented)])
    assert [row for _, rows in Matcher(book.detections).match(batch) for row in rows.tolist()] == expected


def test_the_clock_is_utc(batch: EventBatch) -> None:
    assert NOW.tzinfo is dt.UTC
    assert batch.header.field("occurred_at").type.unit == "us"
