"""What becomes of Grafana's alerts: one platform alert for each firing, taken back once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from processors.grafana_alerts import GrafanaAlert, GrafanaNotification, known_alerts, platform_alerts
from schemas.alerts import Alert

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
NOW = START + timedelta(minutes=2)


def grafana(
    status: str = "firing", fingerprint: str = "c6eadffa33fcdf37", start: datetime = START, **labels: str
) -> Any:
    return GrafanaAlert.model_validate(
        {
            "status": status,
            "labels": {"alertname": "Consumer lag", "grafana_folder": "Tocsin", "level": "high", "tocsin": "platform"}
            | labels,
            "annotations": {"summary": "60,000 records of events.tip_report.v1 wait.", "response": "Add a worker."},
            "startsAt": start.isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": fingerprint,
            "values": {"B": 60000},
        }
    )


def tell(received: Iterable[GrafanaAlert], told: Iterable[Alert] = (), now: datetime = NOW) -> list[Alert]:
    return platform_alerts(list(received), known_alerts((), told), now)


def test_a_firing_is_told_once_and_taken_back_when_it_is_resolved() -> None:
    (raised,) = tell([grafana(topic="events.tip_report.v1")])
    assert (raised.kind, raised.status, raised.version, raised.level) == ("platform", "open", 1, "high")
    assert raised.rule.id == "tocsin.grafana.consumer_lag"
    assert raised.rule.response == "Add a worker."
    assert raised.story == "60,000 records of events.tip_report.v1 wait."
    assert raised.group == {"topic": "events.tip_report.v1"}
    assert raised.first_event_at == START
    assert tell([grafana()], [raised], NOW + timedelta(hours=4)) == []

    later = NOW + timedelta(minutes=9)
    # Grafana may give a resolved alert the time at which it was resolved for a start.
    (over,) = tell([grafana("resolved", start=later)], [raised], later)
    assert (over.alert_id, over.version, over.status) == (raised.alert_id, 2, "retracted")
    assert (over.created_at, over.updated_at, over.first_event_at) == (raised.created_at, later, START)
    assert tell([grafana("resolved")], [over], later) == []
    assert tell([grafana()], [over], later) == [], "a late repetition of what is over"

    (again,) = tell([grafana(start=later)], [over], later)
    assert again.alert_id != raised.alert_id
    assert again.version == 1


def test_what_is_resolved_and_was_never_told_is_nothing() -> None:
    assert tell([grafana("resolved")]) == []
    (other,) = tell([grafana(fingerprint="bc97ff14869b13e3")])
    assert tell([grafana("resolved")], [other]) == []


def test_a_query_that_fails_names_its_rule_and_a_partner_is_the_alerts() -> None:
    (failed,) = tell([grafana(alertname="DatasourceError", rulename="Consumer lag", datasource_uid="x", ref_id="A")])
    assert failed.rule.title == "Consumer lag: DatasourceError"
    assert failed.group == {}
    (silent,) = tell([grafana(partner="fiu-nl", level="loud")])
    assert silent.partners == ["fiu-nl"]
    assert silent.level == "medium"


def test_a_whole_notification_is_read() -> None:
    body = """{"receiver": "Tocsin", "status": "firing", "orgId": 1, "version": "1", "state": "alerting",
        "alerts": [{"status": "firing", "labels": {"alertname": "Watchdog missing"}, "annotations": null,
            "startsAt": "2026-03-01T13:00:00.123456789+01:00", "endsAt": "0001-01-01T00:00:00Z", "values": null,
            "generatorURL": "http://grafana:3000/alerting/grafana/tocsin-watchdog-missing/view?orgId=1",
            "fingerprint": "bc97ff14869b13e3", "silenceURL": "", "dashboardURL": "", "panelURL": ""}],
        "groupLabels": {"alertname": "Watchdog missing"}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://grafana:3000/", "groupKey": "{}:{}", "truncatedAlerts": 0, "title": "x"}"""
    (alert,) = tell(GrafanaNotification.model_validate_json(body).alerts)
    assert alert.first_event_at == START
    assert alert.story == "Watchdog missing"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"status": "burning"}, "status"),
        ({"startsAt": "2026-03-01T12:00:00"}, "startsAt"),
        ({"fingerprint": "../../etc"}, "fingerprint"),
        ({"labels": {"alertname": 7}}, "alertname"),
        ({"labels": {str(number): "" for number in range(65)}}, "labels"),
    ],
)
def test_a_bad_payload_names_the_field(changes: dict[str, Any], field: str) -> None:
    good = grafana().model_dump(mode="json", by_alias=True)
    GrafanaNotification.model_validate({"alerts": [good]})
    with pytest.raises(ValidationError) as refused:
        GrafanaNotification.model_validate({"alerts": [good | changes]})
    assert field in refused.value.errors()[0]["loc"]


steps = st.lists(
    st.tuples(st.sampled_from(["firing", "resolved"]), st.sampled_from(["aa", "bb", "cc"]), st.integers(0, 3)),
    max_size=20,
)


@given(steps)
def test_whatever_comes_at_most_one_alert_a_fingerprint_is_open_and_versions_only_grow(
    story: list[tuple[str, str, int]],
) -> None:
    latest: dict[str, Alert] = {}
    of: dict[str, str] = {}
    for minute, (status, fingerprint, start) in enumerate(story):
        received = [grafana(status, fingerprint, START + timedelta(hours=start))]
        now = NOW + timedelta(minutes=minute)
        found = tell(received, latest.values(), now)
        for alert in found:
            before = latest.get(alert.alert_id)
            assert alert.version == (before.version + 1 if before else 1)
            latest[alert.alert_id], of[alert.alert_id] = alert, fingerprint
        assert tell(received, latest.values(), now) == [], "saying it twice changes nothing"
        open_now = [of[key] for key, each in latest.items() if each.status == "open"]
        assert len(open_now) == len(set(open_now))
        if status == "resolved":
            assert fingerprint not in open_now
