"""Each rule of the header has a reason code and a message that names the field."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from processors.validate import Limits, validate
from schemas.partners import load_partners
from schemas.settings import Settings
from streams.refusal import Reason
from tests.processors.conftest import NOW, header, table

LIMITS = Limits(load_partners(Settings().partners_file), max_future_s=300)


def transaction(**changes: Any) -> dict[str, Any]:
    return {"header": header(**changes), "kind": "TRANSFER"}


def located(**changes: Any) -> dict[str, Any]:
    return {"lat": 1.0, "lon": 2.0, "precision_m": None, "place": None, "country": None, **changes}


def test_a_valid_event_passes() -> None:
    passed, refused = validate("financial_transaction", table("financial_transaction", [transaction()]), NOW, LIMITS)
    assert passed.tolist() == [True]
    assert not refused


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"partner": "nobody"}, Reason.PARTNER_UNKNOWN, "header.partner"),
        ({"partner": "rail-at"}, Reason.PARTNER_NOT_ALLOWED, "header.partner"),
        ({"event_id": "17"}, Reason.HEADER_INVALID, "header.event_id"),
        ({"occurred_at": NOW + dt.timedelta(seconds=301)}, Reason.OCCURRED_IN_FUTURE, "header.occurred_at"),
        ({"occurred_at": NOW - dt.timedelta(days=366)}, Reason.TOO_OLD, "header.occurred_at"),
        ({"occurred_at": dt.datetime(1800, 1, 1, tzinfo=dt.UTC)}, Reason.HEADER_INVALID, "header.occurred_at"),
        ({"published_at": NOW + dt.timedelta(days=2)}, Reason.HEADER_INVALID, "header.published_at"),
        ({"confidence": 101}, Reason.HEADER_INVALID, "header.confidence"),
        ({"confidence": -1}, Reason.HEADER_INVALID, "header.confidence"),
        ({"location": located(lat=math.nan)}, Reason.HEADER_INVALID, "header.location.lat"),
        ({"location": located(lat=90.1)}, Reason.HEADER_INVALID, "header.location.lat"),
        ({"location": located(lon=math.inf)}, Reason.HEADER_INVALID, "header.location.lon"),
        ({"location": located(lon=-180.5)}, Reason.HEADER_INVALID, "header.location.lon"),
        ({"location": located(precision_m=-5)}, Reason.HEADER_INVALID, "header.location.precision_m"),
        ({"location": located(country="nl")}, Reason.HEADER_INVALID, "header.location.country"),
    ],
)
def test_a_broken_header_is_refused_beside_good_ones(changes: dict[str, Any], reason: Reason, field: str) -> None:
    events = [transaction(), transaction(**changes), transaction()]
    passed, refused = validate("financial_transaction", table("financial_transaction", events), NOW, LIMITS)
    assert passed.tolist() == [True, False, True]
    (refusal,) = refused
    assert (refusal.index, refusal.reason, refusal.field) == (1, reason, field)
    assert field in refusal.message
    assert refusal.event_id == events[1]["header"]["event_id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"occurred_at": NOW + dt.timedelta(seconds=300)},
        {"occurred_at": NOW - dt.timedelta(days=364)},
        {"location": None},
        {"location": located(lat=90.0, lon=-180.0, precision_m=0, country="NL")},
        {"confidence": 0},
        {"confidence": 100},
    ],
)
def test_bounds_are_inclusive(changes: dict[str, Any]) -> None:
    batch = table("financial_transaction", [transaction(**changes)])
    assert validate("financial_transaction", batch, NOW, LIMITS)[0].tolist() == [True]


def test_an_old_event_passes_when_it_may_be_kept_that_long() -> None:
    handling = {**header()["handling"], "retain_days": 36500}
    old = transaction(occurred_at=dt.datetime(1989, 1, 7, tzinfo=dt.UTC), handling=handling)
    assert validate("financial_transaction", table("financial_transaction", [old]), NOW, LIMITS)[0].tolist() == [True]
