"""``tocsin oncall``: who is on call, who would be told of an alert and how, and whether file and channels work."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashboards.alerts import Store, StoreAwayError
from deploy.options import AsJson, DataDir
from processors.oncall import OnCall, Planned
from processors.rotations import Shift
from schemas.lifecycle import AlertState, Delivery
from schemas.oncall import OnCallPolicy, load_oncall
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

app = typer.Typer(
    help="Who is on call, and who is told of what.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

At = Annotated[str | None, typer.Option("--at", help="A date or time, UTC unless it has an offset (default now).")]
ScheduleId = Annotated[str | None, typer.Option("--schedule", help="Only this schedule.")]

AHEAD = dt.timedelta(days=30)


def open_store(data_dir: Path | None) -> Store:
    """The store of the platform whose folder is ``data_dir``."""
    return Store(Settings.load(data_dir))


def _refuse(message: str, status: int = 1) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(status)


def _roster(path: Path) -> OnCall:
    try:
        return OnCall(load_oncall(path))
    except ConfigError as error:
        raise _refuse(str(error)) from None


def _moment(text: str | None, option: str = "--at") -> dt.datetime:
    if text is None:
        return dt.datetime.now(dt.UTC)
    try:
        read = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-03-29T07:59:00Z, or 2026-03-29", param_hint=option
        ) from None
    return (read if read.tzinfo else read.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)


def _schedules(roster: OnCall, schedule: str | None) -> list[str]:
    known = [each.id for each in roster.policy.schedules]
    if schedule is not None and schedule not in known:
        raise _refuse(f"no schedule {schedule!r}; there is {', '.join(known) or 'none'}")
    return known if schedule is None else [schedule]


@app.command()
def who(at: At = None, schedule: ScheduleId = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Say who is on call.

    - `tocsin oncall who`
    - `tocsin oncall who --at 2026-03-29T07:59:00+02:00 --schedule watch --json`
    """
    roster, moment = _roster(Settings.load(data_dir).oncall_file), _moment(at)
    _print_shifts(roster, [roster.shift(each, moment) for each in _schedules(roster, schedule)], as_json)


