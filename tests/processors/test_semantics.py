"""The sentences of ``processors/SEMANTICS.md`` on signals and windows, each under its number."""

from __future__ import annotations

from processors.rulebook import Term
from tests.processors.by_hand import Bench, meta, rule


def test_01_a_field_with_several_values_gives_a_signal_for_each() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    assert len(bench.signals(0, "x", g=["1", "2"])) == 2
    bench.see(0, "x", g=["1", "2"])
    bench.see(1, "y", g="2")
    assert bench.open() == [["x", "y"]]


def test_02_an_event_without_the_value_gives_no_signal() -> None:
    bench = Bench(rule("value_count", "gte 1", value_fields=("v",)))
    assert not bench.signals(0, "x", g=None, v="1")
    assert not bench.signals(0, "x")
    assert bench.signals(0, "x", v="1")


def test_03_without_group_by_all_signals_form_one_group() -> None:
    bench = Bench(rule("event_count", "gte 2", group_by=()))
    bench.see(0, "x", g="1")
    bench.see(1, "y", g="2")
    assert bench.open() == [["x", "y"]]


def test_04_drills_and_live_events_never_meet() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    bench.see(0, "x")
    bench.see(1, "y", exercise=True)
    assert bench.open() == []
    (alert,) = bench.see(2, "z", exercise=True)
    assert alert.exercise
    assert bench.open() == [["y", "z"]]


def test_05_an_event_counts_once_by_partner_and_id() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    assert not bench.see(0, "x") + bench.see(0, "x")
    assert bench.see(0, "x", partner="fiu-nl")


def test_06_both_bounds_are_included_and_windows_slide() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    bench.see(5, "x")
    assert bench.see(15, "y")
    bench = Bench(rule("event_count", "gte 2"))
    bench.see(5, "x")
    assert not bench.see(15.000001, "y")


def test_07_equal_times_have_no_order() -> None:
    for first, second in (("a", "b"), ("b", "a")):
        bench = Bench(
            rule("temporal", "gte 2", bases=("a", "b")),
            rule("temporal_ordered", "gte 2", bases=("a", "b"), meta=meta("ordered"), fingerprint="ordered"),
        )
        bench.see(0, "x", first)
        assert [alert.rule.id for alert in bench.see(0, "y", second)] == ["low"]
    bench = Bench(rule("event_count", "eq 1"))
    bench.feed(bench.signals(0, "x") + bench.signals(0, "y"))
    assert bench.open() == []


def test_08_the_signals_of_a_window_that_fires_are_evidence() -> None:
    bench = Bench(rule("event_count", "gte 3"))
    for second, event in ((0, "w"), (8, "x"), (12, "y"), (18, "z"), (26, "q")):
        bench.see(second, event)
    assert bench.open() == [["x", "y", "z"]]


def test_09_all_bounds_must_hold_in_the_same_window() -> None:
    bench = Bench(rule("event_count", "gte 2", "lte 2"))
    bench.see(0, "x")
    bench.see(1, "y")
    assert bench.open() == [["x", "y"]]
    quiet = Bench(rule("event_count", "lt 2"))
    assert not quiet.pass_time(100)
    assert quiet.see(100, "x")


def test_10_an_event_that_met_two_rules_counts_once() -> None:
    bench = Bench(rule("event_count", "gte 2"))
    bench.see(0, "x", "a")
    assert not bench.see(0, "x", "b")


def test_11_value_count_counts_distinct_values_and_combinations() -> None:
    bench = Bench(rule("value_count", "gte 2", value_fields=("v",)))
    bench.see(0, "x", v="1")
    assert not bench.see(1, "y", v="1")
    assert bench.see(2, "z", v="2")
    bench = Bench(rule("value_count", "gte 3", value_fields=("v", "w")))
    for second, (v, w) in enumerate([("1", "1"), ("1", "2"), ("1", "1")]):
        bench.see(second, f"e{second}", v=v, w=w)
    assert bench.open() == []
    assert bench.see(4, "e4", v="2", w="1")


def test_12_numbers_are_exact_and_count_once_for_each_event() -> None:
    bench = Bench(rule("value_sum", "gte 30.3", value_fields=("v",)))
    bench.see(0, "x", v=10.1)
    bench.see(0, "x", v=10.1)
    bench.see(1, "y", v="no number")
    bench.see(2, "y2", v=10.1)
    assert bench.open() == []
    assert bench.see(3, "z", v="10.1")
    bench = Bench(rule("value_avg", "gt 2", value_fields=("v",)))
    assert not bench.see(0, "x", v=[1, 3])
    assert bench.see(0, "y", v=3)


