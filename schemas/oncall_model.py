"""Who is told about alerts, when and how: the model of ``oncall.yml``. Words are PagerDuty's and Alertmanager's."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.channels import Channel
from schemas.durations import Duration, Positive
from schemas.fields import NonEmpty
from schemas.lifecycle import Matcher
from schemas.matcher_text import parse_matcher

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: Final[tuple[Weekday, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WATCHDOG: Final = "watchdog"
"""Stands for a person where the watchdog has a channel of its own; nobody may have this id."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # of a folder, of a path that leads elsewhere, of an unknown name
        pass
    else:
        return name
    raise PydanticCustomError("time_zone", "must be a time zone of the IANA database, for example Europe/Berlin")


def _clock(value: Any) -> Any:
    if isinstance(value, str) and len(value) == 5:
        try:
            return dt.time.fromisoformat(value)
        except ValueError:
            pass
    # YAML 1.1 reads 20:00 without quotes as the number 1200, and 08:00 as text.
    raise PydanticCustomError("clock", "must be a time of day in quotes, for example '08:00'")


def _moment(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, str):
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            pass
    raise PydanticCustomError("moment", "must be a date and time, for example 2026-12-24 08:00 (local to the schedule)")


def _date(value: Any) -> Any:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    raise PydanticCustomError("date", "must be a date, for example 2026-01-05")


Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="small letters, digits, . _ -")]
TimeZone = Annotated[str, AfterValidator(_zone)]
ClockTime = Annotated[dt.time, BeforeValidator(_clock)]
Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
Matchers = tuple[Annotated[Matcher, BeforeValidator(parse_matcher)], ...]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Person(_Model):
    """Somebody who can be told. ``channels`` are tried in their order until one takes the message."""

    id: Id
    name: NonEmpty
    time_zone: TimeZone
    channels: Annotated[tuple[Channel, ...], Field(min_length=1)]


class Restriction(_Model):
    """Hours of local wall-clock time in which a rotation counts. When ``to`` is not after ``from`` it ends on the next
    day; ``days`` are the days on which it begins."""

    days: tuple[Weekday, ...] = WEEKDAYS
    start: Annotated[ClockTime, Field(alias="from")]
    end: Annotated[ClockTime, Field(alias="to")]


class Rotation(_Model):
    """People who take turns. The first has it from ``start`` on; hand-over is at ``handover`` local wall-clock time on
    ``days``, and only every ``every``-th time (with ``days: [mon]`` and 2: every other Monday)."""

    name: NonEmpty
    people: Annotated[tuple[str, ...], Field(min_length=1)]
    start: Annotated[dt.date, BeforeValidator(_date)]
    handover: ClockTime
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEKDAYS
    every: Annotated[int, Field(ge=1)] = 1
    restrictions: tuple[Restriction, ...] = ()


class Schedule(_Model):
    """Who is on call when. The last rotation that counts at a moment has it; overrides go before all."""

    id: Id
    name: NonEmpty
    time_zone: TimeZone
    rotations: Annotated[tuple[Rotation, ...], Field(min_length=1)]


class Override(_Model):
    """Somebody who stands in. Times without an offset are local to the schedule; of two, the later in the file wins."""

    schedule: str
    person: str
    start: Annotated[Moment, Field(alias="from")]
    end: Annotated[Moment, Field(alias="to")]
    reason: str = ""


class Step(_Model):
    """Whom an escalation step tells, by ids of schedules and people, and how long it waits for an acknowledgement."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    timeout: Positive = 900.0


class EscalationPolicy(_Model):
    """Steps taken one after the other while nobody acknowledges, and the whole again ``repeat`` times."""

    id: Id
    name: str = ""
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    repeat: Annotated[int, Field(ge=0, le=10)] = 0


class DefaultRoute(_Model):
    """Where an alert goes that no other route takes, and what routes leave open. ``group_by`` names fields of the alert
    as matchers do."""

    policy: str
    group_by: tuple[str, ...] = ("rule_id",)
    group_wait: Duration = 30.0
    group_interval: Positive = 300.0
    repeat_interval: Positive = 14_400.0


class RouteRule(_Model):
    """Alerts that meet all ``matchers`` go to ``policy``; the first route that takes an alert has it."""

    name: NonEmpty
    matchers: Annotated[Matchers, Field(min_length=1)]
    policy: str
    group_by: tuple[str, ...] | None = None
    group_wait: Duration | None = None
    group_interval: Positive | None = None
    repeat_interval: Positive | None = None


class Inhibition(_Model):
    """While an alert that meets ``source`` is worked on, alerts that meet ``target`` notify nobody if they have the
    same values of ``equal``, lie within ``within_km`` (when given) and have events within ``within`` of each other."""

    name: NonEmpty
    source: Annotated[Matchers, Field(min_length=1)]
    target: Annotated[Matchers, Field(min_length=1)]
    equal: tuple[str, ...] = ()
    within_km: Annotated[float, Field(gt=0, le=20_040)] | None = None
    within: Positive


class Watchdog(_Model):
    """A message that always comes, to one person or to a channel such as a dead man's switch; when it fails to come,
    the way of alerts is broken."""

    every: Positive
    person: str | None = None
    channel: Channel | None = None

    @model_validator(mode="after")
    def _one_receiver(self) -> Watchdog:
        if (self.person is None) == (self.channel is None):
            raise PydanticCustomError("receiver", "needs a person or a channel, and not both")
        return self


class OnCallPolicy(_Model):
    """All of an on-call file; ids that one part uses and another does not have are refused by the loader."""

    people: Annotated[tuple[Person, ...], Field(min_length=1)]
    schedules: tuple[Schedule, ...] = ()
    overrides: tuple[Override, ...] = ()
    escalation_policies: Annotated[tuple[EscalationPolicy, ...], Field(min_length=1)]
    default_route: DefaultRoute
    routes: tuple[RouteRule, ...] = ()
    inhibit_rules: tuple[Inhibition, ...] = ()
    watchdog: Watchdog | None = None

    def person(self, person_id: str) -> Person | None:
        """The person of this id; ``None`` when there is none."""
        return next((each for each in self.people if each.id == person_id), None)

    def channels_of(self, person_id: str) -> tuple[Channel, ...]:
        """A person's channels in order, or the watchdog's; empty for an unknown id."""
        if person_id == WATCHDOG and self.watchdog is not None and self.watchdog.channel is not None:
            return (self.watchdog.channel,)
        person = self.person(person_id)
        return person.channels if person else ()