@app.command()
def shifts(
    begin: Annotated[str | None, typer.Option("--from", help="Begin, as --at of who (default now).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End, not included (default a week after).")] = None,
    schedule: ScheduleId = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the shifts of a span of time, by default the next 7 days; the first and the last are cut to it."""
    roster, start = _roster(Settings.load(data_dir).oncall_file), _moment(begin, "--from")
    until = start + dt.timedelta(days=7) if end is None else _moment(end, "--to")
    if until <= start:
        raise typer.BadParameter(f"{until.isoformat()} is not after {start.isoformat()}", param_hint="--to")
    found = [shift for each in _schedules(roster, schedule) for shift in roster.shifts(each, start, until)]
    _print_shifts(roster, found, as_json)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="An on-call file (default the one in use).")] = None,
    data_dir: DataDir = None,
) -> None:
    """Check an on-call file. Exit status 1 with file and line of each mistake; gaps in schedules are warnings."""
    path = file or Settings.load(data_dir).oncall_file
    roster = _roster(path)
    policy = roster.policy
    for warning in warnings(roster, dt.datetime.now(dt.UTC)):
        typer.echo(f"warning: {warning}")
    typer.echo(
        f"{path}: {len(policy.people)} people, {len(policy.schedules)} schedules, "
        f"{len(policy.escalation_policies)} escalation policies and {len(policy.routes) + 1} routes "
        "are as they should be"
    )


def warnings(roster: OnCall, now: dt.datetime) -> list[str]:
    """What a file may say but hardly means: moments of the next 30 days at which nobody is on call, and people who are
    told of nothing."""
    said = []
    for schedule in roster.policy.schedules:
        gaps = [each for each in roster.shifts(schedule.id, now, now + AHEAD) if each.person is None]
        if gaps:
            first, more = gaps[0], f" and {len(gaps) - 1} times more" if len(gaps) > 1 else ""
            zone = ZoneInfo(schedule.time_zone)
            said.append(
                f"nobody is on call in {schedule.id} from {_local(first.start, zone)} "
                f"until {_local(first.end, zone)}{more}"
            )
    said += [f"no schedule, policy or watchdog names {person}" for person in _unnamed(roster.policy)]
    return said


def _unnamed(policy: OnCallPolicy) -> list[str]:
    named = {target for each in policy.escalation_policies for step in each.steps for target in step.targets}
    named |= {person for each in policy.schedules for rotation in each.rotations for person in rotation.people}
    named |= {each.person for each in policy.overrides}
    named |= {policy.watchdog.person} if policy.watchdog and policy.watchdog.person else set()
    return [each.id for each in policy.people if each.id not in named]


@app.command()
def preview(
    alert_id: Annotated[str, typer.Argument(metavar="ALERT_ID", help="Alert id, or the start of one.")],
    at: At = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say who would get what and when if this alert was raised at a moment and nobody acknowledged it, and why."""
    roster, moment = _roster(Settings.load(data_dir).oncall_file), _moment(at)
    state = _state(open_store(data_dir), alert_id)
    plan, held = roster.preview(state, moment), held_back(state)
    if as_json:
        typer.echo(json.dumps({"alert_id": state.alert_id, "held_back": held, "planned": list(map(_plain, plan))}))
        return
    table = Table("when", "step", "person", "channels", "why", box=box.SIMPLE)
    for each in plan:
        cells = (_utc(each.due_at), str(each.step + 1), each.name, ", then ".join(each.channels), each.why)
        table.add_row(*map(Text, cells))
    if held:
        typer.echo(f"Now nobody is told of it: {held}. Without that:")
    Console().print(table)


def held_back(state: AlertState) -> str:
    """Why an alert tells nobody as it stands; empty when it does."""
    reasons = (
        (state.silences, f"silenced by {', '.join(state.silences)}"),
        (state.inhibited_by, f"inhibited by {state.inhibited_by}"),
        (state.merged_into, f"merged into {state.merged_into}"),
        (not state.is_active, "it is closed, withdrawn or superseded"),
    )
    return "; ".join(text for holds, text in reasons if holds)


def _state(store: Store, prefix: str) -> AlertState:
    try:
        found = store.rows(
            "SELECT alert_id, record FROM alert_states FINAL WHERE startsWith(alert_id, {prefix:String}) "
            "ORDER BY alert_id = {prefix:String} DESC, alert_id LIMIT 6",
            {"prefix": prefix},
        )
    except StoreAwayError as error:
        raise _refuse(str(error), 2) from None
    ids = [str(row["alert_id"]) for row in found]
    if not ids or not prefix:
        raise _refuse(f"No alert has an id that starts with '{prefix}'. See the ids with: tocsin alerts list --all")
    if len(ids) > 1 and ids[0] != prefix:
        raise _refuse(f"'{prefix}' is the start of several alert ids: {', '.join(ids[:5])}. Give more of it.")
    return AlertState.model_validate_json(found[0]["record"])


@app.command("test")
def try_channels(
    person: Annotated[str, typer.Option("--person", help="Id of the person in the on-call file.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Send a test message through each channel of a person. Exit status 1 when one of them fails."""
    settings = Settings.load(data_dir)
    policy = _roster(settings.oncall_file).policy
    if not policy.channels_of(person):
        raise _refuse(f"no person {person!r}; there is {', '.join(each.id for each in policy.people)}")
    rows = asyncio.run(_try(policy, person, settings.desk_url))
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in rows]))
    else:
        table = Table("channel", "address", "outcome", "ms", "error", box=box.SIMPLE)
        for each in rows:
            cells = (each.channel, each.address, each.outcome, str(each.took_ms), each.error)
            table.add_row(*map(Text, cells))
        Console().print(table)
    raise typer.Exit(0 if not any(each.outcome == "failed" for each in rows) else 1)


async def _try(policy: OnCallPolicy, person: str, desk_url: str | None) -> list[Delivery]:
    from processors.notify.deliver import Deliverer  # an HTTP client, for this command alone

    deliverer = Deliverer(policy, desk_url=desk_url)
    try:
        return await deliverer.test(person, dt.datetime.now(dt.UTC))
    finally:
        await deliverer.aclose()


def _print_shifts(roster: OnCall, found: list[Shift], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_shift_json(roster, each) for each in found], indent=2))
        return
    zones = {each.id: ZoneInfo(each.time_zone) for each in roster.policy.schedules}
    table = Table("schedule", "on call", "from", "until", "why", box=box.SIMPLE)
    for each in found:
        zone = zones[each.schedule]
        cells = (each.schedule, _name(roster, each), _local(each.start, zone), _local(each.end, zone), each.why)
        table.add_row(*map(Text, cells))
    Console().print(table)


def _name(roster: OnCall, shift: Shift) -> str:
    person = roster.policy.person(shift.person) if shift.person else None
    return person.name if person else "nobody"


def _shift_json(roster: OnCall, shift: Shift) -> dict[str, Any]:
    return {
        "schedule": shift.schedule,
        "person": shift.person,
        "name": _name(roster, shift) if shift.person else None,
        "from": shift.start.isoformat(),
        "to": shift.end.isoformat(),
        "why": shift.why,
    }


def _plain(planned: Planned) -> dict[str, Any]:
    return {
        "due_at": planned.due_at.isoformat(),
        "step": planned.step,
        "person": planned.person,
        "name": planned.name,
        "channels": list(planned.channels),
        "why": planned.why,
    }


def _local(at: dt.datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %Y-%m-%d %H:%M %Z}"


def _utc(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
