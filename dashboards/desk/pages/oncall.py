"""The page of the on-call policy, ``/oncall``: who is on call now and next, who would get what, what was delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from fastapi import Request

from dashboards.desk import markup, queries
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.desk import Desk
from dashboards.desk.frame import frame, page
from dashboards.desk.markup import Html, join, tag
from dashboards.desk.pages.alert_view import deliveries
from dashboards.desk.pages.filling import fill
from dashboards.desk.pages.parts import asked, now, panel, raw, style
from dashboards.explain import between
from processors.oncall import OnCall, Planned
from processors.rotations import Shift
from schemas.lifecycle import AlertState
from schemas.oncall import load_oncall
from schemas.oncall_model import OnCallPolicy

AHEAD: Final = timedelta(days=14)
MAX_CHOICES: Final = 100


@dataclass(frozen=True, slots=True)
class Duty:
    """A schedule with who is on call now, and the shifts after that; names of people, times in UTC."""

    schedule: str
    name: str
    time_zone: str
    current: Shift
    following: tuple[Shift, ...]


@cache
def _policy(path: Path, _: float) -> OnCall:
    return OnCall(load_oncall(path))


def policy_of(path: Path) -> OnCall:
    """The policy in the file, read again when it has changed.

    Raises:
        ConfigError: what is wrong with it, by line.
        OSError: it cannot be read.
    """
    return _policy(path, path.stat().st_mtime)


def duties(oncall: OnCall, now: datetime) -> list[Duty]:
    """Every schedule as it stands."""
    found = []
    for schedule in oncall.policy.schedules:
        coming = [each for each in oncall.shifts(schedule.id, now, now + AHEAD) if each.end > now]
        found.append(
            Duty(schedule.id, schedule.name, schedule.time_zone, oncall.shift(schedule.id, now), tuple(coming[1:4]))
        )
    return found


def _name(policy: OnCallPolicy, person: str | None) -> str:
    if person is None:
        return "nobody"
    found = policy.person(person)
    return found.name if found else person


def local(at: datetime, zone: str) -> str:
    """``Fri 27 Nov, 20:00`` by the clock of a time zone."""
    there = at.astimezone(ZoneInfo(zone))
    return f"{there:%a} {there.day} {there:%b, %H:%M}"


def duty_table(policy: OnCallPolicy, found: Sequence[Duty], now: datetime) -> Html:
    """Who is on call, until when, and who follows."""
    return markup.table(
        "On call now; times are local to the schedule",
        ("Schedule", "On call now", "Until", "Because of", "Next"),
        (
            (
                tag("span", each.name, title=each.schedule),
                tag("strong", _name(policy, each.current.person)),
                f"{local(each.current.end, each.time_zone)} ({each.time_zone}), in {between(now, each.current.end)}",
                each.current.why,
                markup.bullets(
                    f"{_name(policy, shift.person)} from {local(shift.start, each.time_zone)}"
                    for shift in each.following
                ),
            )
            for each in found
        ),
        empty="The policy has no schedules; its steps name people.",
    )


def override_table(policy: OnCallPolicy, now: datetime) -> Html:
    """Overrides that hold or are to come."""
    zones = {schedule.id: schedule.time_zone for schedule in policy.schedules}
    coming = [(each, *_span(each.start, each.end, zones.get(each.schedule, "UTC"))) for each in policy.overrides]
    return markup.table(
        "Overrides now and to come",
        ("Schedule", "Instead", "From", "To", "Reason"),
        (
            (each.schedule, _name(policy, each.person), local(start, zone), local(end, zone), each.reason or "–")
            for each, start, end, zone in sorted(coming, key=lambda item: item[1])
            if end > now
        ),
        empty="None now or to come.",
        hide_caption=True,
    )


def _span(start: datetime, end: datetime, zone: str) -> tuple[datetime, datetime, str]:
    """A time that the file gives without a zone is one of the schedule's."""
    own = ZoneInfo(zone)
    begin, finish = (each if each.tzinfo else each.replace(tzinfo=own) for each in (start, end))
    return begin, finish, zone


def preview_table(planned: Sequence[Planned], at: datetime) -> Html:
    """Who would get what and when."""
    return markup.table(
        "If it was raised now and nobody acknowledged it",
        ("After", "When (UTC)", "Who", "By", "Because of"),
        (
            (
                between(at, each.due_at),
                markup.time(each.due_at),
                tag("strong", each.name),
                markup.bullets((" ".join(dict.fromkeys(channel.split())) for channel in each.channels), ordered=True),
                each.why,
            )
            for each in planned
        ),
        empty="Nobody would be told.",
    )


def chooser(states: Mapping[str, AlertState], chosen: str) -> Html:
    """A form that puts the alert into the address."""
    listed = sorted(
        (each for each in states.values() if each.is_active), key=lambda each: (each.priority, each.raised_at)
    )
    options = [
        tag(
            "option",
            f"{each.priority} · {each.story or each.rule_title}"[:120],
            value=each.alert_id,
            selected="" if each.alert_id == chosen else None,
        )
        for each in listed[:MAX_CHOICES]
    ]
    return tag(
        "form",
        tag("label", "Alert", tag("select", tag("option", "choose one", value=""), *options, name="alert")),
        tag("button", "Preview", type="submit", class_="desk-button is-main"),
        class_="desk-form",
        method="get",
        action="/oncall",
    )


def register(desk: Desk) -> None:
    """Serve the page."""

    @page("/oncall")
    async def oncall_page(request: Request) -> None:
        chosen = request.query_params.get("alert", "")
        with frame("On call", person_of(request), "oncall"):
            style()
            await fill(lambda: asyncio.to_thread(policy_of, desk.oncall_file), lambda found: _show(desk, found, chosen))
            with panel("Last deliveries"):
                await fill(lambda: asked(queries.latest_deliveries, desk.store), lambda found: raw(deliveries(found)))
            raw(markup.hint(f"The policy is in `{desk.oncall_file.name}`; check it with `tocsin oncall check`."))


def _show(desk: Desk, oncall: OnCall, chosen: str) -> None:
    at = now()
    with panel("Who is on call"):
        raw(duty_table(oncall.policy, duties(oncall, at), at))
    with panel("Overrides"):
        raw(override_table(oncall.policy, at))
    with panel("Who would be told"):
        raw(chooser(desk.live.states, chosen))
        state = desk.live.states.get(chosen)
        if state is not None:
            raw(tag("p", join(["About", markup.alert_link(chosen, state.story or state.rule_title)])))
            raw(preview_table(oncall.preview(state, at), at))
