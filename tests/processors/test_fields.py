"""Names that rules use, and the columns behind them."""

from __future__ import annotations

from typing import Any

import h3
import numpy as np
import pytest

from processors.enrich import gazetteer
from processors.fields import EventBatch, field_exists
from processors.signals import values_at
from tests.processors.conftest import header, table

EVENTS: list[dict[str, Any]] = [
    {
        "header": header(
            entities=[
                {"type": "phone", "value": "+31 1", "role": None},
                {"type": "phone", "value": "+31 2", "role": None},
                {"type": "person", "value": "A", "role": "payer"},
            ]
        ),
        "kind": "TRANSFER",
        "amount_minor": 12345,
        "currency": "EUR",
    },
    {"header": header(location=None), "kind": "CARD", "amount_minor": 500, "currency": "JPY"},
    {
        "header": header(location={"lat": -30.0, "lon": -140.0, "precision_m": 9, "place": "sea", "country": None}),
        "kind": "CARD",
        "amount_minor": None,
        "currency": None,
    },
]
ROWS = np.arange(3)


@pytest.fixture(scope="module")
def batch() -> EventBatch:
    rows = table("financial_transaction", EVENTS)
    return EventBatch("financial_transaction", rows)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kind", ["TRANSFER", "CARD", "CARD"]),
        ("header.partner", ["fiu-nl"] * 3),
        ("partner", ["fiu-nl"] * 3),
        ("tlp", ["AMBER"] * 3),
        ("header.handling.tlp", ["AMBER"] * 3),
        ("location.place", [None, None, "sea"]),
        ("header.location.precision_m", [None, None, 9]),
        ("amount", [123.45, 500.0, None]),
        ("entity.phone", [["+31 1", "+31 2"], [], []]),
        ("entity.person", [["A"], [], []]),
        ("releasable_to", [["eu"], ["eu"], ["eu"]]),
        ("geo.country", ["NL", None, None]),
        ("geo.place", ["Amsterdam", None, None]),
        ("geo.continent", ["EU", None, None]),
        ("geo.h3", [h3.latlng_to_cell(52.37, 4.9, 7), None, h3.latlng_to_cell(-30.0, -140.0, 7)]),
        ("no.such.field", [None] * 3),
    ],
)
def test_a_name_finds_its_column(batch: EventBatch, name: str, expected: list[Any]) -> None:
    assert values_at(batch.column(name), ROWS) == expected


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("kind", True),
        ("amount", True),
        ("entity.phone", True),
        ("entity.fax", False),
        ("geo.place", True),
        ("geo.planet", False),
        ("partner", True),
        ("location.country", True),
        ("header.handling.tlp", True),
        ("location", False),
        ("crossing_point", False),
    ],
)
def test_misspelt_fields_are_known_as_such(name: str, there: bool) -> None:
    assert field_exists("financial_transaction", name) is there


def test_a_stated_country_comes_before_the_nearest_place() -> None:
    stated = {"lat": 52.37, "lon": 4.9, "precision_m": None, "place": None, "country": "KE"}
    rows = table("financial_transaction", [{"header": header(location=stated), "kind": "CARD"}])
    places = gazetteer().locate(rows.column(0).field("location"))
    assert places.country.to_pylist() == ["KE"]
    assert places.continent.to_pylist() == ["AF"]
