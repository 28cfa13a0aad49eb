"""Alerts about feeds: silence, refused records, and that each is told once and taken back."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from processors.feeds import ERROR_RATE, FEED_SILENT, Feed, Known, Reading, feed_alerts, known_alerts
from schemas.alerts import Alert
from schemas.partners import Partner, Partners

START = dt.datetime(2026, 3, 29, 0, 30, tzinfo=dt.UTC)
INTERVAL_S = 60


def partner(name: str) -> Partner:
    return Partner(
        id=name,
        name=f"Office {name}",
        country="NL",
        kind="tip-line",
        kafka_principal=f"User:{name}",
        families=("tip_report", "heartbeat"),
        quota_events_per_s=100,
        expected_interval_s=INTERVAL_S,
        error_rate_limit=0.1,
        contact="desk@example.test",
    )


def partners(*names: str) -> Partners:
    return Partners(Path("partners.yml"), {name: partner(name) for name in names})


BOTH = partners("north", "south")


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


class Desk:
    """Looks at the feeds time after time and remembers what it told."""

    def __init__(self, listening_since: dt.datetime | None = START - dt.timedelta(days=1)) -> None:
        self.listening_since = listening_since
        self.told: dict[str, Alert] = {}

    def known(self) -> list[Known]:
        return known_alerts([], self.told.values())

    def look(self, seconds: float, *feeds: Feed, among: Partners = BOTH) -> list[Alert]:
        found = feed_alerts(Reading(feeds, self.listening_since), among, at(seconds), self.known())
        self.told.update((each.alert_id, each) for each in found)
        return found

    def lasting(self, rule_id: str) -> list[str]:
        return [
            each.group["partner"] for each in self.told.values() if each.status == "open" and each.rule.id == rule_id
        ]


def test_a_feed_falls_silent_speaks_and_falls_silent_again() -> None:
    desk = Desk()
    assert desk.look(50, Feed("north", at(0)), Feed("south", at(50))) == []
    assert desk.look(60, Feed("north", at(0)), Feed("south", at(50))) == []
    (alert,) = desk.look(61, Feed("north", at(0)), Feed("south", at(50)))
    assert (alert.kind, alert.status, alert.version, alert.partners) == ("platform", "open", 1, ["north"])
    assert alert.rule.id == FEED_SILENT
    assert alert.first_event_at == at(0)
    assert "Office north (north) since 2026-03-29 00:30:00 UTC" in alert.story
    assert desk.look(71, Feed("north", at(0)), Feed("south", at(70))) == []

    (back,) = desk.look(95, Feed("north", at(90)), Feed("south", at(90)))
    assert (back.alert_id, back.version, back.status) == (alert.alert_id, 2, "retracted")
    assert back.created_at == alert.created_at
    assert desk.look(105, Feed("north", at(90)), Feed("south", at(90))) == []

    (again, other) = desk.look(160, Feed("north", at(90)), Feed("south", at(91)))
    assert again.alert_id != alert.alert_id
    assert other.partners == ["south"]


def test_whoever_looks_again_tells_the_same_alert() -> None:
    (first,) = Desk().look(100, Feed("north", at(0)))
    (second,) = Desk().look(170, Feed("north", at(0)))
    assert first.alert_id == second.alert_id


def test_one_that_was_never_heard_is_not_missed() -> None:
    assert Desk().look(100_000, Feed("north", None, 0, 3)) == []
    assert Desk().look(100_000) == []


def test_nobody_is_silent_while_ingest_does_not_listen() -> None:
    deaf = Desk(listening_since=None)
    assert deaf.look(100_000, Feed("north", at(0))) == []
    back = Desk(listening_since=at(1000))
    assert back.look(1030, Feed("north", at(0))) == []
    (alert,) = back.look(1061, Feed("north", at(0)))
    assert alert.first_event_at == at(0)
    back.listening_since = at(2000)
    assert back.look(2001, Feed("north", at(0))) == [], "a restart neither repeats nor takes back"


def test_refused_records_are_an_alert_beyond_the_limit_and_not_before_there_are_twenty() -> None:
    desk = Desk()
    assert desk.look(10, Feed("north", at(9), accepted=1, refused=18)) == []
    assert desk.look(20, Feed("north", at(19), accepted=18, refused=2)) == []
    (alert,) = desk.look(30, Feed("north", at(29), accepted=17, refused=3))
    assert (alert.rule.id, alert.group) == (ERROR_RATE, {"partner": "north"})
    assert "3 of the 20 records" in alert.story
    assert "15.0%" in alert.story
    assert desk.look(40, Feed("north", at(39), accepted=10, refused=30)) == []
    (back,) = desk.look(50, Feed("north", at(49), accepted=400, refused=30))
    assert (back.alert_id, back.version, back.status) == (alert.alert_id, 2, "retracted")
    (again,) = desk.look(400, Feed("north", at(399), accepted=1, refused=40))
    assert again.alert_id != alert.alert_id


def test_a_partner_that_left_the_file_is_no_longer_missed() -> None:
    desk = Desk()
    desk.look(100, Feed("north", at(0)))
    (back,) = desk.look(110, Feed("north", at(0)), among=partners("south"))
    assert back.status == "retracted"
    assert desk.look(120, Feed("north", at(0)), among=partners("south")) == []


def test_of_the_state_and_what_was_told_since_the_later_version_counts() -> None:
    desk = Desk()
    (alert,) = desk.look(100, Feed("north", at(0)))
    (back,) = desk.look(130, Feed("north", at(120)))
    for order in ([alert, back], [back, alert]):
        (known,) = known_alerts([], order)
        assert known.withdrawn


@given(
    gaps=st.lists(st.integers(1, 200), min_size=1, max_size=20),
    looks=st.lists(st.integers(1, 40), min_size=1, max_size=60),
)
def test_an_alert_lasts_just_while_the_feed_is_silent(gaps: list[int], looks: list[int]) -> None:
    """At every look: told as silent, once, if and only if nothing was heard for longer than agreed."""
    heard, moment = [0], 0
    for gap in gaps:
        heard.append(heard[-1] + gap)
    desk = Desk()
    for step in looks:
        moment += step
        last = max(each for each in heard if each <= moment)
        desk.look(moment, Feed("north", at(last)))
        silent = moment - last > INTERVAL_S
        assert desk.lasting(FEED_SILENT) == (["north"] if silent else [])
