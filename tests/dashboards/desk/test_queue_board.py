"""What open queues share, and how seldom it is worked out; and the rows that they draw."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.desk import queue_board
from dashboards.desk.auth.roles import ROLE_PERMISSIONS, Person
from dashboards.desk.live import Change
from dashboards.desk.partner_view import Eyes
from dashboards.desk.queue_board import EVERY_S, MAX_KEPT, Board
from dashboards.desk.rows import marks_of, row_of
from dashboards.desk.selection import ORDERS, Choice, Selection, select
from schemas.lifecycle import PRIORITIES
from schemas.settings import Settings
from tests.dashboards.desk.states import HandFed, state


def person(name: str = "anna", partner: str | None = None) -> Person:
    role: Any = "partner" if partner else "watch_officer"
    return Person(name, role, name.title(), ROLE_PERMISSIONS[role], partner=partner)


class Clock:
    """Stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sifted(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """The choices that were worked out, in order."""
    done: list[Choice] = []
    real = queue_board.sift

    def counting(states: Iterable[Any], choice: Choice, sees: Any) -> Selection:
        done.append(choice)
        return real(states, choice, sees)

    monkeypatch.setattr(queue_board, "sift", counting)
    return done


async def test_many_screens_with_the_same_choice_cost_one_computation(sifted: list[Choice]) -> None:
    live = HandFed(Settings(), [state("a"), state("b", priority="P1")])
    live.start()
    board = Board(live, Clock())
    looks = [
        board.look(Choice(page=page), person(name), Eyes()) for page in (1, 2) for name in ("anna", "bruno", "cleo")
    ]
    assert [[each.alert_id for each in look.found.states] for look in looks] == [["b", "a"]] * 6
    assert len(sifted) == 1
    assert [each.alert_id for each in board.look(Choice(), person("pat", "fiu-nl"), Eyes()).found.states] == []
    board.look(Choice(order="newest"), person(), Eyes())
    assert len(sifted) == 3


async def test_a_burst_costs_one_computation_a_second_and_ends_with_the_newest(sifted: list[Choice]) -> None:
    live, clock = HandFed(Settings(), [state("a")]), Clock()
    live.start()
    board = Board(live, clock)
    for number in range(50):
        clock.now += EVERY_S / 10
        live.put(state(f"b-{number:02}"))
        for name in ("anna", "bruno"):
            look = board.look(Choice(), person(name), Eyes())
            assert look.stale_s is None or 0 < look.stale_s <= EVERY_S
    assert len(sifted) <= 6
    clock.now += EVERY_S
    look = board.look(Choice(), person(), Eyes())
    assert look.stale_s is None
    assert len(look.found.states) == 51


async def test_what_is_forgotten_is_gone(sifted: list[Choice]) -> None:
    live, clock = HandFed(Settings(), [state("a"), state("b")]), Clock()
    live.start()
    board = Board(live, clock)
    board.look(Choice(), person(), Eyes())
    live.feed([Change("alert", "a", None, 99)])
    clock.now += EVERY_S
    assert [each.alert_id for each in board.look(Choice(), person(), Eyes()).found.states] == ["b"]


async def test_only_so_many_choices_are_kept(sifted: list[Choice]) -> None:
    live = HandFed(Settings(), [state("a")])
    live.start()
    board = Board(live, Clock())
    for number in range(MAX_KEPT + 1):
        board.look(Choice(q=str(number)), person(), Eyes())
    board.look(Choice(q="0"), person(), Eyes())
    assert len(sifted) == MAX_KEPT + 2


@given(
    st.lists(st.tuples(st.sampled_from(PRIORITIES), st.sampled_from(["open", "closed"])), max_size=20),
    st.sampled_from(["active", "all", "closed"]),
    st.sampled_from(ORDERS),
)
def test_the_board_shows_what_a_plain_selection_shows(made: list[tuple[Any, Any]], which: Any, order: Any) -> None:
    states = [state(f"a-{number}", priority=priority, state=now) for number, (priority, now) in enumerate(made)]
    live = HandFed(Settings())

    async def looked() -> Selection:
        live.put(*states)
        return Board(live, Clock()).look(choice, person(), Eyes()).found

    choice = Choice(state=which, order=order)
    assert asyncio.run(looked()) == select(states, choice, lambda _: True)


def test_a_row_does_not_say_its_title_twice() -> None:
    told = state("a", rule_title="Large transfer", story="Large transfer: 950,000 EUR to a new account.")
    assert row_of(told)["story"] == "950,000 EUR to a new account."
    assert row_of(told.model_copy(update={"story": "Large transfer"}))["story"] == ""
    assert row_of(told.model_copy(update={"story": "Two cards."}))["story"] == "Two cards."


def test_the_watchdog_says_what_it_is() -> None:
    assert marks_of(state("w", tags=["platform.watchdog"])) == "always fires"


async def test_a_partner_finds_nothing_by_what_is_held_back() -> None:
    held = state("a", partners=["fiu-nl"], tlp="RED", story="a name that others know", assignee="anna")
    live = HandFed(Settings(), [held])
    live.start()
    board, eyes = Board(live, Clock()), Eyes("fiu-nl", {"anna": "watch_officer"})
    (shown,) = board.look(Choice(), person("pat", "fiu-nl"), eyes).found.states
    assert (shown.assignee, "name" in shown.story) == ("watch officer", False)
    for words in ("others know", "anna"):
        assert board.look(Choice(q=words), person("pat", "fiu-nl"), eyes).found.states == []
    assert board.look(Choice(assignee="anna"), person("pat", "fiu-nl"), eyes).found.states == []
