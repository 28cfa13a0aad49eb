"""Every query of the dashboards runs on the real engine, over data and over an empty store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboards.grafana import check
from dashboards.grafana.build import boards
from dashboards.grafana.common import alert_links, override
from dashboards.grafana.macros import Window, expand
from dashboards.grafana.maps import geo_map
from dashboards.grafana.model import Panel, PanelKind, Target
from tests.dashboards.engine import EngineClient, alert, iso, put_alerts

NOW = datetime.now(UTC)
WINDOW = Window(NOW - timedelta(hours=1), NOW + timedelta(seconds=5), timedelta(hours=24))


def fill(engine: EngineClient) -> None:
    times = {name: iso(NOW - timedelta(minutes=5)) for name in ("created_at", "updated_at")}
    put_alerts(
        engine,
        alert("a1", level="critical", exercise=True, **times),
        alert("a2", level="low", exercise=False, lat=None, lon=None, **times),
        alert("a3", status="superseded", superseded_by="a1", **times),
    )
    event = {
        "partner": "bpol-de",
        "family": "border_crossing",
        "occurred_at": iso(NOW - timedelta(minutes=4)),
        "published_at": iso(NOW - timedelta(minutes=4)),
        "ingested_at": iso(NOW - timedelta(minutes=4) + timedelta(milliseconds=150)),
        "retain_days": 30,
        "lat": 52.34,
        "lon": 14.55,
        "geo_place": "Frankfurt (Oder)",
        "schema_id": 7,
        "entities.type": ["document", "place"],
        "entities.value": ["X1234567", "Frankfurt (Oder)"],
        "entities.role": ["shown", "where"],
    }
    rows = [event | {"event_id": f"e{number}", "exercise": True, "late": number == 0} for number in range(3)]
    engine.insert("events", [*rows, rows[0], event | {"event_id": "e9", "partner": "fiu-nl", "exercise": False}])
    refusal = {
        "quarantined_at": iso(NOW - timedelta(minutes=3)),
        "kafka_at": iso(NOW - timedelta(minutes=3)),
        "partner": "bpol-de",
        "topic": "events.border_crossing.v1",
    }
    engine.insert("quarantine", [refusal | {"reason": "too_old", "offset": offset} for offset in (1, 2)])
    lag = {"metric": "tocsin_consumer_lag", "sampled_at": iso(NOW - timedelta(seconds=20)), "worker": "ingest-0"}
    rows = [lag | {"labels": {"partition": str(n)}, "value": 10.0 * (n + 1)} for n in range(2)]
    engine.insert("pipeline_metrics", [*rows, *samples("ingest-0", 1000.0)])


def samples(worker: str, started: float) -> list[dict[str, Any]]:
    """Three samples of a worker, 5 s apart, that was started anew before the last: its counters begin again."""
    found = []
    for number, (start, count, total) in enumerate([(started, 10, 2.0), (started, 20, 5.0), (started + 9, 5, 1.0)]):
        values: dict[str, float] = {
            "process_start_time_seconds": start,
            "process_resident_memory_bytes": 1e8 + number,
            "tocsin_correlation_groups": 4.0 + number,
            "tocsin_notifications_pending": 0.0,
            "tocsin_store_retries_total": 0.0 if number == 2 else 2.0 * number,
        }
        for name in ("batch_records", "checkpoint_seconds", "stage_seconds", "insert_seconds"):
            values |= {f"tocsin_{name}_count": count, f"tocsin_{name}_sum": total}
        sample = {
            "worker": worker,
            "sampled_at": iso(NOW - timedelta(seconds=30 - 5 * number)),
            "labels": {"table": "t"},
        }
        found += [sample | {"metric": name, "value": value} for name, value in values.items()]
    return found


def outcomes(engine: EngineClient, **values: str | list[str]) -> dict[str, check.Outcome]:
    found = check.check(engine, now=NOW + timedelta(seconds=5), values={"exercise": "all"} | values)
    return {outcome.where.split("'")[1] if "'" in outcome.where else outcome.where: outcome for outcome in found}


def test_every_query_runs_over_an_empty_store(engine: EngineClient) -> None:
    assert {where: outcome.errors for where, outcome in outcomes(engine).items() if outcome.errors} == {}


def test_the_selectors_select(engine: EngineClient) -> None:
    fill(engine)
    odd = outcomes(engine, partner=["bpol-de", "o'brien"])
    assert {where: outcome.errors for where, outcome in odd.items() if outcome.errors} == {}
    assert odd["tocsin-feeds: variable partner"].rows == 2
    assert outcomes(engine, partner=["fiu-nl"])["Age of the last event, by partner and family"].rows == 1
    assert outcomes(engine, exercise="live")["Events stored per second, by partner"].rows == 1


def value(engine: EngineClient, title: str, column: str) -> float:
    board, query = next(
        (board, query) for board in boards() for query in check.panel_queries(board) if f"'{title}'" in query.where
    )
    values, _ = check.opening_values(engine, board, WINDOW)
    answer = engine.query(expand(query.sql, WINDOW, values | {"exercise": "all"}))
    return float(answer.result_rows[0][answer.column_names.index(column)])


def test_numbers_are_right(engine: EngineClient) -> None:
    fill(engine)
    assert value(engine, "Events stored per second, by partner", "events_per_second") == pytest.approx(3 / 86_400)
    assert value(engine, "Late events, by partner", "late_events") == 1
    assert value(engine, "Refused records, by reason", "records") == 2
    assert value(engine, "Consumer lag, by worker", "amount") == 30
    assert value(engine, "Ingest latency", "p50") == pytest.approx(150, abs=1)
    assert value(engine, "Time of a checkpoint, by worker", "mean") == pytest.approx(3.0 / 10)
    assert value(engine, "Memory, by worker", "amount") == 1e8 + 2
    assert value(engine, "State: live groups and known alerts", "amount") == 6
    assert value(engine, "Restarts, by worker", "restarts") == 1
    assert value(engine, "Inserts tried again, by worker", "retries") == 2
    assert value(engine, "Consumer lag, by partition", "lag") == 20
    assert value(engine, "Entities that several partners saw", "partners") == 2
    assert value(engine, "Entities that several partners saw", "seen") == 4
    assert value(engine, "Events by place", "events") == 4
    assert value(engine, "Events by place", "lat") == pytest.approx(52.34)
    assert value(engine, "Schema versions in use, by feed", "schema_id") == 7
    since_import = (datetime.now(UTC) - NOW).total_seconds()
    age = value(engine, "Age of the last event, by partner and family", "age")
    assert 235 <= age - since_import <= 245


def panel(kind: PanelKind, sql: str, **more: Any) -> check.Query:
    target = Target(sql, series=bool(more.pop("series", False)))
    made = Panel(kind=kind, title="t", description="", width=1, height=1, targets=(target,), **more)
    return check.Query("here", sql, made, target)


MARKERS = geo_map("t", "", "", colour_by="severity", thresholds={}, width=1, height=1).options


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (panel("table", "SELECT nothing FROM nowhere"), "nowhere"),
        (panel("table", "SELECT updatd_at FROM alerts"), "updatd_at"),
        (panel("table", "SELECT 1 AS v WHERE $__timeFliter(v)"), "not a macro"),
        (panel("table", "SELECT '${missing}' AS v"), "not a variable"),
        (panel("table", "SELECT toLowCardinality('x') AS c"), "plugin 3.3 cannot read"),
        (panel("table", "SELECT 1 AS v", overrides=(override("w", unit="s"),)), "names column w"),
        (panel("table", "SELECT 1 AS v", defaults={"links": [*alert_links()]}), "names column alert_id"),
        (panel("stat", "SELECT 'x' AS v"), "needs a numeric column"),
        (panel("timeseries", "SELECT 1 AS v", series=True), "needs a column of type DateTime"),
        (panel("timeseries", "SELECT now() AS t, 'x' AS label", series=True), "needs a numeric column"),
        (
            panel("timeseries", "SELECT toDateTime(9 - number) AS t, 'x' AS l, 1 AS v FROM numbers(3)", series=True),
            "ascending time",
        ),
        (
            panel(
                "timeseries",
                "SELECT now() AS t, 'x' AS familiy, 1 AS v",
                series=True,
                defaults={"displayName": "${__field.labels.family}"},
            ),
            "series are named by column family, which must be text; it is not there",
        ),
        (panel("heatmap", "SELECT now() AS t, 'x' AS v"), "needs a numeric column"),
        (panel("state-timeline", "SELECT now() AS t"), "column of states"),
        (panel("barchart", "SELECT 'x' AS a, 1 AS v", options={"xField": "b"}), "its column b to be text or time"),
        (panel("geomap", "SELECT 1.0 AS lat, 2 AS severity", options=MARKERS), "column lon to be numeric"),
        (panel("geomap", "SELECT 0. AS lat, 0. AS lon, 2 AS severity", options=MARKERS), "1 markers lie at 0, 0"),
        (panel("nodeGraph", "SELECT 'a' AS id, 'a' AS source"), "needs column target"),
        (panel("nodeGraph", "SELECT 'a' AS id, 'a' AS title"), "needs column mainstat"),
    ],
    ids=lambda each: each.replace(" ", "-") if isinstance(each, str) else "",
)
def test_a_query_that_would_not_show_is_an_error(engine: EngineClient, query: check.Query, says: str) -> None:
    (error,) = check.run(engine, query, WINDOW, {}).errors
    assert says in error


def test_an_empty_panel_is_an_error_only_where_rows_are_expected(engine: EngineClient) -> None:
    nothing = "SELECT 1 AS v WHERE 0"
    assert check.run(engine, panel("table", nothing), WINDOW, {}).errors == ()
    (error,) = check.run(engine, panel("table", nothing), WINDOW, {}, expect_rows=True).errors
    assert "no rows" in error
    known = panel("table", nothing, empty_in_demo="nobody does that there")
    assert check.run(engine, known, WINDOW, {}, expect_rows=True).errors == ()


def test_buckets_are_as_wide_as_the_panel_and_the_time_range_ask() -> None:
    hour = timedelta(hours=1)
    assert check.bucket(hour, None) == timedelta(seconds=7)
    assert check.bucket(hour, panel("table", "", interval="1m").panel) == timedelta(minutes=1)
    assert check.bucket(500 * hour, panel("table", "", interval="1m").panel) == hour
    with pytest.raises(ValueError, match="'soon'"):
        check.bucket(hour, panel("table", "", interval="soon").panel)
