"""Situation compares with the usual and with the period before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboards.grafana import check, situation
from dashboards.grafana.macros import Window, expand
from tests.dashboards.engine import EngineClient, alert, iso, put_alerts

END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
BOARD = situation.dashboard()


def put_events(engine: EngineClient, at: datetime, count: int, **changes: Any) -> None:
    """``count`` live events of one feed, stored at ``at``."""
    row = {"partner": "fiu-nl", "family": "financial_transaction", "retain_days": 3650, "geo_continent": "EU"}
    times = dict.fromkeys(("occurred_at", "published_at", "ingested_at"), iso(at))
    name = f"{at.isoformat()}-{sorted(changes.items())}"
    engine.insert("events", [row | times | changes | {"event_id": f"{name}-{number}"} for number in range(count)])


def rows(engine: EngineClient, title: str, **values: str | list[str]) -> list[dict[str, Any]]:
    """What a panel gets over the day that ends at ``END``."""
    window = Window(END - timedelta(days=1), END, timedelta(hours=1))
    opening, _ = check.opening_values(engine, BOARD, window)
    query = next(query for query in check.panel_queries(BOARD) if f"'{title}'" in query.where)
    answer = engine.query(expand(query.sql, window, opening | values))
    return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]


def test_an_hour_is_compared_with_the_same_hour_of_the_weeks_before(engine: EngineClient) -> None:
    hour = END - timedelta(hours=3)
    for weeks, count in enumerate([9, 2, 4, 0, 6, 50]):
        put_events(engine, hour - timedelta(weeks=weeks) + timedelta(minutes=5), count or 1)
    put_events(engine, hour + timedelta(minutes=5), 9)  # written again
    put_events(engine, hour + timedelta(minutes=9), 7, exercise=True)
    found = {row["time"]: row for row in rows(engine, "Events by hour, against the usual")}
    at = f"{hour:%Y-%m-%d %H:%M:%S}"
    assert (found[at]["events"], found[at]["usual"]) == (9, pytest.approx((2 + 4 + 1 + 6) / 4))


def test_the_usual_of_a_young_platform_is_that_of_the_weeks_it_has(engine: EngineClient) -> None:
    hour = END - timedelta(hours=3)
    for weeks in range(3):
        put_events(engine, hour - timedelta(weeks=weeks), 4 * (weeks + 1))
    found = rows(engine, "Events by hour, against the usual")
    assert [(row["events"], row["usual"]) for row in found] == [(4, 10)]


def test_a_first_week_has_no_usual(engine: EngineClient) -> None:
    put_events(engine, END - timedelta(hours=3), 4)
    assert [row["usual"] for row in rows(engine, "Events by hour, against the usual")] == [None]


def test_the_period_before_is_as_long_and_just_before(engine: EngineClient) -> None:
    put_events(engine, END - timedelta(hours=1), 6)
    put_events(engine, END - timedelta(hours=25), 4)
    put_events(engine, END - timedelta(hours=49), 100)
    put_events(engine, END - timedelta(hours=2), 3, geo_continent="AF")
    for number, hours in enumerate([1, 2, 30]):
        put_alerts(engine, alert(f"a{number}", exercise=False, created_at=iso(END - timedelta(hours=hours))))
    expected = {"now": 9, "before": 4, "change": 125}
    assert rows(engine, "Events, against the period before") == [expected]
    feed = {"partner": "fiu-nl", "family": "financial_transaction"}
    assert rows(engine, "Feeds, against the period before") == [feed | expected]
    europe = rows(engine, "Events, against the period before", region=["EU"])
    assert europe == [{"now": 6, "before": 4, "change": 50}]
    assert rows(engine, "Alerts, against the period before") == [{"now": 2, "before": 1, "change": 100}]


def test_nothing_before_is_no_change_of_so_many_percent(engine: EngineClient) -> None:
    put_events(engine, END - timedelta(hours=1), 6)
    assert rows(engine, "Events, against the period before") == [{"now": 6, "before": 0, "change": None}]


def test_entities_of_one_partner_are_left_out_however_often(engine: EngineClient) -> None:
    def entities(*values: str) -> dict[str, Any]:
        lists = {"type": ["phone"] * len(values), "value": [*values], "role": ["caller"] * len(values)}
        return {f"entities.{name}": each for name, each in lists.items()}

    at = END - timedelta(hours=5)
    put_events(engine, at, 5, **entities("+491", "+492"))
    put_events(engine, at, 2, partner="tipline-uk", family="tip_report", **entities("+491", "+493"))
    put_events(engine, at, 1, partner="hub-ke", family="incident_report", **entities("+491"))
    put_events(engine, END - timedelta(days=2), 1, partner="hub-ke", **entities("+492"))
    found = rows(engine, "Entities that several partners saw")
    assert [(row["entity"], row["partners"], row["seen_by"], row["seen"]) for row in found] == [
        ("+491", 3, "fiu-nl, hub-ke, tipline-uk", 8)
    ]


def test_places_close_together_are_one_cell(engine: EngineClient) -> None:
    at = END - timedelta(hours=5)
    put_events(engine, at, 3, lat=52.52, lon=13.40, geo_place="Berlin")
    put_events(engine, at, 1, lat=52.53, lon=13.45, geo_place="Lichtenberg")
    put_events(engine, at, 2, lat=-1.29, lon=36.82, geo_place="Nairobi")
    put_events(engine, at, 9)
    found = rows(engine, "Events by place")
    assert [(row["place"], row["events"]) for row in found] == [("Berlin", 4), ("Nairobi", 2)]
    assert found[0]["lat"] == pytest.approx(52.5225)
    assert found[0]["lon"] == pytest.approx(13.4125)
