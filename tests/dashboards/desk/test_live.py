"""The log in memory: what is read, who hears of it, and how events of it go on where they ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dashboards.desk import live as live_module
from dashboards.desk.asking import refused_text
from dashboards.desk.live import Change, Keys, Live, Standing, change_of
from dashboards.desk.sse import events, resume_at
from schemas.lifecycle import ACTIONS_TOPIC, LIFECYCLE_TOPIC, Action, AlertState
from schemas.settings import Settings
from tests.dashboards.desk.states import NOW, HandFed, state


@pytest.fixture
def live() -> HandFed:
    return HandFed(Settings())


def action(**changes: Any) -> Action:
    values = {"action_id": "x", "alert_id": "a", "verb": "acknowledge", "by": "bruno", "via": "desk", "at": NOW}
    return Action.model_validate(values | changes)


async def settled() -> None:
    await asyncio.sleep(live_module.COALESCE_S * 2)


def test_records_become_changes() -> None:
    value = state("a").model_dump_json().encode()
    assert change_of(LIFECYCLE_TOPIC, b"alert/a", value, 7) == Change("alert", "a", state("a"), 7)
    assert change_of(LIFECYCLE_TOPIC, b"alert/a", None, 8) == Change("alert", "a", None, 8)
    assert change_of(LIFECYCLE_TOPIC, b"group/g", b"{}", 9) is None
    assert change_of(LIFECYCLE_TOPIC, b"alert/a", b"{}", 9) is None
    told = action()
    assert change_of(ACTIONS_TOPIC, b"a", told.model_dump_json().encode(), 1) == Change("action", "a", told, 1)


async def test_subscribers_hear_of_a_key_once_for_many_changes(live: HandFed) -> None:
    heard: list[tuple[str, list[str]]] = []
    end = live.subscribe(lambda kind, keys: heard.append((kind, list(keys))), "alert")
    live.put(*(state("a", revision=number) for number in range(1, 50)), state("b"))
    await settled()
    assert heard == [("alert", ["a", "b"])]
    assert live.states["a"].revision == 49
    end()
    end()
    live.put(state("c"))
    await settled()
    assert len(heard) == 1


async def test_subscribers_hear_of_the_kinds_that_they_asked_for(live: HandFed) -> None:
    heard: list[str] = []
    live.subscribe(lambda kind, _: heard.append(kind), "alert", "standing")
    live.feed([Change("action", "b", action(), 1)])
    await settled()
    assert heard == []
    live.put(state("a"))
    live.stand(Standing(connected=True, loaded=True))
    await settled()
    assert heard == ["alert", "standing"]


async def test_one_failing_subscriber_keeps_nothing_from_the_others(live: HandFed) -> None:
    heard: list[str] = []

    def fail(kind: str, keys: Keys) -> None:
        raise ValueError(kind)

    live.subscribe(fail, "alert")
    live.subscribe(lambda kind, keys: heard.extend(keys), "alert")
    live.put(state("a"))
    await settled()
    assert heard == ["a"]


async def test_what_changed_since_a_position_comes_in_order_and_latest_only(live: HandFed) -> None:
    live.put(state("a"), state("b"), state("a", revision=2), state("c"))
    assert [(at, each.alert_id, each.revision) for at, each in live.changed_since(-1)] == [
        (1, "b", 1),
        (2, "a", 2),
        (3, "c", 1),
    ]
    assert [at for at, _ in live.changed_since(2)] == [3]
    live.feed([Change("alert", "c", None, 4)])
    assert live.end == 2
    assert "c" not in live.states


async def test_an_expected_action_arrives(live: HandFed) -> None:
    future = live.expect("c-1")
    live.feed([Change("action", "a", action(command_id="other"), 0)])
    assert not future.done()
    live.feed([Change("action", "a", action(command_id="c-1"), 1)])
    assert (await future).command_id == "c-1"
    assert [each.command_id for each in live.actions] == ["other", "c-1"]


@pytest.mark.parametrize(
    ("standing", "text"),
    [
        (Standing(), "no connection to Kafka: what is shown may be old"),
        (Standing(connected=True, behind=1200), "reading the log, 1,200 records to go"),
        (Standing(connected=True, loaded=True, behind=3), "live"),
        (Standing(connected=True, loaded=True, behind=4000), "4,000 records behind"),
    ],
)
def test_how_far_behind_is_said(standing: Standing, text: str) -> None:
    assert standing.text == text


async def taken(live: Live, last_event_id: str | None, count: int, heartbeat_s: float = 9) -> list[str]:
    stream = events(live, lambda each: "bpol-de" in each.partners, last_event_id, heartbeat_s)
    found = [await asyncio.wait_for(anext(stream), 5) for _ in range(count)]
    await stream.aclose()  # type: ignore[attr-defined]
    return found


def data(event: str) -> AlertState:
    return AlertState.model_validate_json(event.split("data: ", 1)[1])


async def test_events_go_on_behind_the_last_one_seen(live: HandFed) -> None:
    live.put(state("a"), state("b"), state("hidden", partners=["fiu-nl"]), state("a", revision=2))
    head, first, second = await taken(live, "0", 3)
    assert head.startswith("retry: 2000\n")
    assert first.startswith("id: 1\nevent: alert\n")
    assert data(first).alert_id == "b"
    assert (data(second).alert_id, data(second).revision) == ("a", 2)
    assert live._subscribers == {}


async def test_events_from_now_on_and_a_sign_of_life(live: HandFed) -> None:
    live.put(state("a"))
    assert (await taken(live, None, 2, heartbeat_s=0.01))[1] == ": still here\n\n"
    assert resume_at(live, None) == 0
    assert resume_at(live, "99") == -1
    assert resume_at(live, "x") == 0


def test_who_was_first_is_told() -> None:
    refused = action(accepted=False, by="anna", reason="the alert is acknowledged; allowed: note", revision=3)
    done = action(revision=3, by="bruno", verb="close")
    text = refused_text(refused, 2, [action(revision=2, by="cleo"), done, action(alert_id="b", revision=9)])
    assert text == "Not done: bruno was first (closed 0 s ago). the alert is acknowledged; allowed: note"
    assert refused_text(refused, 3, [done]) == "Not done: the alert is acknowledged; allowed: note"
