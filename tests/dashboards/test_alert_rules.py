"""Alert rules about the platform: that their queries run, what fires and what does not, and the files they stand in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from dashboards.grafana import build, check, provisioned
from dashboards.grafana.alert_rules import RULES, Rule
from dashboards.grafana.macros import PLUGIN_4_ONLY, Window, expand
from schemas.alerts import LEVELS
from tests.dashboards.engine import EngineClient, Json, iso

NOW = datetime.now(UTC)
BY_UID = {rule.uid: rule for rule in RULES}
FILES = {str(path): yaml.safe_load(text) for path, text in provisioned.files().items()}


def numbers(engine: EngineClient, uid: str) -> dict[tuple[str, ...], float]:
    """The number of each row by its texts, as Grafana makes alerts of them."""
    rule = BY_UID[uid]
    # What is put in now lies within: a window ends with the second.
    end = datetime.now(UTC) + timedelta(seconds=2)
    answer = engine.query(expand(rule.sql, Window(end - timedelta(seconds=rule.window_s), end), {}))
    return {tuple(row[:-1]): float(row[-1]) for row in answer.result_rows}


def sample(metric: str, value: float, worker: str = "w-0", ago_s: float = 5, **labels: str) -> Json:
    at = iso(datetime.now(UTC) - timedelta(seconds=ago_s))
    return {"sampled_at": at, "worker": worker, "metric": metric, "labels": labels, "value": value}


def events(partner: str, minutes_ago: list[int], latency_ms: int = 100, each: int = 1) -> list[Json]:
    rows = []
    for ago in minutes_ago:
        at = datetime.now(UTC) - timedelta(minutes=ago)
        times = {"occurred_at": iso(at), "published_at": iso(at - timedelta(milliseconds=latency_ms))}
        rows += [
            {
                "event_id": f"{partner}-{ago}-{number}",
                "partner": partner,
                "family": "tip_report",
                "ingested_at": iso(at),
            }
            | times
            | {"retain_days": 30}
            for number in range(each)
        ]
    return rows


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.uid)
def test_a_query_gives_texts_and_one_number(engine: EngineClient, rule: Rule) -> None:
    query = next(each for each in check.alert_queries() if rule.title in each.where)
    outcome = check.run(engine, query, Window(NOW - timedelta(seconds=rule.window_s), NOW), {})
    assert outcome.errors == ()
    kinds = list(outcome.columns.values())
    assert kinds[-1] == "Float64"
    assert set(kinds[:-1]) <= {"String"}
    assert not [macro for macro in PLUGIN_4_ONLY if f"$__{macro}(" in rule.sql]


def test_lag_is_of_the_newest_sample_of_each_partition(engine: EngineClient) -> None:
    lag = "tocsin_consumer_lag"
    engine.insert(
        "pipeline_metrics",
        [
            # A rebalance moved partition 0: what the worker said that had it before does not count.
            sample(lag, 90_000, "ingest-0", 60, topic="events.tip_report.v1", partition="0"),
            sample(lag, 10, "ingest-1", 5, topic="events.tip_report.v1", partition="0"),
            sample(lag, 30, "ingest-0", 5, topic="events.tip_report.v1", partition="1"),
            sample(lag, 60_000, "correlate-0", 5, topic="signals.v1", partition="0"),
            sample(lag, 99_999, "ingest-0", 300, topic="events.heartbeat.v1", partition="0"),
        ],
    )
    assert numbers(engine, "tocsin-consumer-lag") == {("events.tip_report.v1",): 40, ("signals.v1",): 60_000}


def test_a_feed_is_silent_by_its_own_measure(engine: EngineClient) -> None:
    rows = events("busy", list(range(12, 40))) + events("steady", list(range(0, 40)))
    rows += events("seldom", list(range(45, 800, 30))) + events("new", [30, 31])
    engine.insert("events", rows)
    found = {partner: seconds for (partner, _), seconds in numbers(engine, "tocsin-silent-feed").items()}
    # Busy comes every minute and stopped twelve minutes ago; seldom comes twice an hour; new is not known yet.
    assert found["busy"] == pytest.approx(720, abs=60)
    assert (found["steady"], found["seldom"], "new" in found) == (0, 0, False)


def test_the_share_of_refused_records_needs_some_records(engine: EngineClient) -> None:
    at = iso(datetime.now(UTC) - timedelta(minutes=2))

    def refused(count: int) -> list[Json]:
        place = {"topic": "t", "partition": 0, "quarantined_at": at, "kafka_at": at}
        return [place | {"offset": number, "reason": "undecodable"} for number in range(count)]

    assert numbers(engine, "tocsin-quarantine-rate") == {(): 0}
    engine.insert("quarantine", refused(20))
    assert numbers(engine, "tocsin-quarantine-rate") == {(): 0}
    engine.insert("events", events("fiu-nl", [2], each=180))
    assert numbers(engine, "tocsin-quarantine-rate") == {(): 0.1}


def test_latency_is_the_99th_percentile_of_enough_events(engine: EngineClient) -> None:
    engine.insert("events", events("fiu-nl", [1], latency_ms=9_000, each=10))
    assert numbers(engine, "tocsin-latency-objective") == {}
    engine.insert("events", events("bpol-de", [1], latency_ms=3_000, each=190))
    assert numbers(engine, "tocsin-latency-objective")[()] > 2_000


def test_the_watchdog_is_as_old_as_the_worker_says_that_heard_it_last(engine: EngineClient) -> None:
    age = "tocsin_watchdog_age_seconds"
    # No row, so that Grafana takes it for no data, which this rule takes for the worst.
    assert numbers(engine, "tocsin-watchdog-missing") == {}
    assert BY_UID["tocsin-watchdog-missing"].blind == "Alerting"
    engine.insert("pipeline_metrics", [sample(age, 900, "lifecycle-1"), sample(age, 12, "lifecycle-0")])
    assert numbers(engine, "tocsin-watchdog-missing") == {(): 12}


def test_the_committed_files_are_the_built_ones() -> None:
    assert provisioned.stale(build.PROVISIONING) == [], "run: tocsin dashboards build"


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    return [text for each in value for text in strings(each)] if isinstance(value, list) else [str(value)]


def test_rules_are_whole_and_keep_clear_of_grafanas_variables() -> None:
    (group,) = FILES["alerting/rules.yaml"]["groups"]
    assert len(group["rules"]) == len({rule["uid"] for rule in group["rules"]}) == 5
    for rule in group["rules"]:
        assert rule["uid"].startswith("tocsin-")
        assert len(rule["uid"]) <= 40
        assert rule["labels"]["tocsin"] == "platform"
        assert rule["labels"]["level"] in LEVELS
        assert [each["refId"] for each in rule["data"]] == ["A", "B", "C"]
        assert [each["model"].get("expression") for each in rule["data"]] == [None, "A", "B"]
        # In a provisioning file $x is a variable of the environment everywhere but within a query.
        outside = {name: value for name, value in rule.items() if name != "data"}
        assert "$" not in "".join(strings(outside))


def test_the_files_name_each_other() -> None:
    (source,) = FILES["datasources/tocsin.yaml"]["datasources"]
    (group,) = FILES["alerting/rules.yaml"]["groups"]
    (point,) = FILES["alerting/contact_point.yaml"]["contactPoints"]
    (policy,) = FILES["alerting/policy.yaml"]["policies"]
    (provider,) = FILES["dashboards/tocsin.yaml"]["providers"]
    asked = {each["datasourceUid"] for rule in group["rules"] for each in rule["data"]}
    assert asked == {source["uid"], "__expr__"}
    assert policy["receiver"] == point["name"]
    assert group["folder"] == provider["folder"]
    assert source["isDefault"] is False, "a Grafana that others use keeps its own default"


def test_no_secret_is_in_a_file() -> None:
    (source,) = FILES["datasources/tocsin.yaml"]["datasources"]
    (point,) = FILES["alerting/contact_point.yaml"]["contactPoints"]
    assert source["secureJsonData"] == {"password": "$TOCSIN_CLICKHOUSE_READER_PASSWORD"}
    assert source["jsonData"]["username"] == "$TOCSIN_CLICKHOUSE_READER_USER"
    assert point["receivers"][0]["settings"]["authorization_credentials"] == "$TOCSIN_GRAFANA_DESK_TOKEN"
