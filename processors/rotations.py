"""Who is on call when: rotations, restrictions and overrides as moments in time.

Pure functions. Moments are aware; results are UTC. Hand-over at 08:00 is 08:00 on the wall clock, on both sides of a
change of daylight saving time. As in RFC 5545 3.3.5, a local time that a change skips counts with the offset before
the change, and of one that comes twice the first counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from schemas.oncall import OnCallPolicy, Schedule, moment
from schemas.oncall_model import WEEKDAYS, Override, Restriction, Rotation

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Shift:
    """``person`` (an id; ``None`` when nobody is) is on call from ``start`` until just before ``end``, both UTC.
    ``why`` says what decided it: ``rotation NAME``, ``override`` with its reason, or that nothing did."""

    schedule: str
    person: str | None
    start: datetime
    end: datetime
    why: str


def on_call(policy: OnCallPolicy, schedule: Schedule, at: datetime) -> tuple[str | None, str]:
    """Who is on call at ``at`` and what decided it."""
    zone = ZoneInfo(schedule.time_zone)
    for override in reversed(_overrides(policy, schedule)):
        if moment(override.start, zone) <= at < moment(override.end, zone):
            return override.person, f"override: {override.reason}" if override.reason else "override"
    for rotation in reversed(schedule.rotations):
        turn = _turn(rotation, at, zone)
        if turn is not None and _counts(rotation, at, zone):
            return rotation.people[turn % len(rotation.people)], f"rotation {rotation.name}"
    return None, "nobody: no rotation counts then"


def shifts(policy: OnCallPolicy, schedule: Schedule, start: datetime, end: datetime) -> list[Shift]:
    """The shifts from ``start`` to ``end``: in order, without gap or overlap, the outer ones cut to fit. Turns of one
    person that follow each other are one shift. Empty when ``end`` is not after ``start``."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if start >= end:
        return []
    changes = {start, *(at for at in _changes(policy, schedule, start, end) if start < at < end)}
    borders = [*sorted(changes), end]
    found: list[Shift] = []
    for begin, until in pairwise(borders):
        person, why = on_call(policy, schedule, begin)
        last = found[-1] if found else None
        if last is not None and (last.person, last.why) == (person, why):
            found[-1] = replace(last, end=until)
        else:
            found.append(Shift(schedule.id, person, begin, until, why))
    return found


def _overrides(policy: OnCallPolicy, schedule: Schedule) -> list[Override]:
    return [each for each in policy.overrides if each.schedule == schedule.id]


def _changes(policy: OnCallPolicy, schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """All moments at which somebody else may have it, and perhaps some more around them."""
    zone = ZoneInfo(schedule.time_zone)
    for override in _overrides(policy, schedule):
        yield from (moment(override.start, zone), moment(override.end, zone))
    first, last = start.astimezone(zone).date() - 2 * DAY, end.astimezone(zone).date() + DAY
    for number in range((last - first).days + 1):
        day = first + number * DAY
        for rotation in schedule.rotations:
            yield _local(day, rotation.handover, zone)
            for restriction in rotation.restrictions:
                yield from _window(restriction, day, zone)


def _local(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)


def _turn(rotation: Rotation, at: datetime, zone: ZoneInfo) -> int | None:
    """How many hand-overs there were until ``at``; ``None`` before the rotation starts."""
    day = at.astimezone(zone).date() + DAY
    while _local(day, rotation.handover, zone) > at:
        day -= DAY
    if day < rotation.start:
        return None
    weeks, rest = divmod((day - rotation.start).days, 7)
    odd = sum(_weekday(rotation.start + number * DAY) in rotation.days for number in range(1, rest + 1))
    return (weeks * len(set(rotation.days)) + odd) // rotation.every


def _counts(rotation: Rotation, at: datetime, zone: ZoneInfo) -> bool:
    if not rotation.restrictions:
        return True
    today = at.astimezone(zone).date()
    days = [today + number * DAY for number in (-2, -1, 0, 1)]  # a change of offset may move an edge over midnight
    return any(
        begin <= at < until
        for each in rotation.restrictions
        for day in days
        if _weekday(day) in each.days
        for begin, until in [_window(each, day, zone)]
    )


def _window(restriction: Restriction, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    until = day if restriction.end > restriction.start else day + DAY
    return _local(day, restriction.start, zone), _local(until, restriction.end, zone)


def _weekday(day: date) -> str:
    return WEEKDAYS[day.weekday()]
