"""A storm: everybody is told once, and the work grows with what comes, not with what is there."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from types import FrameType
from typing import Any

from processors.lifecycle.engine import Lifecycle
from tests.processors.lifecycle.rota import rota
from tests.processors.lifecycle.timeline import START, make_alert

GROUPS = 30


def storm(engine: Lifecycle, versions: int) -> int:
    """Bytes written by that many versions of alerts within a minute."""
    size = 0
    for number in range(versions):
        now = START + dt.timedelta(seconds=60 * number / versions)
        alert = make_alert(f"alert-{number % (versions // 2)}", 1 + number, now, group={"place": str(number % GROUPS)})
        for effects in (engine.on_alert(alert, now), engine.tick(now)):
            size += sum(len(value or b"") for value in effects.records.values())
    return size


def test_everybody_gets_one_first_message_for_each_situation() -> None:
    engine = Lifecycle(rota())
    storm(engine, 2000)
    engine.tick(START + dt.timedelta(minutes=2))
    firsts = [each for each in engine.notifications.values() if each.kind == "first"]
    assert Counter((each.group_key, each.person) for each in firsts) == {
        (key, "mira"): 1 for key in {each.group_key for each in engine.states.values()}
    }
    assert len(firsts) == GROUPS
    engine.tick(START + dt.timedelta(minutes=10))
    told = {alert for each in engine.notifications.values() for alert in each.alert_ids}
    assert told == set(engine.states)


def test_the_work_grows_with_what_comes() -> None:
    small, large = cost(1000), cost(4000)
    assert large[0] < 6 * small[0], "calls"
    assert large[1] < 6 * small[1], "bytes"


def cost(versions: int) -> tuple[int, int]:
    """Calls of functions and bytes written; counted, as time depends on who else works on the machine."""
    calls = 0

    def count(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    engine = Lifecycle(rota())
    sys.setprofile(count)
    try:
        size = storm(engine, versions)
    finally:
        sys.setprofile(None)
    return calls, size
