"""Who is on call when: hand-over by the wall clock, also where the clock changes, and no moment without an answer."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.rotations import on_call, shifts
from schemas.oncall import OnCallPolicy, Schedule
from schemas.oncall_model import WEEKDAYS

UTC = dt.UTC
PEOPLE = ("mira", "tomas", "aoife", "wanjiru")


def policy(zone: str, rotations: list[dict[str, Any]], overrides: list[dict[str, Any]] = []) -> OnCallPolicy:  # noqa: B006
    return OnCallPolicy.model_validate(
        {
            "people": [{"id": each, "name": each, "time_zone": "UTC", "channels": [{"log": True}]} for each in PEOPLE],
            "schedules": [{"id": "watch", "name": "Watch", "time_zone": zone, "rotations": rotations}],
            "overrides": [{"schedule": "watch", **each} for each in overrides],
            "escalation_policies": [{"id": "all", "steps": [{"targets": ["watch"]}]}],
            "default_route": {"policy": "all"},
        }
    )


def rotation(**changes: Any) -> dict[str, Any]:
    start = dt.date(2026, 1, 5)
    return {"name": "days", "people": ["mira", "tomas"], "start": start, "handover": "08:00"} | changes


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        # Europe goes forward on 29 March 2026 and back on 25 October; Chile and Lord Howe (half an hour) the other way.
        ("Europe/Berlin", "2026-03-28T07:00:00+00:00", "2026-03-29T06:00:00+00:00"),
        ("Europe/Berlin", "2026-10-24T06:00:00+00:00", "2026-10-25T07:00:00+00:00"),
        ("America/Santiago", "2026-04-04T11:00:00+00:00", "2026-04-05T12:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-04-03T21:00:00+00:00", "2026-04-04T21:30:00+00:00"),
        ("Asia/Kolkata", "2026-03-28T02:30:00+00:00", "2026-03-29T02:30:00+00:00"),
    ],
)
def test_hand_over_is_at_eight_by_the_wall_clock_on_both_sides_of_a_change(zone: str, before: str, after: str) -> None:
    found = policy(zone, [rotation()])
    [schedule] = found.schedules
    day = dt.timedelta(days=1)
    starts = {each.start for each in shifts(found, schedule, at(before) - day, at(after) + day)}
    assert {at(before), at(after)} <= starts
    for moment in (at(before), at(after)):
        assert moment.astimezone(ZoneInfo(zone)).strftime("%H:%M") == "08:00"
        second = dt.timedelta(seconds=1)
        assert on_call(found, schedule, moment - second)[0] != on_call(found, schedule, moment)[0]


def test_a_hand_over_in_the_hour_that_is_skipped_happens_an_hour_later_and_once() -> None:
    found = policy("Europe/Berlin", [rotation(handover="02:30")])
    starts = [
        each.start for each in shifts(found, found.schedules[0], at("2026-03-28T00:00Z"), at("2026-03-31T00:00Z"))
    ]
    assert starts[1:] == [at("2026-03-28T01:30Z"), at("2026-03-29T01:30Z"), at("2026-03-30T00:30Z")]
    twice = [each.start for each in shifts(found, found.schedules[0], at("2026-10-24T12:00Z"), at("2026-10-26T12:00Z"))]
    assert twice[1:] == [at("2026-10-25T00:30Z"), at("2026-10-26T01:30Z")]


def test_a_day_that_a_country_leaves_out_takes_its_turn_without_time() -> None:
    # Samoa had no 30 December 2011: both hand-overs fall on one moment.
    found = policy("Pacific/Apia", [rotation(people=["mira", "tomas", "aoife"], start=dt.date(2011, 12, 28))])
    got = shifts(found, found.schedules[0], at("2011-12-28T18:00Z"), at("2012-01-01T18:00Z"))
    assert [each.person for each in got] == ["mira", "tomas", "mira", "tomas"]
    assert got[1].end == got[2].start == at("2011-12-30T18:00Z")


def test_weeks_fortnights_and_two_hand_overs_a_week() -> None:
    found = policy("Europe/Berlin", [rotation(days=["mon", "fri"]), rotation(days=["mon"], every=2)])
    fortnights = found.model_copy(
        update={"schedules": (found.schedules[0].model_copy(update={"rotations": found.schedules[0].rotations[1:]}),)}
    )
    [schedule] = fortnights.schedules
    begins = [each.start.date().isoformat() for each in shifts(fortnights, schedule, at("2026-01-05T07:00Z"), NOON)]
    assert begins == ["2026-01-05", "2026-01-19", "2026-02-02"]
    twice = found.schedules[0].model_copy(update={"rotations": found.schedules[0].rotations[:1]})
    got = [each.start.strftime("%a") for each in shifts(found, twice, at("2026-01-05T07:00Z"), at("2026-01-20T07:00Z"))]
    assert got == ["Mon", "Fri", "Mon", "Fri", "Mon"]


NOON = at("2026-02-10T12:00Z")


def test_the_last_rotation_that_counts_has_it_and_an_override_goes_before_all() -> None:
    found = policy(
        "Europe/Berlin",
        [
            rotation(name="nights", people=["mira"]),
            rotation(name="days", people=["tomas"], restrictions=[{"days": ["mon"], "from": "22:00", "to": "06:00"}]),
        ],
        [
            {"person": "aoife", "from": "2026-01-12 23:00", "to": "2026-01-13 01:00", "reason": "swap"},
            {"person": "wanjiru", "from": "2026-01-12T23:30:00Z", "to": "2026-01-12T23:45:00Z"},
        ],
    )
    got = shifts(found, found.schedules[0], at("2026-01-12T12:00Z"), at("2026-01-13T12:00Z"))
    assert [(each.person, f"{each.start:%H:%M}", each.why) for each in got] == [
        ("mira", "12:00", "rotation nights"),
        ("tomas", "21:00", "rotation days"),
        ("aoife", "22:00", "override: swap"),
        ("wanjiru", "23:30", "override"),
        ("aoife", "23:45", "override: swap"),
        ("tomas", "00:00", "rotation days"),
        ("mira", "05:00", "rotation nights"),
    ]


def test_before_a_rotation_starts_nobody_is_on_call() -> None:
    found = policy("Europe/Berlin", [rotation()])
    got = shifts(found, found.schedules[0], at("2026-01-01T00:00Z"), at("2026-01-05T08:00Z"))
    assert [(each.person, each.end) for each in got] == [
        (None, at("2026-01-05T07:00Z")),
        ("mira", at("2026-01-05T08:00Z")),
    ]
    assert got[0].why == "nobody: no rotation counts then"
    assert shifts(found, found.schedules[0], NOON, NOON) == []


ZONES = st.sampled_from(
    (
        *("Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe"),
        *("Africa/Casablanca", "Africa/Cairo", "Asia/Tehran", "Asia/Kathmandu", "Pacific/Apia", "Pacific/Chatham"),
        *("America/St_Johns", "Antarctica/Troll", "Asia/Gaza", "Europe/Moscow", "America/Scoresbysund", "UTC"),
    )
)
DATES = st.dates(dt.date(2005, 1, 1), dt.date(2036, 1, 1))
CLOCKS = st.times().map(lambda time: f"{time:%H:%M}")
DAYS = st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True)
MOMENTS = st.datetimes(dt.datetime(2005, 1, 1), dt.datetime(2036, 1, 1))
RESTRICTIONS = st.lists(st.fixed_dictionaries({"days": DAYS, "from": CLOCKS, "to": CLOCKS}), max_size=2)


@st.composite
def rosters(draw: st.DrawFn) -> tuple[OnCallPolicy, dt.datetime, dt.datetime]:
    """A policy of one schedule, and a span of time near the start of its rotations or changes of the clock."""
    begin = draw(MOMENTS).replace(tzinfo=UTC)
    end = begin + draw(st.timedeltas(dt.timedelta(minutes=1), dt.timedelta(days=25)))
    rotations = [
        rotation(
            name=f"r{number}",
            people=draw(st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=4)),
            start=begin.date() + dt.timedelta(days=draw(st.integers(-900, 10))),
            handover=draw(CLOCKS),
            days=draw(DAYS),
            every=draw(st.integers(1, 3)),
            restrictions=draw(RESTRICTIONS),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    overrides = []
    for _ in range(draw(st.integers(0, 3))):
        start = begin + draw(st.timedeltas(dt.timedelta(days=-3), dt.timedelta(days=25)))
        until = start + draw(st.timedeltas(dt.timedelta(minutes=1), dt.timedelta(days=3)))
        overrides.append({"person": draw(st.sampled_from(PEOPLE)), "from": start, "to": until})
    return policy(draw(ZONES), rotations, overrides), begin, end


@given(rosters(), st.data())
def test_shifts_tile_time_and_say_who_is_on_call(
    drawn: tuple[OnCallPolicy, dt.datetime, dt.datetime], data: st.DataObject
) -> None:
    found, begin, end = drawn
    [schedule] = found.schedules
    got = shifts(found, schedule, begin, end)
    assert got[0].start == begin
    assert got[-1].end == end
    assert all(one.end == other.start for one, other in pairwise(got))
    assert all(each.start < each.end for each in got)
    assert all((one.person, one.why) != (other.person, other.why) for one, other in pairwise(got))
    instant = dt.timedelta(microseconds=1)
    asked = [each.start for each in got] + [each.end - instant for each in got]
    asked += [begin + data.draw(st.timedeltas(dt.timedelta(0), end - begin - instant)) for _ in range(5)]
    for moment in asked:
        [shift] = [each for each in got if each.start <= moment < each.end]
        assert (shift.person, shift.why) == on_call(found, schedule, moment)


def counted(schedule: Schedule, moment: dt.datetime) -> str | None:
    """Who has the only rotation, by walking over every day since it started."""
    [rule] = schedule.rotations
    zone = ZoneInfo(schedule.time_zone)
    turns, day = -1, rule.start
    while dt.datetime.combine(day, rule.handover, tzinfo=zone).astimezone(UTC) <= moment:
        turns += turns < 0 or WEEKDAYS[day.weekday()] in rule.days
        day += dt.timedelta(days=1)
    return None if turns < 0 else rule.people[turns // rule.every % len(rule.people)]


@given(ZONES, DATES, CLOCKS, DAYS, st.integers(1, 3), st.timedeltas(dt.timedelta(days=-2), dt.timedelta(days=800)))
def test_turns_are_counted_as_somebody_with_a_calendar_would(
    zone: str, start: dt.date, handover: str, days: list[str], every: int, later: dt.timedelta
) -> None:
    found = policy(zone, [rotation(people=list(PEOPLE), start=start, handover=handover, days=days, every=every)])
    moment = dt.datetime.combine(start, dt.time(), tzinfo=UTC) + later
    assert on_call(found, found.schedules[0], moment)[0] == counted(found.schedules[0], moment)


@given(ZONES, DATES, st.times(dt.time(4), dt.time(23, 59)))
def test_a_daily_hand_over_is_at_its_time_on_the_wall(zone: str, day: dt.date, clock: dt.time) -> None:
    handover = f"{clock:%H:%M}"
    found = policy(zone, [rotation(start=day - dt.timedelta(days=9), handover=handover)])
    begin = dt.datetime.combine(day, dt.time(), tzinfo=UTC)
    for shift in shifts(found, found.schedules[0], begin, begin + dt.timedelta(days=14))[1:]:
        local = shift.start.astimezone(ZoneInfo(zone))
        skipped = local.replace(tzinfo=None, hour=clock.hour, minute=clock.minute, fold=0)
        exists = skipped.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).astimezone(ZoneInfo(zone))
        assert f"{local:%H:%M}" == handover or exists.replace(tzinfo=None) != skipped
