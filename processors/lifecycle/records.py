"""What ``lifecycle-state.v1`` holds beside states, silences and notifications, and how it is written and read.

| key                  | value                                                                               |
| -------------------- | ----------------------------------------------------------------------------------- |
| `alert/<id>`         | :class:`AlertState`                                                                 |
| `silence/<id>`       | :class:`Silence`                                                                    |
| `notification/<id>`  | :class:`Notification`                                                               |
| `group/<key>`        | :class:`Group`                                                                      |
| `told/<alert id>`    | :class:`Told`: as what its recipients know the alert                                |
| `changes/<alert id>` | :class:`Change` list: the latest changes by people and time, for those who come late|
| `command/<id>`       | :class:`Handled`: the answer that a command got                                     |
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict

from schemas.lifecycle import LIFECYCLE_TOPIC, Action, AlertState, Notification, Silence
from streams.state import StateError

KINDS = ("silence", "command", "alert", "changes", "notification", "group", "told")
"""Kinds of records in the order in which they are written. A command's answer comes before what it did to an alert,
which is how a repetition knows whether it was done; a notification before the group that has told of it."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Group(_Model):
    """One situation: alerts that are told of together, and how far telling has come.

    ``situation`` is the first alert's id and revision. ``recipients`` are those who got a message, with the id of their
    first one, which is the thread of the later ones. ``flush_at``: when what changed is told; ``escalate_at``: when
    ``next_step`` is told, None while nobody has to be. ``step_ids`` are the messages of the latest step; ``reached``
    says whether any message got through since the policy last began. ``ended``: everything was over and that was told.
    Times are aware UTC, ``_s`` seconds.
    """

    key: str
    situation: str
    policy: str
    wait_s: float
    interval_s: float
    repeat_s: float
    begun_at: dt.datetime
    flush_at: dt.datetime | None = None
    flushed_at: dt.datetime | None = None
    occasion: int = 0
    recipients: dict[str, str] = {}
    step: int = 0
    next_step: int = 0
    escalate_at: dt.datetime | None = None
    step_ids: list[str] = []
    reached: bool = False
    ended: bool = False


class Told(NamedTuple):
    """The version of an alert that its recipients know, and whether they know it as active. ``history``: it was old
    when it came, counts as told, and waits for nobody until it changes or somebody takes it on."""

    version: int
    active: bool
    history: bool = False


class Change(_Model):
    """What a person or time did to an alert, which made its state the ``revision``."""

    revision: int
    verb: str
    by: str
    at: dt.datetime


class Handled(_Model):
    """The answer to a command; ``number`` counts commands, so that the oldest is forgotten first."""

    number: int
    action: Action


@dataclass
class Stored:
    """All records, read."""

    states: dict[str, AlertState] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)
    notifications: dict[str, Notification] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    handled: dict[str, Handled] = field(default_factory=dict)


def read(records: Mapping[str, bytes]) -> Stored:
    """Read back records; keys of other kinds are somebody else's.

    Raises:
        StateError: a record of ours is none of this version.
    """
    stored = Stored()
    for key, value in records.items():
        try:
            _read(stored, key, value)
        except (ValueError, TypeError) as error:
            raise StateError(LIFECYCLE_TOPIC, key, error) from error
    stored.handled = dict(sorted(stored.handled.items(), key=lambda item: item[1].number))
    return stored


def _read(stored: Stored, key: str, value: bytes) -> None:
    kind, _, name = key.partition("/")
    if kind == "alert":
        stored.states[name] = AlertState.model_validate_json(value)
    elif kind == "silence":
        stored.silences[name] = Silence.model_validate_json(value)
    elif kind == "notification":
        stored.notifications[name] = Notification.model_validate_json(value)
    elif kind == "group":
        stored.groups[name] = Group.model_validate_json(value)
    elif kind == "told":
        stored.told[name] = Told(*orjson.loads(value))
    elif kind == "changes":
        stored.changes[name] = [Change.model_validate(each) for each in orjson.loads(value)]
    elif kind == "command":
        stored.handled[name] = Handled.model_validate_json(value)


def written(value: BaseModel | Told | list[Change] | None) -> bytes | None:
    """The value of a record; None stays the tombstone."""
    if value is None:
        return None
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    if isinstance(value, Told):
        return orjson.dumps([value.version, value.active, *([True] if value.history else [])])
    return orjson.dumps([each.model_dump(mode="json") for each in value])
