"""What the models accept, refuse, and say about it."""

from __future__ import annotations

import math
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events import FinancialTransaction, Tlp, error_lines, model_for, problems_of
from schemas.registry import UnknownFamily

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
GOOD: dict[str, Any] = {
    "header": {
        "event_id": ID,
        "occurred_at": "2026-03-01T12:00:00+02:00",
        "published_at": datetime(2026, 3, 1, 11, tzinfo=UTC),
        "partner": "fiu-nl",
        "handling": {"tlp": "AMBER"},
        "location": {"lat": 52.1, "lon": 4.3, "country": "NL"},
        "entities": [{"type": "account", "value": "NL01BANK0123456789"}],
    },
    "kind": "TRANSFER",
    "amount_minor": 125_00,
    "currency": "EUR",
}


def with_value(path: str, value: Any) -> dict[str, Any]:
    event = deepcopy(GOOD)
    *parents, name = path.split(".")
    target: Any = event
    for parent in parents:
        target = target[int(parent)] if parent.isdigit() else target[parent]
    target[name] = value
    return event


def lines_of(event: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        FinancialTransaction.model_validate(event)
    return error_lines(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("header.event_id", "42", "must be a UUID of 36 characters"),
        ("header.event_id", ID.replace("-", ""), "must be a UUID of 36 characters"),
        ("header.partner", "", "must not be empty"),
        ("header.occurred_at", "2026-03-01T12:00:00", "has no time zone: add Z"),
        ("header.occurred_at", datetime(2026, 3, 1), "has no time zone: add Z"),
        ("header.occurred_at", "2026-03-01", "has no time zone"),
        ("header.occurred_at", 1_772_366_400, "not a number"),
        ("header.occurred_at", "1772366400", "not a number"),
        ("header.occurred_at", "yesterday", "must be an ISO 8601 time with time zone"),
        ("header.occurred_at", "0001-01-01T00:00:00+05:00", "outside the years 1 to 9999"),
        ("header.confidence", 101, "must be less than or equal to 100"),
        ("header.confidence", -1, "must be greater than or equal to 0"),
        ("header.handling.tlp", "PINK", "must be one of 'CLEAR', 'GREEN'"),
        ("header.handling.retain_days", 0, "must be greater than or equal to 1"),
        ("header.location.lat", math.nan, "must be a finite number"),
        ("header.location.lat", 90.01, "must be less than or equal to 90"),
        ("header.location.lon", -math.inf, "must be "),
        ("header.location.lon", 180.5, "must be less than or equal to 180"),
        ("header.location.precision_m", -1, "must be greater than or equal to 0"),
        ("header.location.country", "nl", "two upper-case letters"),
        ("header.location.country", "NLD", "two upper-case letters"),
        ("header.location.country", "NL\n", "two upper-case letters"),
        ("header.entities.0.value", "a\ud800", "without unpaired surrogates"),
        ("header.entities.0.type", "Account", "must be one of 'person'"),
        ("header.summary", "\udfff", "without unpaired surrogates"),
        ("header.summary", None, "must be a valid string"),
        ("header.colour", "red", "not in the contract"),
        ("transaction_reference", 17, "must be a valid string"),
        ("currency", "Eur", "three upper-case letters"),
        ("amount_minor", 1.5, "must be a valid integer"),
        ("amount_minor", 2**63, "must be less than or equal to"),
        ("kind", "transfer", "must be one of 'TRANSFER'"),
    ],
)
def test_refused_with_one_line_that_names_the_field(path: str, value: Any, says: str) -> None:
    lines = lines_of(with_value(path, value))
    assert len(lines) == 1
    assert lines[0].startswith(path.replace(".0.", "[0].") + ": ")
    assert says in lines[0]
    assert lines[0].isascii()
    assert "\n" not in lines[0]


def test_a_missing_field_is_named_with_what_to_do() -> None:
    event = deepcopy(GOOD)
    del event["header"]["handling"], event["kind"]
    assert lines_of(event) == [
        "header.handling: missing; give a value, it has no default",
        "kind: missing; give a value, it has no default",
    ]


def test_long_input_is_cut_in_the_message() -> None:
    (line,) = lines_of(with_value("header.event_id", "x" * 1_000_000))
    assert len(line) < 250
    assert "1000000 characters" in line


def test_problem_codes_are_stable() -> None:
    with pytest.raises(ValidationError) as caught:
        FinancialTransaction.model_validate(with_value("header.occurred_at", "2026-03-01T12:00:00"))
    assert [(problem.field, problem.code) for problem in problems_of(caught.value)] == [
        ("header.occurred_at", "time_naive")
    ]


def test_times_are_normalised_to_utc() -> None:
    header = FinancialTransaction.model_validate(GOOD).header
    assert header.occurred_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert header.occurred_at.tzinfo is UTC
    east = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    event = FinancialTransaction.model_validate(with_value("header.occurred_at", east))
    assert event.header.occurred_at.isoformat() == "2026-03-01T06:15:00+00:00"


@pytest.mark.parametrize("label", ["AMBER+STRICT", "TLP:AMBER+STRICT", "AMBER_STRICT", Tlp.AMBER_STRICT])
def test_tlp_labels_as_first_writes_them(label: str) -> None:
    event = FinancialTransaction.model_validate(with_value("header.handling.tlp", label))
    assert event.header.handling.tlp is Tlp.AMBER_STRICT


def test_event_ids_have_one_spelling() -> None:
    event = FinancialTransaction.model_validate(with_value("header.event_id", ID.upper()))
    assert event.header.event_id == ID


def test_events_are_frozen() -> None:
    event = FinancialTransaction.model_validate(GOOD)
    with pytest.raises(ValidationError, match="frozen"):
        event.kind = "CARD"  # type: ignore[assignment,misc]
    assert isinstance(event.header.entities, tuple)


def test_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(UnknownFamily, match=r"unknown family 'payments'.*financial_transaction"):
        model_for("payments")