def test_13_percentiles_interpolate_between_ranks() -> None:
    bench = Bench(rule("value_percentile", "eq 3.7", value_fields=("v",), percentile=90))
    for value in (1, 2, 3):
        bench.see(value, f"e{value}", v=value)
    assert bench.open() == []
    assert bench.see(4, "e4", v=4)
    median = Bench(rule("value_median", "eq 2.5", value_fields=("v",)))
    median.feed([signal for value in (4, 1, 3, 2) for signal in median.signals(value, f"e{value}", v=value)])
    assert median.open() == [["e1", "e2", "e3", "e4"]]


def test_14_without_percentile_it_is_the_share_of_a_value() -> None:
    bench = Bench(rule("value_percentile", "lte 10", value_fields=("v",)))
    bench.see(0, "rare", v="x")
    for number in range(8):
        bench.see(1, f"e{number}", v="y")
    assert bench.open() == []
    bench.see(2, "e8", v="y")
    assert bench.open() == [["rare"]]


def test_15_temporal_needs_all_rules_and_an_event_may_meet_two() -> None:
    bench = Bench(rule("temporal", "gte 3"))
    bench.see(2, "x", "b")
    bench.see(1, "y", "c")
    assert not bench.see(1, "z", "c")
    assert bench.see(0, "x2", "a")
    bench = Bench(rule("temporal", "gte 2", bases=("a", "b")))
    bench.see(0, "x", "a")
    assert bench.see(0, "x", "b")


def test_16_temporal_ordered_counts_the_longest_chain() -> None:
    bench = Bench(rule("temporal_ordered", "gte 3"))
    bench.see(0, "c", "c")
    bench.see(1, "a", "a")
    assert not bench.see(2, "b", "b")
    assert not bench.see(2, "c2", "c")
    assert bench.see(3, "c3", "c")
    two = Bench(rule("temporal_ordered", "gte 2"))
    two.see(0, "b", "b")
    assert not two.see(1, "a", "a")
    assert two.see(1, "c", "c")
    one = Bench(rule("temporal_ordered", "gte 2", bases=("a", "b")))
    one.see(0, "x", "a")
    assert not one.see(0, "x", "b")


def test_17_an_extended_condition_is_a_boolean_over_the_rules() -> None:
    tree = Term("and", ("a", Term("or", ("b", "c")), Term("not", (Term("and", ("b", "c")),))))
    bench = Bench(rule("temporal", expression=tree))
    bench.see(0, "x", "a")
    bench.see(1, "y", "b")
    assert bench.open() == [["x", "y"]]
    bench.see(1, "z", "c")
    assert bench.open() == []


def test_18_in_temporal_ordered_operands_of_and_follow_each_other() -> None:
    tree = Term("and", (Term("or", ("b", "c")), "a"))
    bench = Bench(rule("temporal_ordered", expression=tree))
    bench.see(1, "x", "a")
    assert not bench.see(2, "y", "c")
    assert bench.see(3, "z", "a")


def test_19_absence_fires_when_nothing_follows_within_the_timespan() -> None:
    absent = rule("absence", bases=("a",), absent=("b",))
    for second, fires in ((10, False), (10.5, True), (0, False), (-1, True)):
        bench = Bench(absent)
        bench.see(0, "x", "a")
        bench.see(second, "y", "b")
        bench.pass_time(11)
        assert bool(bench.open()) is fires


def test_20_absence_is_told_once_event_time_has_passed_it() -> None:
    bench = Bench(rule("absence", bases=("a",), absent=("b",)))
    bench.see(0, "x", "a")
    bench.see(5, "y", "a")
    assert not bench.pass_time(10)
    bench.pass_time(10.1)
    assert bench.open() == [["x"]]
    bench.pass_time(16)
    assert bench.open() == [["x", "y"]]


def test_21_travel_fires_where_no_one_gets_in_time() -> None:
    travel = rule("travel", timespan_s=7200, max_speed_kmh=900, min_distance_km=100)
    berlin, paris, potsdam = (52.52, 13.405), (48.857, 2.352), (52.4, 13.06)
    bench = Bench(travel)
    bench.see(0, "x", position=berlin)
    assert not bench.see(60, "y", position=potsdam)
    assert not bench.see(3660, "z", position=paris)
    bench.see(4000, "q", position=berlin)
    assert bench.open() == [["z", "q"]]
    assert not bench.signals(0, "nowhere")
