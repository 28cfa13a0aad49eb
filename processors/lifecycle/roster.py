"""What the lifecycle wants to know of the on-call policy: who is told of an alert, and when the next one is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from schemas.lifecycle import AlertState, Matcher


@dataclass(frozen=True)
class Route:
    """Where an alert goes, with Alertmanager's words; times are seconds.

    ``group_wait_s`` passes before a new group is told of, so that what belongs together comes as one message;
    ``group_interval_s`` lies between two messages about one group; ``repeat_interval_s`` after the last step the policy
    starts over.
    """

    policy: str
    group_by: tuple[str, ...]
    group_wait_s: float
    group_interval_s: float
    repeat_interval_s: float


@dataclass(frozen=True)
class InhibitRule:
    """While an active alert meets ``source``, those that meet ``target`` and lie close to it tell nobody.

    Close: the fields in ``equal`` (fields of AlertState, or ``group.<name>``) have the same values, the places lie
    within ``within_km`` of each other (None: anywhere), and at most ``within_s`` seconds lie between the events of one
    and those of the other.
    """

    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]
    within_km: float | None
    within_s: float


class Roster(Protocol):
    """The on-call policy as it stands. Answers depend on the arguments alone; times are aware."""

    @property
    def inhibit_rules(self) -> tuple[InhibitRule, ...]: ...

    def route(self, state: AlertState) -> Route:
        """The first route that matches; there is always one."""
        ...

    def persons(self, policy: str, step: int, at: dt.datetime) -> tuple[str, ...]:
        """Ids of those to notify at this step (from 0); none when it does not exist, or nobody is on call."""
        ...

    def knows(self, person: str) -> bool:
        """Whether there is a person of that id, who can be told."""
        ...

    def timeout_s(self, policy: str, step: int) -> float | None:
        """Seconds until the step after this one; None when this is the last one, or there is no such step."""
        ...
