"""Every query of the dashboard runs on the real engine, over data and over an empty store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboards.grafana import check
from dashboards.grafana.build import dashboard
from tests.dashboards.engine import EngineClient, alert, iso, put_alerts

NOW = datetime.now(UTC)
WINDOW = check.Window(datetime(2026, 3, 1, 11, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC))


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
    sample = {"worker": "ingest-0", "metric": "tocsin_consumer_lag", "sampled_at": iso(NOW - timedelta(minutes=2))}
    engine.insert(
        "pipeline_metrics", [sample | {"labels": {"partition": str(n)}, "value": 10.0 * (n + 1)} for n in range(2)]
    )


def outcomes(engine: EngineClient, **values: str | list[str]) -> dict[str, check.Outcome]:
    found = check.check(engine, now=NOW + timedelta(seconds=5), values=values)
    return {outcome.where.split("'")[1] if "'" in outcome.where else outcome.where: outcome for outcome in found}


def test_every_query_shows_something_over_data(engine: EngineClient) -> None:
    fill(engine)
    found = outcomes(engine)
    assert {where: outcome.errors for where, outcome in found.items() if outcome.errors} == {}
    assert [where for where, outcome in found.items() if not outcome.rows] == []
    assert found["Open alerts by level"].columns["critical"] == "UInt64"
    assert found["Alerts"].rows == 2
    assert found["Where open alerts are"].rows == 1
    assert found["variable partner"].rows == 2


def test_every_query_runs_over_an_empty_store(engine: EngineClient) -> None:
    assert {where: outcome.errors for where, outcome in outcomes(engine).items() if outcome.errors} == {}


def test_the_selectors_select(engine: EngineClient) -> None:
    fill(engine)
    assert outcomes(engine, exercise="live")["Alerts"].rows == 1
    assert outcomes(engine, exercise="exercise")["Alerts"].rows == 1
    assert outcomes(engine, partner=["fiu-nl"])["Alerts"].rows == 0
    assert outcomes(engine, partner=["bpol-de", "o'brien"])["Alerts"].rows == 2
    assert outcomes(engine, partner=["fiu-nl"])["Age of the last event, by partner and family"].rows == 1
    assert outcomes(engine, exercise="live")["Events stored per second, by partner"].rows == 1


def value(engine: EngineClient, title: str, column: str) -> float:
    query = next(each for each in check.queries(dashboard()) if f"'{title}'" in each.where)
    window = check.Window(NOW - timedelta(hours=1), NOW + timedelta(seconds=5), timedelta(hours=24))
    sql = check.expand_macros(check.expand_variables(query.sql, check.selections(dashboard())), window)
    answer = engine.query(sql)
    return float(answer.result_rows[0][answer.column_names.index(column)])


def test_numbers_are_right(engine: EngineClient) -> None:
    fill(engine)
    assert value(engine, "Events stored per second, by partner", "events_per_second") == pytest.approx(3 / 86_400)
    assert value(engine, "Late events, by partner", "late_events") == 1
    assert value(engine, "Refused records, by reason", "records") == 2
    assert value(engine, "Consumer lag, by worker", "records") == 30
    assert value(engine, "Ingest latency", "p50") == pytest.approx(150, abs=1)
    since_import = (datetime.now(UTC) - NOW).total_seconds()
    age = value(engine, "Age of the last event, by partner and family", "age")
    assert 235 <= age - since_import <= 245


def test_macros_expand_as_the_plugin_documents() -> None:
    start, end = int(WINDOW.start.timestamp()), int(WINDOW.end.timestamp())
    assert check.expand_macros("$__timeFilter(t)", WINDOW) == f"t >= toDateTime({start}) AND t <= toDateTime({end})"
    assert check.expand_macros("$__timeInterval(t)", WINDOW) == "toStartOfInterval(toDateTime(t), INTERVAL 60 second)"
    assert check.expand_macros("$__interval_s $__fromTime", WINDOW) == f"60 toDateTime({start})"


@pytest.mark.parametrize(("sql", "says"), [("$__timeFilter()", "needs a column"), ("$__nope(x)", "not a macro")])
def test_a_wrong_macro_is_named(sql: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check.expand_macros(sql, WINDOW)


@pytest.mark.parametrize(
    ("sql", "format_", "says"),
    [
        ("SELECT nothing FROM nowhere", 1, "nowhere"),
        ("SELECT toLowCardinality('x') AS c", 1, "plugin 3.3 cannot read"),
        ("SELECT 1 AS v", 0, "needs a column of type DateTime"),
        ("SELECT now() AS t, 'x' AS label", 0, "needs a numeric column"),
        ("SELECT '${missing}' AS v", 1, "not a variable"),
    ],
)
def test_a_query_that_would_not_show_is_an_error(engine: EngineClient, sql: str, format_: int, says: str) -> None:
    outcome = check.run(engine, check.Query("here", sql, format_), WINDOW, {})
    assert len(outcome.errors) == 1
    assert says in outcome.errors[0]
