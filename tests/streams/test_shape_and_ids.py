"""Flat events find their place; ids order by time and repeat for the same source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.events import MODELS
from streams.ids import source_uuid, uuid7
from streams.shape import HANDLING_FIELDS, HEADER_FIELDS, LOCATION_FIELDS, ShapeError, nest, new_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_no_family_has_a_field_that_a_flat_header_name_would_take() -> None:
    flat = HEADER_FIELDS | HANDLING_FIELDS | LOCATION_FIELDS
    assert {family: flat & set(model.model_fields) for family, model in MODELS.items()} == {
        family: set() for family in MODELS
    }
    assert not HEADER_FIELDS & HANDLING_FIELDS
    assert not HEADER_FIELDS & LOCATION_FIELDS
    assert not HANDLING_FIELDS & LOCATION_FIELDS


def test_flat_nested_and_dotted_names_give_the_same_event() -> None:
    nested = {"header": {"partner": "p", "handling": {"tlp": "RED"}, "location": {"lat": 1.0, "lon": 2.0}}, "kind": "X"}
    assert nest(nested) == nested
    assert nest({"partner": "p", "tlp": "RED", "lat": 1.0, "lon": 2.0, "kind": "X"}) == nested
    assert (
        nest({"header.partner": "p", "handling.tlp": "RED", "location": {"lat": 1.0, "lon": 2.0}, "kind": "X"})
        == nested
    )
    assert nest({"header": {"partner": "p", "tlp": "RED"}, "location.lat": 1.0, "lon": 2.0, "kind": "X"}) == nested


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"tlp": "RED", "handling": {"tlp": "GREEN"}}, "header.handling.tlp"),
        ({"header": {"partner": "a"}, "partner": "b"}, "header.partner"),
        ({"location": None, "lat": 1.0}, "header.location.lat"),
        ({"header": 7, "partner": "b"}, "header.partner"),
    ],
)
def test_a_field_given_twice_is_named(record: dict[str, object], field: str) -> None:
    with pytest.raises(ShapeError) as caught:
        nest(record)
    assert caught.value.field == field
    assert "give" in caught.value.fix


def test_nest_changes_nothing_that_was_given() -> None:
    header = {"handling": {"tlp": "RED"}}
    nest({"header": header, "lat": 1.0, "purpose": "x"})
    assert header == {"handling": {"tlp": "RED"}}


def test_a_first_event_is_short() -> None:
    event = new_event(
        "tip_report", partner="tipline-uk", now=NOW, tlp="AMBER", text="A parked van.", lat=51.5, lon=-0.1
    )
    assert event.header.occurred_at == event.header.published_at == NOW
    assert UUID(event.header.event_id).version == 7
    assert event.header.location is not None
    assert event.header.location.lon == -0.1


def test_a_sharing_label_is_never_made_up() -> None:
    with pytest.raises(ValidationError, match=r"header\.handling"):
        new_event("tip_report", partner="tipline-uk", text="A parked van.")


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1))
def test_uuid7_layout(ms: int, bits: int) -> None:
    made = UUID(uuid7(ms, bits))
    assert (made.version, made.variant, made.int >> 80) == (7, "specified in RFC 4122", ms)
    assert ((made.int >> 64) & 0xFFF) << 62 | made.int & ((1 << 62) - 1) == bits


def test_uuid7_are_distinct() -> None:
    assert len({uuid7() for _ in range(10_000)}) == 10_000


@given(st.lists(st.text(), min_size=1, max_size=3), st.lists(st.text(), min_size=1, max_size=3))
def test_source_ids_are_equal_only_for_equal_names(first: list[str], second: list[str]) -> None:
    assert (source_uuid(*first) == source_uuid(*second)) == (first == second)
    assert UUID(source_uuid(*first)).version == 8


def test_source_ids_sort_by_time_and_take_any_time() -> None:
    days = [NOW - timedelta(days=days) for days in (400_000, 20_000, 1, 0)]
    ids = [source_uuid("x", at=day) for day in days]
    assert ids == sorted(ids)
    assert UUID(source_uuid("x", at=NOW)).int >> 80 == NOW.timestamp() * 1000
