"""The bench's rules: seeded, selective, drawn fast, and understood alike by Tocsin's loader and the peers' closures."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deploy.bench import workload
from deploy.bench.job import by_value, one_by_one
from deploy.bench.workload import CORRELATIONS, FAMILIES, SUBJECT, draw, sample, write_rules
from processors.rule_files import load

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def events() -> Events:
    """Traffic that the rules were not drawn from, by family."""
    return sample(7, 20_000)


@pytest.mark.parametrize("count", [10, 100, 3_000])
def test_one_to_three_percent_of_other_traffic_meet_a_rule(tmp_path: Path, events: Events, count: int) -> None:
    book = load([write_rules(tmp_path, count, 7)])
    assert (len(book.detections), len(book.correlations)) == (count, 10)
    tests = {family: by_value([each for each in book.detections if each.family == family]) for family in FAMILIES}
    met = sum(bool(tests[family](event)) for family, event in events)
    assert 0.01 <= met / len(events) <= 0.03


def test_three_thousand_rules_take_seconds() -> None:
    started = time.process_time()
    assert len({f"{family}{condition}" for family, condition in draw(3_000, 7)}) == 3_000
    assert time.process_time() - started < 20


def test_every_rule_is_watched_by_one_correlation(tmp_path: Path) -> None:
    book = load([write_rules(tmp_path, 100, 7)])
    assert {each.meta.id: len(book.watchers[each.meta.id]) for each in book.detections} == {
        each.meta.id: 1 for each in book.detections
    }
    assert Counter(each.type for each in book.correlations) == Counter(each["type"] for each in CORRELATIONS)
    assert all(len(each.bases) == 10 for each in book.correlations)


def test_every_event_has_what_the_correlations_group_by(events: Events) -> None:
    for family, event in events[:5_000]:
        assert event[SUBJECT[family]]
        assert event["header"]["partner"]
        assert event["header"]["source_system"]
        assert event["header"]["handling"]["tlp"]


def test_rules_found_by_value_are_those_found_one_by_one(tmp_path: Path, events: Events) -> None:
    book = load([write_rules(tmp_path, 500, 7)])
    for family in FAMILIES:
        rules = [each for each in book.detections if each.family == family]
        slow, fast = one_by_one(rules), by_value(rules)
        for _, event in (each for each in events[:10_000] if each[0] == family):
            assert sorted(slow(event)) == sorted(fast(event))


def test_the_same_seed_gives_the_same_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Little traffic, for it is made anew each time.
    monkeypatch.setattr(workload, "SAMPLE", 4_000)
    first, other, again = (
        (write_rules(tmp_path / str(number), 50, seed) / "bench.yml").read_bytes()
        for number, seed in enumerate((8, 9, 8))
    )
    assert first == again != other
