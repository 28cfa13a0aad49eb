"""Laws that hold for any sequence of inputs, and that no crash may break."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.lifecycle.effects import Effects
from processors.lifecycle.engine import Lifecycle
from processors.lifecycle.groups import is_pressing, is_untold
from processors.lifecycle.roster import InhibitRule
from schemas.alerts import Alert
from schemas.lifecycle import Command, Matcher, Silence
from tests.processors.lifecycle.rota import rota
from tests.processors.lifecycle.timeline import START, make_alert

NAMES = ("a", "b", "c", "d", "e")
VERBS = ("acknowledge", "unacknowledge", "assign", "start", "note", "close", "reopen", "merge", "split")
ROSTER = rota(
    inhibit_rules=(
        InhibitRule(
            "critical first",
            (Matcher(field="level", value="critical"),),
            (Matcher(field="level", op="!=", value="critical"),),
            ("group.place",),
            None,
            3600,
        ),
    )
)
Input = tuple[int, Callable[[Lifecycle, dt.datetime], Effects]]


@st.composite
def alert(draw: st.DrawFn) -> Any:
    name = draw(st.sampled_from(NAMES))
    others = [each for each in NAMES if each != name]
    status = draw(st.sampled_from(["open"] * 6 + ["retracted", "superseded"]))
    fields = {
        "status": status,
        "superseded_by": draw(st.sampled_from(others)) if status == "superseded" else None,
        "supersedes": draw(st.lists(st.sampled_from(others), max_size=2, unique=True)) if status == "open" else [],
        "level": draw(st.sampled_from(["medium", "high", "critical"])),
        "partners": draw(st.sampled_from([["p1"], ["p1", "p2"], ["p1", "p2", "p3"]])),
        "group": {"place": draw(st.sampled_from(["Northport", "Southport"]))},
        "exercise": name == "e",
    }
    made = make_alert(name, draw(st.integers(1, 12)), **fields)
    chosen: list[list[Alert]] = []

    def apply(engine: Lifecycle, now: dt.datetime) -> Effects:
        # The stream takes back only what it raised before, and whatever is superseded says so itself next. The same
        # versions again when the input is repeated.
        if not chosen:
            gone = [engine.states[each] for each in made.supersedes if each in engine.states]
            versions = [
                make_alert(each.alert_id, each.alert_version + 1, status="superseded", superseded_by=name)
                for each in gone
            ]
            chosen.append([made, *versions] if status == "open" or name in engine.states else [])
        effects = Effects()
        for each in chosen[0]:
            effects.extend(engine.on_alert(each, now))
        return effects

    return apply


@st.composite
def command(draw: st.DrawFn) -> Any:
    fields: dict[str, Any] = {
        "command_id": draw(st.uuids()).hex,
        "verb": draw(st.sampled_from(VERBS)),
        "alert_id": draw(st.sampled_from(NAMES)),
        "by": draw(st.sampled_from(["mira", "tomas"])),
        "revision": draw(st.none() | st.integers(1, 9)),
        "for_s": draw(st.sampled_from([60, 600, 1800])),
        "assignee": "sander",
        "verdict": "benign",
        "target": draw(st.sampled_from(NAMES)),
        "text": "seen",
    }
    return lambda engine, now: engine.on_command(Command(**fields, via="desk", at=now), now)


@st.composite
def silence(draw: st.DrawFn) -> Any:
    begin, length = draw(st.integers(0, 1200)), draw(st.integers(60, 3000))
    name = draw(st.sampled_from(["s", "t"]))
    place = draw(st.sampled_from(["Northport", "Southport"]))
    command_id, ends = draw(st.uuids()).hex, draw(st.booleans())

    def apply(engine: Lifecycle, now: dt.datetime) -> Effects:
        made = Silence(
            silence_id=name,
            matchers=[Matcher(field="group.place", value=place)],
            author="mira",
            reason="planned",
            starts_at=START + dt.timedelta(seconds=begin),
            ends_at=START + dt.timedelta(seconds=begin + length),
            created_at=START,
        )
        common = {"command_id": command_id, "by": "mira", "via": "desk", "at": now}
        if ends:
            return engine.on_command(Command(verb="expire_silence", silence_id=name, **common), now)
        return engine.on_command(Command(verb="silence", silence=made, **common), now)

    return apply


@st.composite
def settling(draw: st.DrawFn) -> Any:
    failed = draw(st.booleans())
    chosen: list[list[tuple[str, int]]] = []

    def apply(engine: Lifecycle, now: dt.datetime) -> Effects:
        # The same outcome of the same message again when the input is repeated.
        if not chosen:
            chosen.append([(each.notification_id, each.attempts + 1) for each in engine.pending(now)[:1]])
        effects = Effects()
        for name, attempts in chosen[0]:
            effects.extend(engine.settled(name, "failed" if failed else "sent", "log", attempts, now))
        return effects

    return apply


def ticking() -> st.SearchStrategy[Any]:
    return st.just(lambda engine, now: engine.tick(now))


def inputs() -> st.SearchStrategy[list[tuple[int, Any]]]:
    step = st.sampled_from([0, 1, 10, 31, 200, 310, 1000, 4000])
    return st.lists(
        st.tuples(step, st.one_of(alert(), alert(), command(), silence(), settling(), ticking())),
        min_size=1,
        max_size=40,
    )


class World:
    """An engine and what was written of it."""

    def __init__(self) -> None:
        self.engine = Lifecycle(ROSTER)
        self.records: dict[str, bytes] = {}
        self.told: set[str] = set()

    def write(self, effects: Effects, upto: int | None = None) -> None:
        for key, value in list(effects.records.items())[:upto]:
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value
            if key.startswith("notification/") and value is not None:
                self.told.add(key)

    def crash(self) -> None:
        self.engine = Lifecycle(ROSTER)
        self.engine.restore(self.records)


def timed(steps: list[tuple[int, Any]]) -> list[tuple[dt.datetime, Any]]:
    """Inputs with their times, and a tick behind each."""
    now, found = START, []
    for step, each in steps:
        now += dt.timedelta(seconds=step)
        found += [(now, each), (now, lambda engine, now: engine.tick(now))]
    for hours in (1, 2, 24):
        found.append((now + dt.timedelta(hours=hours), lambda engine, now: engine.tick(now)))
    return found


@settings(max_examples=100, deadline=None)
@given(inputs(), st.data())
def test_a_crash_changes_nothing(steps: list[tuple[int, Any]], data: st.DataObject) -> None:
    line = timed(steps)
    whole, crashing = World(), World()
    crashes = data.draw(st.sets(st.integers(0, len(line) - 1), max_size=6))
    for number, (now, each) in enumerate(line):
        whole.write(each(whole.engine, now))
        crashing.write(each(crashing.engine, now))
        if number in crashes:
            crashing.crash()
            for _, again in line[max(0, number - data.draw(st.integers(0, 3))) : number + 1]:
                crashing.write(again(crashing.engine, now))
    assert crashing.records == whole.records
    assert crashing.told == whole.told


def run(engine: Lifecycle, batch: list[tuple[dt.datetime, Any]]) -> Effects:
    effects = Effects()
    for now, each in batch:
        effects.extend(each(engine, now))
    return effects


@settings(max_examples=100, deadline=None)
@given(inputs(), st.data())
def test_a_crash_between_two_records_loses_nothing(steps: list[tuple[int, Any]], data: st.DataObject) -> None:
    """The batch is repeated, as its offset was not committed. What people did stays done, everything is told of, and
    nobody gets the first message of a situation twice."""
    line = timed(steps)
    whole, torn = World(), World()
    size = data.draw(st.integers(1, 4))
    batches = [line[low : low + size] for low in range(0, len(line), size)]
    crashes = data.draw(st.sets(st.integers(0, len(batches) - 1), max_size=6))
    for number, batch in enumerate(batches):
        for now, each in batch:
            whole.write(each(whole.engine, now))
        effects = run(torn.engine, batch)
        if number in crashes:
            torn.write(effects, data.draw(st.integers(0, len(effects.records))))
            torn.crash()
            effects = run(torn.engine, batch)
        torn.write(effects)
        hold(torn.engine)
    for name, state in whole.engine.states.items():
        again = torn.engine.states[name]
        assert (again.state, again.assignee, again.alert_version) == (state.state, state.assignee, state.alert_version)
    told, heard = (
        {alert for each in world.engine.notifications.values() for alert in each.alert_ids} for world in (whole, torn)
    )
    # What is superseded before anybody hears of it is told of by its heir.
    assert [each for each in told - heard if torn.engine.states[each].superseded_by is None] == []


@settings(max_examples=100, deadline=None)
@given(inputs())
def test_what_always_holds(steps: list[tuple[int, Any]]) -> None:
    world = World()
    for now, each in timed(steps):
        world.write(each(world.engine, now))
        hold(world.engine)
        world.write(world.engine.tick(now))
        again = world.engine.tick(now)
        assert not again, "a tick at the same time does nothing"


def hold(engine: Lifecycle) -> None:
    memory = engine._memory
    for key, group in memory.groups.items():
        states = [each for each in memory.states.values() if each.group_key == key]
        pressing = [each for each in states if is_pressing(memory, each)]
        untold = [each for each in states if is_untold(memory, each)]
        assert (group.escalate_at is not None) == bool(pressing)
        assert group.flush_at is not None or not untold
        assert memory.pressing[key] == {each.alert_id for each in pressing}
        assert not group.ended or not [each for each in states if each.is_active]
    for state in memory.states.values():
        seen, above = {state.alert_id}, state
        while above.merged_into is not None:
            above = memory.states[above.merged_into]
            assert above.alert_id not in seen, "a cycle of merges"
            seen.add(above.alert_id)
        assert state.inhibited_by != state.alert_id
        assert not state.is_active or state.group_key in memory.groups
        assert state.revision >= 1
        assert len({memory.states[each].exercise for each in seen}) == 1
    firsts = Counter((each.thread, each.person) for each in memory.notifications.values() if each.kind == "first")
    assert not firsts or max(firsts.values()) == 1
