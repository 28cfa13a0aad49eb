"""Which past alerts are like one: the ranking, and the question to the real engine behind it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from dashboards.alerts import Store
from dashboards.desk import queries
from dashboards.desk.similar import Candidate, rank, values_of, verdicts
from tests.dashboards.desk.pages import sample
from tests.dashboards.desk.pages.sample import as_alert, noon
from tests.dashboards.engine import EngineClient

VANISHED = as_alert(sample.records(noon())[0])
OTHER = Candidate("x", "another-rule", "Another", "high", False, "", {}, (), noon())
SAME_GROUP = replace(
    OTHER,
    alert_id="same-group",
    rule_id=VANISHED.rule.id,
    group=VANISHED.group,
    shared_values=("X1234567",),
    verdict="true_positive",
)
SHARES_TWO = replace(OTHER, alert_id="shares-two", shared_values=("JANSEN, MILA", "+49 30 5550143"), verdict="benign")
SAME_EVENTS = replace(OTHER, alert_id="same-events", shared_events=2)
SAME_RULE = replace(OTHER, alert_id="same-rule", rule_id=VANISHED.rule.id)
NOTHING = replace(OTHER, alert_id="nothing", exercise=True)


def test_the_more_telling_the_higher() -> None:
    found = rank(VANISHED, [NOTHING, SAME_RULE, SAME_EVENTS, SHARES_TWO, SAME_GROUP])
    assert [each.alert.alert_id for each in found] == ["same-group", "shares-two", "same-events", "same-rule"]
    assert [each.reasons for each in found] == [
        ("same rule, same document_number",),
        ("also names JANSEN, MILA, +49 30 5550143",),
        ("rests on 2 of the same events",),
        ("same rule",),
    ]


def test_of_equals_the_latest_comes_first_and_drills_after_live_ones() -> None:
    older = replace(SAME_RULE, alert_id="older", last_event_at=noon() - timedelta(days=3))
    drill = replace(SAME_RULE, alert_id="drill", exercise=True)
    found = rank(VANISHED, [drill, older, SAME_RULE])
    assert [each.alert.alert_id for each in found] == ["same-rule", "older", "drill"]


def test_the_alert_is_not_like_itself() -> None:
    assert rank(VANISHED, [replace(SAME_GROUP, alert_id=VANISHED.alert_id)]) == []


def test_how_they_ended_in_a_sentence() -> None:
    assert verdicts([]) == "No earlier alert is like this one."
    found = rank(VANISHED, [SAME_GROUP, SHARES_TWO, SAME_RULE])
    assert verdicts(found) == ("3 similar alerts: 1 closed as true positive, 1 closed as benign, 1 not closed.")


def test_short_values_are_no_lead() -> None:
    record = sample.records(noon())[0] | {"group": {"country": "DE", "document_number": "X1234567"}}
    assert values_of(as_alert(record))[0] == "X1234567"
    assert "DE" not in values_of(as_alert(record))


def test_the_store_finds_what_shares_values_events_or_the_rule(engine: EngineClient, store: Store) -> None:
    made = sample.records(noon())
    sample.put_alerts(engine, made)
    found = {each.alert_id: each for each in queries.candidates(store, VANISHED)}
    assert set(found) == {sample.TWO_BORDERS, sample.EARLIER, sample.DRILL}
    assert "X1234567" in found[sample.TWO_BORDERS].shared_values
    assert found[sample.EARLIER].shared_values == ("+49 30 5550143",)
    assert found[sample.DRILL].shared_values == ()
    assert [each.alert.alert_id for each in rank(VANISHED, found.values())][-1] == sample.DRILL


def test_hostile_values_are_only_values(engine: EngineClient, store: Store) -> None:
    made = sample.records(noon())
    hostile = "'); DROP TABLE alerts; -- \\ \" {x:String} %s"
    made[1]["group"] = {"document_number": hostile}
    made[1]["evidence"][0]["matched"] = {"document": hostile}
    sample.put_alerts(engine, made)
    asked = as_alert(made[0] | {"group": {"document_number": hostile}})
    found = {each.alert_id: each for each in queries.candidates(store, asked)}
    assert hostile in found[sample.TWO_BORDERS].shared_values
