"""When the correlation worker tells an alert that grows."""

from __future__ import annotations

import dataclasses

from processors.alerts import Draft
from processors.correlate import MAX_EVIDENCE
from processors.correlate_worker import RETELL_FULL_S, RETELL_S, Pace
from tests.processors.by_hand import NOW, Bench, rule


def versions(count: int) -> list[Draft]:
    """One alert at each stage of its growth."""
    bench = Bench(rule("event_count", "gte 2"))
    seen = [bench.signals(second, f"e{second}") for second in range(count + 1)]
    return [draft for signals in seen for draft in bench.correlator.add(signals, NOW).alerts]


def test_an_alert_that_grows_waits_and_then_its_latest_version_is_told() -> None:
    pace = Pace()
    one, two, three = versions(3)
    assert pace.due([one], 100.0) == [one]
    assert pace.due([two], 100.1) == []
    assert pace.due([three], 100.2) == []
    assert pace.due([], 100.2 + RETELL_S) == [three]
    assert pace.due([], 200.0) == []


def test_an_alert_that_goes_on_growing_is_told_again_and_again() -> None:
    pace = Pace()
    told = [number for number, alert in enumerate(versions(40)) if pace.due([alert], number * RETELL_S / 5.5)]
    assert told == list(range(0, 40, 6))


def test_an_alert_that_shows_all_it_can_is_told_every_other_second() -> None:
    pace = Pace()
    *_, before, full = versions(MAX_EVIDENCE + 2)
    assert full.full
    assert not versions(3)[-1].full
    assert pace.due([before], 0.0) == [before]
    assert pace.due([full], RETELL_FULL_S - 0.01) == []
    assert pace.due([], RETELL_FULL_S) == [full]


def test_the_last_word_does_not_wait() -> None:
    pace = Pace()
    one, two = versions(2)
    pace.due([one], 100.0)
    closed = dataclasses.replace(two, status="retracted")
    assert pace.due([closed], 100.1) == [closed]


def test_what_waits_is_told_before_its_state_is_given_up() -> None:
    pace = Pace()
    one, two = versions(2)
    pace.due([one], 100.0)
    assert pace.due([two], 100.1) == []
    assert pace.due([], 100.1, at_once={two.alert_id}) == [two]
