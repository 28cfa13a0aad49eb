"""The windows: laws that hold for any order of arrival, and stories that show when an alert is told."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.alerts import from_situation
from processors.correlate import MAX_EVIDENCE, Group, dump, restore
from processors.rulebook import Correlation, RuleMeta
from schemas.alerts import Alert, Evidence, Signal
from tests.processors.reference import final_alerts

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
BASES = ("base-a", "base-b", "base-c")


def correlation(type_: str, threshold: float = 2, timespan_s: int = 10, op: str = "gte") -> Correlation:
    meta = RuleMeta("rule", "rule", "Rule", "", "high", "v1")
    field = "v" if type_ == "value_count" else None
    return Correlation(meta, type_, BASES, ("entity.phone",), timespan_s, op, threshold, field)


def signal(
    second: float, event: str, base: str = "base-a", value: str | None = None, partner: str = "bpol-de"
) -> Signal:
    at = START + dt.timedelta(seconds=second)
    evidence = Evidence(
        event_id=event,
        partner=partner,
        family="tip_report",
        occurred_at=at,
        published_at=at,
        ingested_at=at,
        tlp="GREEN",
        rule_id=base,
        rule_title=base,
        topic="events.tip_report.v1",
        partition=0,
        offset=0,
    )
    text = evidence.model_dump_json().encode()
    return Signal("rule", base, {"entity.phone": "1"}, value, partner, event, at_us(second), False, False, text)


def at_us(second: float) -> int:
    return int(START.timestamp()) * 1_000_000 + round(second * 1_000_000)


def run(rule: Correlation, batches: list[list[Signal]], crash_after: set[int] = frozenset()) -> dict[str, Alert]:  # type: ignore[assignment]
    """Latest version of each alert; after the batches in ``crash_after`` the state goes through its bytes."""
    group = Group(rule, {"entity.phone": "1"}, False)
    told: dict[str, Alert] = {}
    for number, batch in enumerate(batches):
        for situation in group.add(batch):
            for alert in from_situation(group, situation, START):
                if alert.alert_id not in told or alert.version >= told[alert.alert_id].version:
                    told[alert.alert_id] = alert
        if number in crash_after:
            group = restore(rule, dump(group))
    return told


def evidence_of(told: dict[str, Alert]) -> dict[str, frozenset[tuple[str, str, str]]]:
    return {
        key: frozenset((e.partner, e.event_id, e.rule_id) for e in alert.evidence)
        for key, alert in told.items()
        if alert.status == "open"
    }


signals_strategy = st.lists(
    st.builds(
        signal,
        second=st.integers(0, 60),
        event=st.sampled_from([f"e{i}" for i in range(30)]),
        base=st.sampled_from(BASES),
        value=st.sampled_from(["x", "y", "z"]),
        partner=st.sampled_from(["bpol-de", "fiu-nl"]),
    ),
    max_size=25,
)
rules_strategy = st.builds(
    correlation,
    type_=st.sampled_from(["event_count", "value_count", "temporal"]),
    threshold=st.integers(1, 4),
    timespan_s=st.integers(1, 20),
    op=st.sampled_from(["gt", "gte"]),
)


@given(rules_strategy, signals_strategy, st.randoms(use_true_random=False), st.data())
@settings(max_examples=500, deadline=None)
def test_any_order_slicing_repetition_and_crash_ends_in_the_reference_alerts(rule, signals, random, data) -> None:  # type: ignore[no-untyped-def]
    # An event has one time: give every repetition of an id the time of the first.
    first: dict[tuple[str, str], Signal] = {}
    signals = [
        replace(each, occurred_us=same.occurred_us)
        for each in signals
        for same in [first.setdefault((each.partner, each.event_id), each)]
    ]
    expected = final_alerts(rule, signals)
    arriving = signals + [each for each in signals if random.random() < 0.3]
    random.shuffle(arriving)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(arriving)), max_size=6)))
    batches = [arriving[a:b] for a, b in itertools.pairwise([0, *cuts, len(arriving)])]
    crashes = {number for number in range(len(batches)) if random.random() < 0.3}
    told = run(rule, batches, crashes)
    assert evidence_of(told) == expected
    for number in crashes:  # at-least-once: what came after the last commit comes again
        batches.insert(number + 1, batches[number])
    assert evidence_of(run(rule, batches, crashes)) == expected


def test_bounds_of_the_window_are_inclusive() -> None:
    assert evidence_of(run(correlation("event_count"), [[signal(0, "a"), signal(10, "b")]]))
    assert not evidence_of(run(correlation("event_count"), [[signal(0, "a"), signal(10.000001, "b")]]))


def test_an_alert_is_told_again_only_when_there_is_more_to_tell() -> None:
    rule = correlation("event_count")
    group = Group(rule, {}, False)
    assert not group.add([signal(0, "a")])
    assert len(group.add([signal(1, "b")])) == 1
    assert not group.add([signal(1, "b")]), "a duplicate tells nothing new"
    assert len(group.add([signal(2, "c")])) == 1


def test_a_new_alert_begins_after_the_window_has_been_empty() -> None:
    told = run(correlation("event_count"), [[signal(s, f"e{s}")] for s in (0, 1, 30, 31)])
    assert [len(alert.evidence) for alert in told.values()] == [2, 2]


def test_a_continuing_situation_stays_one_alert() -> None:
    told = run(correlation("event_count"), [[signal(s, f"e{s}")] for s in range(0, 60, 5)])
    assert len([alert for alert in told.values() if alert.status == "open"]) == 1
    (alert,) = told.values()
    assert alert.evidence_total == alert.version == 12


def test_an_earlier_event_gives_the_alert_a_new_id_and_closes_the_old_one() -> None:
    told = run(correlation("event_count"), [[signal(5, "b"), signal(6, "c")], [signal(1, "a")]])
    old, new = told.values()
    assert (old.status, old.superseded_by) == ("superseded", new.alert_id)
    assert (new.status, new.supersedes) == ("open", [old.alert_id])
    assert new.evidence[0].event_id == "a"


def test_two_situations_that_a_late_event_joins_become_one_alert() -> None:
    pairs = [signal(0, "a"), signal(1, "b"), signal(18, "c"), signal(19, "d")]
    told = run(correlation("event_count", timespan_s=9), [pairs, [signal(10, "m")]])
    assert sorted(alert.status for alert in told.values()) == ["open", "superseded"]
    (alert,) = (alert for alert in told.values() if alert.status == "open")
    assert [each.event_id for each in alert.evidence] == ["a", "b", "m", "c", "d"]


def test_value_count_counts_values_and_not_events() -> None:
    rule = correlation("value_count", threshold=2)
    assert not evidence_of(run(rule, [[signal(0, "a", value="x"), signal(1, "b", value="x")]]))
    assert evidence_of(run(rule, [[signal(0, "a", value="x"), signal(1, "b", value="y")]]))


def test_temporal_needs_each_rule_in_any_order() -> None:
    rule = correlation("temporal", threshold=2)
    assert not evidence_of(run(rule, [[signal(0, "a", "base-a"), signal(1, "b", "base-a")]]))
    assert evidence_of(run(rule, [[signal(1, "a", "base-a"), signal(0, "b", "base-b")]]))


def test_an_event_that_meets_two_base_rules_counts_for_both_in_temporal_and_once_in_event_count() -> None:
    both = [signal(0, "a", "base-a"), signal(0, "a", "base-b")]
    assert evidence_of(run(correlation("temporal"), [both]))
    assert not evidence_of(run(correlation("event_count"), [both]))


@pytest.mark.parametrize("seconds", [11, 15])
def test_expiry_keeps_what_an_event_in_time_can_still_reach(seconds: int) -> None:
    rule = correlation("event_count")
    group = Group(rule, {}, False)
    group.add([signal(0, "a")])
    horizon = at_us(10)
    group.expire(horizon)
    assert group.add([signal(10, "b")]), "an event at the horizon reaches back a timespan"
    group = Group(rule, {}, False)
    group.add([signal(0, "a")])
    assert group.expire(at_us(seconds))
    assert not group.situations


def test_evidence_is_bounded_and_the_total_is_not() -> None:
    rule = correlation("event_count", timespan_s=1000)
    (alert,) = run(rule, [[signal(s, f"e{s:04}") for s in range(MAX_EVIDENCE + 50)]]).values()
    assert len(alert.evidence) == MAX_EVIDENCE
    assert alert.evidence_total == MAX_EVIDENCE + 50
