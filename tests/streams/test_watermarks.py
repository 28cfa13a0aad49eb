"""Lag in event time, also across crashes, and what the slowest partition allows to be forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.watermarks import SECOND_US, LowWatermark, Watermarks

WHERE = ("events.tip_report.v1", 0)
TIMES = st.lists(st.integers(-50, 50).map(lambda seconds: seconds * SECOND_US), max_size=40)


def behind(marks: Watermarks, times: list[int]) -> list[int]:
    return marks.advance(*WHERE, np.array(times, dtype=np.int64)).tolist()  # type: ignore[no-any-return]


def by_definition(times: list[int]) -> list[int]:
    return [max(times[: n + 1]) - time for n, time in enumerate(times)]


@given(TIMES, st.data())
def test_lateness_does_not_depend_on_batches_and_crashes(times: list[int], data: st.DataObject) -> None:
    """Work is cut into batches; some are committed with their metadata, then a crash throws back to the last commit,
    from which another worker reads on in other batches. Every reading of an event gives the same."""
    wanted = by_definition(times)
    marks = Watermarks()
    position = committed = 0
    metadata = marks.metadata(*WHERE)
    crashes = 0
    while position < len(times):
        end = data.draw(st.integers(position + 1, len(times)), label="batch end")
        assert behind(marks, times[position:end]) == wanted[position:end]
        ends = marks.metadata(*WHERE)
        position = end
        if data.draw(st.booleans(), label="commit"):
            committed, metadata = position, ends
        if crashes < 5 and data.draw(st.booleans(), label="crash"):
            crashes += 1
            marks = Watermarks()
            marks.restore(*WHERE, metadata)
            position = committed


@pytest.mark.parametrize("text", ["", "by another program", "[]", "null", '{"watermark_us": "soon"}', "{}"])
def test_foreign_metadata_says_nothing(text: str) -> None:
    marks = Watermarks()
    behind(marks, [100 * SECOND_US])
    marks.restore(*WHERE, text)
    assert behind(marks, [0]) == [0]


def test_the_low_watermark_waits_for_every_partition() -> None:
    low = LowWatermark({"a/0", "a/1", "b/0"})
    low.report({"a/0": 50, "a/1": 30})
    assert low.value is None
    low.report({"b/0": None})
    assert low.value == 30


def test_idle_partitions_do_not_hold_it_back_and_it_never_goes_back() -> None:
    low = LowWatermark({"a/0", "a/1"})
    low.report({"a/0": 50, "a/1": 30})
    low.report({"a/1": None})
    assert low.value == 50
    low.report({"a/1": 40})
    assert low.value == 50
    low.report({"a/0": None, "a/1": None})
    assert low.value == 50
    low.report({"a/0": 60, "a/1": 70})
    assert low.value == 60


def test_only_idle_partitions_say_nothing_about_time() -> None:
    low = LowWatermark({"a/0"})
    low.report({"a/0": None})
    assert low.value is None
    low.report({"a/0": 7})
    assert low.value == 7


def test_a_partition_that_nobody_expected_counts_too() -> None:
    low = LowWatermark({"a/0"})
    low.report({"a/0": 50, "a/9": 10})
    assert low.value == 10


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), st.none() | st.integers(0, 99), min_size=1)))
def test_the_low_watermark_is_never_ahead_of_a_partition_when_it_moves(reports: list[dict[str, int | None]]) -> None:
    low, latest, before = LowWatermark({"a", "b"}), dict[str, int | None](), None
    for report in reports:
        low.report(report)
        latest |= report
        if low.value != before:
            assert set(latest) == {"a", "b"}
            assert low.value == min(each for each in latest.values() if each is not None)
            assert before is None or (low.value is not None and low.value > before)
        before = low.value
