"""Reading ``oncall.yml``: shape first, then that everything it refers to is there; each problem with file and line.

The model is in schemas/oncall_model.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from schemas.channels import SECRET_LITERAL
from schemas.events import problems_of
from schemas.matcher_text import check_field
from schemas.oncall_model import WATCHDOG, OnCallPolicy, Person, Schedule
from schemas.yaml_lines import ConfigError, YamlDocument, load_yaml

__all__ = ["WATCHDOG", "OnCallPolicy", "Person", "Schedule", "load_oncall", "moment"]

Loc = tuple[int | str, ...]


def load_oncall(path: Path) -> OnCallPolicy:
    """Read and check an on-call file.

    Raises:
        ConfigError: one line a problem, each with file and line; a secret that stands in the file is not repeated.
    """
    document = load_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}:1: expected people, escalation_policies, default_route and so on")
    try:
        policy = OnCallPolicy.model_validate(document.data)
    except ValidationError as error:
        # Without the cause: it holds the values, and a secret may be among them.
        raise _refuse(document, error) from None
    problems = [document.error(loc, message) for loc, message in _problems(policy, document)]
    if problems:
        raise ConfigError("\n".join(problems))
    return policy


def _refuse(document: YamlDocument, error: ValidationError) -> ConfigError:
    lines = []
    for detail, problem in zip(error.errors(include_url=False), problems_of(error), strict=True):
        secret = detail["type"] == SECRET_LITERAL
        lines.append(document.error(detail["loc"], f"{problem.field}: {problem.fix}" if secret else str(problem)))
    return ConfigError("\n".join(lines))


def _problems(policy: OnCallPolicy, document: YamlDocument) -> Iterator[tuple[Loc, str]]:
    yield from _repeated(policy, document)
    yield from _unknown(policy)
    yield from _fields(policy)
    yield from _backward(policy)


def _repeated(policy: OnCallPolicy, document: YamlDocument) -> Iterator[tuple[Loc, str]]:
    """Steps name people and schedules by id alone, so these share their ids; policies have theirs."""
    for lists in (("people", "schedules"), ("escalation_policies",)):
        seen: dict[str, Loc] = {}
        for name in lists:
            for index, each in enumerate(getattr(policy, name)):
                loc: Loc = (name, index, "id")
                first = seen.setdefault(each.id, loc)
                if first != loc:
                    yield loc, f"id: found {each.id!r} again, first on line {document.line_of(first)}"
                if each.id == WATCHDOG and name == "people":
                    yield loc, f"id: {WATCHDOG!r} stands for the watchdog's own channel; take another"


def _unknown(policy: OnCallPolicy) -> Iterator[tuple[Loc, str]]:
    people = {each.id for each in policy.people}
    schedules = {each.id for each in policy.schedules}
    policies = {each.id for each in policy.escalation_policies}
    uses: list[tuple[Loc, str, set[str], str]] = []
    for s, schedule in enumerate(policy.schedules):
        for r, rotation in enumerate(schedule.rotations):
            loc: Loc = ("schedules", s, "rotations", r, "people")
            uses += [((*loc, i), name, people, "person") for i, name in enumerate(rotation.people)]
    for o, override in enumerate(policy.overrides):
        uses.append((("overrides", o, "schedule"), override.schedule, schedules, "schedule"))
        uses.append((("overrides", o, "person"), override.person, people, "person"))
    for p, each in enumerate(policy.escalation_policies):
        for s, step in enumerate(each.steps):
            loc = ("escalation_policies", p, "steps", s, "targets")
            uses += [((*loc, i), name, people | schedules, "person or schedule") for i, name in enumerate(step.targets)]
    uses.append((("default_route", "policy"), policy.default_route.policy, policies, "escalation policy"))
    uses += [
        (("routes", i, "policy"), each.policy, policies, "escalation policy") for i, each in enumerate(policy.routes)
    ]
    if policy.watchdog is not None and policy.watchdog.person is not None:
        uses.append((("watchdog", "person"), policy.watchdog.person, people, "person"))
    for loc, name, known, kind in uses:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            yield loc, f"{loc[-1] if isinstance(loc[-1], str) else loc[-2]}: no {kind} {name!r}; there is {there}"


def _fields(policy: OnCallPolicy) -> Iterator[tuple[Loc, str]]:
    named: list[tuple[Loc, tuple[str, ...]]] = [(("default_route", "group_by"), policy.default_route.group_by)]
    named += [(("routes", i, "group_by"), each.group_by or ()) for i, each in enumerate(policy.routes)]
    named += [(("inhibit_rules", i, "equal"), each.equal) for i, each in enumerate(policy.inhibit_rules)]
    for loc, fields in named:
        for index, field in enumerate(fields):
            try:
                check_field(field)
            except PydanticCustomError as error:
                yield (*loc, index), f"{loc[-1]}: {error.message()}"


def _backward(policy: OnCallPolicy) -> Iterator[tuple[Loc, str]]:
    zones = {each.id: ZoneInfo(each.time_zone) for each in policy.schedules}
    for index, override in enumerate(policy.overrides):
        zone = zones.get(override.schedule)
        if zone is not None and moment(override.start, zone) >= moment(override.end, zone):
            yield ("overrides", index, "to"), "to: must be after from"


def moment(value: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """A time of the file as aware UTC; without an offset it is local to ``zone``."""
    return (value if value.tzinfo is not None else value.replace(tzinfo=zone)).astimezone(dt.UTC)
