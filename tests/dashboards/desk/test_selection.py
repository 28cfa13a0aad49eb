"""Filters, their addresses, order, pages and cursors."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.desk.selection import (
    KEPT,
    NOBODY,
    ORDERS,
    WHICH,
    Choice,
    CursorError,
    after,
    cursor_of,
    format_query,
    order_of,
    page_of,
    parse,
    select,
    values_of,
)
from dashboards.palette import LEVELS
from schemas.lifecycle import PRIORITIES, AlertState
from tests.dashboards.desk.states import NOW, state

WORDS = st.text(max_size=20).map(str.strip)
CHOICES = st.builds(
    Choice,
    state=st.sampled_from(WHICH),
    priority=st.sets(st.sampled_from(PRIORITIES)).map(lambda chosen: tuple(p for p in PRIORITIES if p in chosen)),
    level=st.sampled_from(["", *LEVELS]),
    partner=WORDS,
    family=WORDS,
    country=WORDS,
    assignee=WORDS,
    exercise=st.sampled_from(KEPT),
    q=WORDS,
    hidden=st.booleans(),
    order=st.sampled_from(ORDERS),
    page=st.integers(1, 999_999),
)
STATES = st.lists(
    st.builds(
        lambda number, priority, minutes, held, partner: state(
            f"a-{number}",
            priority=priority,
            raised_at=NOW - timedelta(minutes=minutes),
            silences=["s"] if held else [],
            partners=[partner],
        ),
        st.integers(0, 10_000),
        st.sampled_from(PRIORITIES),
        st.integers(0, 5),
        st.booleans(),
        st.sampled_from(["bpol-de", "hub-ke"]),
    ),
    max_size=30,
    unique_by=lambda each: each.alert_id,
)


def everything(_: AlertState) -> bool:
    return True


def ids(choice: Choice, *states: AlertState) -> list[str]:
    return [each.alert_id for each in select(states, choice, everything).states]


@given(CHOICES)
def test_an_address_gives_back_the_choice_it_was_made_of(choice: Choice) -> None:
    assert parse(dict(parse_qsl(format_query(choice), keep_blank_values=True))) == choice


@given(st.dictionaries(st.sampled_from([*Choice.__dataclass_fields__]), st.text(max_size=30)))
def test_any_address_gives_a_choice_whose_address_is_stable(query: dict[str, str]) -> None:
    choice = parse(query)
    assert parse(dict(parse_qsl(format_query(choice), keep_blank_values=True))) == choice


def test_the_default_needs_no_address() -> None:
    assert format_query(Choice()) == ""
    assert parse({}) == Choice()
    assert not Choice(page=3).restricts


@given(STATES, st.sampled_from(ORDERS), st.booleans())
def test_order_counts_and_what_is_held_back(states: list[AlertState], order: str, hidden: bool) -> None:
    choice = Choice(order=order, hidden=hidden)  # type: ignore[arg-type]
    found = select(states, choice, everything)
    keys = [order_of(each, choice.order) for each in found.states]
    assert keys == sorted(keys)
    assert sum(found.counts.values()) == len(found.states)
    assert found.held_back == sum(bool(each.silences) for each in states)
    assert len(found.states) == len(states) - (0 if hidden else found.held_back)


@given(STATES, st.integers(1, 7), st.sampled_from(ORDERS))
def test_cursors_walk_over_every_alert_once(states: list[AlertState], limit: int, order: str) -> None:
    ordered = select(states, Choice(hidden=True, order=order), everything).states  # type: ignore[arg-type]
    walked: list[AlertState] = []
    rest = ordered
    while rest:
        walked += rest[:limit]
        rest = after(ordered, cursor_of(walked[-1], order), order)  # type: ignore[arg-type]
    assert walked == ordered


@given(STATES, st.integers(1, 12), st.integers(1, 9))
def test_pages_hold_every_alert_once(states: list[AlertState], page: int, size: int) -> None:
    pages = page_of(states, page, size)[2]
    assert [each for number in range(1, pages + 1) for each in page_of(states, number, size)[0]] == states
    shown, number, _ = page_of(states, page, size)
    assert number == min(page, pages)
    assert len(shown) <= size


@pytest.mark.parametrize("cursor", ["x", "e30", "bnVsbA", "WzEsMl0", "é"])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError, match="start again without it"):
        after([], cursor, "oldest")


def test_each_filter() -> None:
    plain = state("plain")
    assert ids(Choice(), plain, state("done", state="closed"), state("gone", withdrawn=True)) == ["plain"]
    assert ids(Choice(state="closed"), plain, state("done", state="closed")) == ["done"]
    assert ids(Choice(state="all"), plain, state("gone", withdrawn=True)) == ["gone", "plain"]
    assert ids(Choice(priority=("P1",)), plain, state("urgent", priority="P1")) == ["urgent"]
    assert ids(Choice(level="high"), plain, state("low", level="low"), state("odd", level="odd")) == ["plain"]
    assert ids(Choice(partner="fiu-nl"), plain, state("fiu", partners=["fiu-nl"])) == ["fiu"]
    assert ids(Choice(family="tip_report"), plain, state("tip", families=["tip_report"])) == ["tip"]
    assert ids(Choice(country="AT"), plain, state("at", countries=["AT"])) == ["at"]
    assert ids(Choice(assignee=NOBODY), plain, state("hers", assignee="anna")) == ["plain"]
    assert ids(Choice(assignee="anna"), plain, state("hers", assignee="anna")) == ["hers"]
    assert ids(Choice(exercise="live"), plain, state("drill", exercise=True)) == ["plain"]
    assert ids(Choice(exercise="exercise"), plain, state("drill", exercise=True)) == ["drill"]
    assert ids(Choice(q="KENYA x1234567"), plain, state("other", story="", group={})) == ["plain"]
    for held in ({"silences": ["s"]}, {"inhibited_by": "i"}, {"merged_into": "m"}):
        assert ids(Choice(), plain, state("held", **held)) == ["plain"]
        assert ids(Choice(hidden=True), plain, state("held", **held)) == ["held", "plain"]


def test_the_watchdog_is_shown_on_wish_only_and_a_silent_feed_always() -> None:
    watchdog = state("watchdog", tags=["platform.watchdog"])
    silent = state("silent", tags=["platform.feed"], kind="platform")
    assert ids(Choice(), watchdog, silent) == ["silent"]
    assert ids(Choice(hidden=True), watchdog, silent) == ["silent", "watchdog"]
    found = select([watchdog], Choice(), everything)
    assert (found.held_back, sum(found.counts.values())) == (0, 0)


def test_a_priority_does_not_change_what_the_others_count() -> None:
    found = select([state("a"), state("b", priority="P1")], Choice(priority=("P1",)), everything)
    assert found.counts == {"P1": 1, "P2": 1, "P3": 0, "P4": 0}


def test_partners_are_offered_what_they_may_see() -> None:
    states = [state("a"), state("b", partners=["fiu-nl"], assignee="anna", countries=["NL"])]
    offered = values_of(states, lambda each: "fiu-nl" in each.partners)
    assert offered == {
        "partner": ["fiu-nl"],
        "family": ["border_crossing"],
        "country": ["NL"],
        "assignee": ["anna"],
    }
