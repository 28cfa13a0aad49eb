"""The sentences of ``processors/SEMANTICS.md`` on alerts, chains, lateness and state, each under its number."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

import processors
from processors.correlate import MAX_EVIDENCE
from processors.rulebook import Correlation, Rulebook
from processors.times import moment
from streams.watermarks import LowWatermark, Watermarks
from tests.processors import test_semantics
from tests.processors.by_hand import NOW, Bench, meta, read_alerts, rule


def test_every_sentence_has_its_test() -> None:
    page = (Path(processors.__file__).parent / "SEMANTICS.md").read_text()
    numbers = {int(each) for each in re.findall(r"^(\d+)\. ", page, re.MULTILINE)}
    names = [*globals(), *vars(test_semantics)]
    tested = {int(each) for name in names for each in re.findall(r"^test_(\d\d)_", name)}
    assert numbers == tested


def test_22_a_situation_is_one_alert() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    for number in range(12):
        bench.see(number * 9, f"e{number:02}")
    assert len(bench.open()) == len({alert.alert_id for alert in bench.told}) == 1


def test_23_an_alert_is_told_again_only_when_its_evidence_changes() -> None:
    bench = Bench(rule("event_count", "gte 2", "lte 3"))
    assert not bench.see(0, "x")
    (first,) = bench.see(1, "y")
    assert not bench.see(1, "y")
    (second,) = bench.see(2, "z")
    assert (first.alert_id, first.version < second.version) == (second.alert_id, True)


def test_24_a_new_alert_begins_after_the_window_was_empty() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    for second in (0, 1, 11.5, 12):
        bench.see(second, f"e{second}")
    assert bench.open() == [["e0", "e1"], ["e11.5", "e12"]]
    bench = Bench(rule("event_count", "gte 2"))
    for second in (0, 1, 11, 12):
        bench.see(second, f"e{second}")
    assert len(bench.open()) == 1


def test_25_the_id_is_made_of_rule_group_drill_and_earliest_evidence() -> None:
    def told(partner: str = "bpol-de", event: str = "x", **fields: Any) -> str:
        bench = Bench(rule("event_count", "gte 2"))
        bench.see(0, event, partner=partner, **fields)
        (alert,) = bench.see(1, "y", **fields)
        return alert.alert_id

    ids = [told(), told(partner="fiu-nl"), told(event="z"), told(g="2"), told(exercise=True)]
    assert len(set(ids)) == len(ids)
    assert told() == ids[0]


def test_26_earlier_evidence_and_joined_situations_supersede() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    bench.see(5, "b")
    (old,) = bench.see(6, "c")
    new, closed = bench.see(1, "a")
    assert (closed.alert_id, closed.status, closed.superseded_by) == (old.alert_id, "superseded", new.alert_id)
    assert new.supersedes == [old.alert_id]
    for second, event in ((20, "d"), (21, "e")):
        bench.see(second, event)
    assert len(bench.open()) == 2
    bench.see(13, "between")
    assert bench.open() == [["a", "b", "c", "between", "d", "e"]]


def test_27_an_alert_whose_condition_does_not_hold_any_more_is_retracted() -> None:
    bench = Bench(rule("event_count", "lt 2"))
    (told,) = bench.see(5, "x")
    (closed,) = bench.see(5, "y")
    assert (closed.alert_id, closed.status) == (told.alert_id, "retracted")
    assert closed.version > told.version


def test_28_an_alert_shows_its_earliest_evidence_and_counts_the_rest() -> None:
    bench = Bench(rule("event_count", "gte 2", timespan_s=1000))
    bench.feed([s for n in range(MAX_EVIDENCE + 50) for s in bench.signals(n, f"e{n:04}")])
    (alert,) = bench.told
    assert [each.event_id for each in alert.evidence] == [f"e{n:04}" for n in range(MAX_EVIDENCE)]
    assert alert.evidence_total == MAX_EVIDENCE + 50
    (last,) = bench.signals(MAX_EVIDENCE + 49, "last")
    # Events of the bench are published when they occur.
    assert alert.last_event_at == alert.published_at == moment(last.occurred_us) > alert.evidence[-1].published_at


def chain(kind: Any, *bounds: str, low: Correlation | None = None, **changes: Any) -> Bench:
    low = low or rule("event_count", "gte 2", bases=("a",), alerts=False)
    high = rule(kind, *bounds, **{"meta": meta("high"), "fingerprint": "high", "depth": 2, "timespan_s": 30, **changes})
    return Bench(low, high)


def test_29_a_correlation_signals_each_firing_and_its_alert_is_one_event() -> None:
    bench = chain("temporal_ordered", "gte 2", bases=("low", "b"))
    for second in range(0, 60, 5):
        bench.see(second, f"e{second:02}")
    assert bench.open() == []
    assert bench.see(80, "after the last firing, long after the first", "b")
    count = chain("event_count", "gte 2", bases=("low",))
    for second in (0, 1, 2):
        count.see(second, f"e{second}")
    assert count.open() == []
    for second in (20, 21):
        count.see(second, f"e{second}")
    assert count.open() == [["e0", "e1", "e2", "e20", "e21"]]
    absence = chain(
        "temporal", "gte 2", bases=("low", "c"), low=rule("absence", bases=("a",), absent=("b",)), timespan_s=1
    )
    absence.see(0, "x", "a")
    absence.see(11, "y", "c")
    absence.pass_time(15)
    assert ["x", "y"] in absence.open()


def test_30_the_group_above_comes_from_the_group_below_or_the_evidence() -> None:
    bench = chain("temporal_ordered", "gte 2", bases=("low", "b"), group_by=("user",))
    bench.see(0, "x", g="host", user="eve")
    bench.see(1, "y", g="host", user="eve")
    assert not bench.see(2, "z", "b", g="other", user="bob")
    (alert,) = bench.see(3, "q", "b", g="other", user="eve")
    assert alert.group == {"user": "eve"}


def test_31_a_signal_carries_new_evidence_and_can_be_withdrawn() -> None:
    low = rule("event_count", "gte 2", "lte 2", bases=("a",), alerts=False)
    bench = chain("temporal", "gte 2", bases=("low", "c"), low=low)
    bench.see(0, "x")
    bench.see(1, "y")
    bench.see(2, "z", "c")
    assert bench.open() == [["x", "y", "z"]]
    bench.see(0.5, "makes it three")
    assert bench.open() == [["x", "makes it three", "z"]]
    bench.see(0.4, "makes it four")
    bench.see(0.3, "and five")
    bench.see(0, "six at once")
    assert bench.open() == [["six at once", "x", "z"]]
    bench.see(0, "seven at once")
    assert bench.open() == []


def test_32_a_watched_rule_is_told_only_where_generate_is_true() -> None:
    silent = chain("event_count", "gte 9", bases=("low",))
    silent.see(0, "x")
    assert not silent.see(1, "y")
    low = rule("event_count", "gte 2", bases=("a",), alerts=True)
    loud = chain("event_count", "gte 9", bases=("low",), low=low)
    loud.see(0, "x")
    assert loud.see(1, "y")


def test_33_a_late_event_joins_no_window() -> None:
    watermarks = Watermarks()
    times = np.array([10, 30, 12, 31], dtype=np.int64)
    assert watermarks.advance("t", 0, times).tolist() == [0, 0, 18, 0]
    assert watermarks.advance("t", 1, times[:1]).tolist() == [0]
    bench = Bench(rule("event_count", "gte 1", bases=("a",)), alone=("b",), lateness_s=60)
    assert bench.see(0, "x", behind_s=60)
    assert not bench.see(0, "y", behind_s=61)
    assert bench.see(0, "z", "b", behind_s=61)
    patient = Bench(rule("event_count", "gte 1", bases=("a",), allowed_lateness_s=120), lateness_s=60)
    assert patient.see(0, "y", behind_s=61)


def test_34_event_time_is_that_of_the_slowest_partition() -> None:
    low = LowWatermark({"t/0", "t/1", "t/2"})
    low.report({"t/0": 50, "t/1": None})
    assert low.value is None
    low.report({"t/2": 30})
    assert low.value == 30
    low.report({"t/2": None})
    assert low.value == 50
    low.report({"t/2": 40})
    assert low.value == 50


def test_35_state_is_given_up_when_no_event_in_time_can_reach_it() -> None:
    for second, held in ((70, 1), (70.1, 0)):
        bench = Bench(rule("event_count", "gte 2"), lateness_s=60)
        bench.see(0, "x")
        bench.pass_time(second)
        bench.correlator.forget()
        assert dict(bench.correlator.sizes())["low"] == held
        assert bool(bench.see(10, "y")) is bool(held)


def test_36_a_signal_behind_the_horizon_is_counted_as_late() -> None:
    bench = Bench(rule("event_count", "gte 1"), lateness_s=60)
    bench.pass_time(100)
    assert not bench.see(39, "x")
    assert bench.correlator.counts["late", "low"] == 1
    assert bench.see(40, "y")


def test_37_a_group_holds_so_many_signals_and_counts_the_others() -> None:
    bench = Bench(rule("event_count", "gte 1000", timespan_s=10_000, max_signals=50))
    for second in range(60):
        bench.see(second, f"e{second}")
    assert bench.correlator.counts["capped", "low"] == 10


def test_38_a_rule_holds_so_many_groups_and_counts_the_others() -> None:
    bench = Bench(rule("event_count", "gte 2", max_groups=2))
    for second, group in enumerate("312"):
        bench.see(second, f"e{group}", g=group)
    assert bench.correlator.counts["evicted", "low"] == 1
    assert dict(bench.correlator.sizes())["low"] == 2
    assert not bench.see(4, "x", g="3")
    assert bench.see(4, "y", g="2")


def test_a_rulebook_may_change_and_what_is_the_same_in_both_is_kept() -> None:
    same, other = rule("event_count", "gte 2"), rule("event_count", "gte 2", meta=meta("x"), fingerprint="x1")
    bench = Bench(same, other)
    bench.see(0, "x")
    bench.correlator.changed()
    changed = dataclasses.replace(other, fingerprint="x2")
    bench.correlator.use(Rulebook(bench.book.detections, (same, changed)))
    assert list(bench.correlator.changed()) == [("x1", "live\x1f1", 0)]
    effects = bench.correlator.add(bench.signals(1, "y"), NOW)
    assert [alert.rule.id for alert in read_alerts(effects.alerts)] == ["low"]
    assert bench.correlator.counts["stale", "x"] == 1


def test_what_a_group_no_longer_holds_is_written_after_what_it_concluded() -> None:
    bench = Bench(rule("event_count", "gte 2"), lateness_s=5)
    bench.see(0, "x")
    (first,) = bench.see(1, "y")
    bench.see(24, "keeps the group alive")
    bench.pass_time(30)
    bench.correlator.changed()
    bench.see(33, "touches it when the first situation is out of reach")
    (state,) = bench.correlator.changed().values()
    assert state is not None
    assert first.alert_id.encode() in state, "a worker that takes over now can still tell it"
    (state,) = bench.correlator.forget()[0].values()
    assert state is not None
    assert first.alert_id.encode() not in state
