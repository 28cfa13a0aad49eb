"""What people and clocks do to alerts: commands in, actions and states out.

``commands.v1`` asks, ``actions.v1`` says what became of each request and of what time brought about, and
``lifecycle-state.v1`` is the compacted truth: states of alerts, groups, silences and notifications under keys that
begin with their kind. All three topics have one partition: order between two officers is the order of the log. Times
are aware UTC datetimes.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

COMMANDS_TOPIC = "commands.v1"
ACTIONS_TOPIC = "actions.v1"
LIFECYCLE_TOPIC = "lifecycle-state.v1"

State = Literal["open", "acknowledged", "assigned", "in_progress", "closed"]
Verdict = Literal["true_positive", "benign", "false_positive", "duplicate", "exercise"]
Priority = Literal["P1", "P2", "P3", "P4"]
PRIORITIES: tuple[Priority, ...] = ("P1", "P2", "P3", "P4")
"""P1 is worked on first."""
Via = Literal["desk", "api", "cli", "clock", "stream"]
Verb = Literal[
    "acknowledge",
    "unacknowledge",
    "assign",
    "start",
    "note",
    "close",
    "reopen",
    "merge",
    "split",
    "silence",
    "expire_silence",
]
"""What may be asked. ``merge`` puts an alert under another (``target``), ``split`` takes it out again."""
Done = Literal["raised", "updated", "withdrawn", "expired", "inhibited", "uninhibited", "silenced", "unsilenced"]
"""What happens without anybody asking: by the stream (raised, updated, withdrawn) or the clock (expired)."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Matcher(_Model):
    """A condition on an alert, as Alertmanager's matchers: all of a silence's matchers must hold.

    ``field`` is a field of :class:`AlertState` (``rule_id``, ``level``, ``partners``, ``families``, ``countries``,
    ``tags``, ``exercise``) or ``group.<name>``; lists match when any of their values does.
    """

    field: str
    op: Literal["=", "!=", "=~", "!~"] = "="
    value: str


class Silence(_Model):
    """While it holds, matching alerts notify nobody; they stay on the desk, marked. ``partner`` marks a maintenance
    window: then feed alerts about that partner are silenced as well."""

    silence_id: str
    matchers: list[Matcher]
    author: str
    reason: Annotated[str, Field(min_length=3)]
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    created_at: AwareDatetime
    partner: str | None = None

    def holds(self, at: dt.datetime) -> bool:
        """Whether it is in force at ``at`` (aware)."""
        return self.starts_at <= at < self.ends_at


class Command(_Model):
    """A request of a person. ``revision`` is the state's revision that the person saw: when it is given and the state
    has moved on, the request is refused, so that of two officers one wins and the other is told."""

    command_id: str
    verb: Verb
    alert_id: str = ""
    by: str
    via: Via
    at: AwareDatetime
    revision: int | None = None
    for_s: int | None = Field(
        default=None, ge=1, le=86_400, description="of acknowledge: seconds until it is open again"
    )
    assignee: str | None = None
    verdict: Verdict | None = None
    target: str | None = Field(default=None, description="of merge: the alert that this one goes under")
    text: str = Field(default="", max_length=10_000, description="note, or why")
    silence: Silence | None = None
    silence_id: str | None = None


class Action(_Model):
    """One line of an alert's history, or a refusal. ``action_id`` follows from what caused it, so that a repetition
    after a crash writes the same line again."""

    action_id: str
    command_id: str = ""
    alert_id: str
    verb: Verb | Done
    by: str
    via: Via
    at: dt.datetime
    accepted: bool = True
    reason: str = Field(default="", description="of a refusal: the state, and what is allowed in it")
    before: State | None = None
    after: State | None = None
    revision: int = 0
    text: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class AlertState(_Model):
    """An alert as people work with it: what the stream says of it, and what became of it.

    ``revision`` counts every change. ``priority_reasons`` say why it is so urgent. ``merged_into`` is the alert that
    this one was put under. ``silences`` are ids of silences that hold now, ``inhibited_by`` the incident alert that
    makes this one less pressing. ``withdrawn`` says that the stream took the alert back (retracted), ``superseded_by``
    that it goes on under another id; the state then follows it.
    """

    alert_id: str
    revision: int
    state: State
    priority: Priority
    priority_reasons: list[str]
    acknowledged_until: dt.datetime | None = None
    acknowledged_by: str | None = None
    assignee: str | None = None
    verdict: Verdict | None = None
    closed_at: dt.datetime | None = None
    closed_by: str | None = None
    notes: int = 0
    merged_into: str | None = None
    merged: list[str] = Field(default_factory=list)
    silences: list[str] = Field(default_factory=list)
    inhibited_by: str | None = None
    withdrawn: bool = False
    superseded_by: str | None = None
    supersedes: list[str] = Field(default_factory=list)
    group_key: str
    alert_version: int
    rule_id: str
    rule_title: str
    rule_version: str
    kind: str
    level: str
    exercise: bool
    tlp: str
    confidence: int
    group: dict[str, str]
    story: str
    response: str = ""
    tags: list[str]
    partners: list[str]
    families: list[str]
    countries: list[str]
    places: list[str]
    lat: float | None = None
    lon: float | None = None
    evidence_total: int
    first_event_at: dt.datetime
    last_event_at: dt.datetime
    published_at: dt.datetime
    raised_at: dt.datetime
    updated_at: dt.datetime

    @property
    def is_active(self) -> bool:
        """Whether anybody still has to look at it."""
        return self.state != "closed" and not self.withdrawn and self.superseded_by is None


NotificationKind = Literal["first", "update", "escalation", "reopened", "resolved", "assigned", "watchdog"]


class Notification(_Model):
    """One message to one person about one group of alerts. ``notification_id`` is the idempotency key: the same
    situation, step, person and occasion give the same one, however often a worker repeats its work. ``thread`` ties
    updates to the first message. ``dropped``: a later message of the thread says what this one would have said.
    ``first_due_at`` is set when delivery failed and is tried again at ``due_at``. Of ``alert_ids`` the first ``news``
    are new or changed since the message before; ``more`` alerts are left out. ``by``: of ``assigned``, who did it."""

    notification_id: str
    thread: str
    kind: NotificationKind
    person: str
    policy: str
    step: int
    group_key: str
    alert_ids: list[str]
    news: int = 0
    more: int = 0
    priority: Priority
    due_at: dt.datetime
    first_due_at: dt.datetime | None = None
    status: Literal["pending", "sent", "failed", "dropped"] = "pending"
    attempts: int = 0
    settled_at: dt.datetime | None = None
    channel: str = ""
    by: str = ""


class Delivery(_Model):
    """One attempt to deliver, as the table ``notifications`` keeps it. ``channel`` is the kind of channel, ``address``
    a form of it that shows no secret."""

    delivery_id: str
    notification_id: str
    attempt: int
    at: dt.datetime
    kind: NotificationKind
    person: str
    channel: str
    address: str
    outcome: Literal["sent", "retry", "failed", "rate_limited"]
    error: str = ""
    took_ms: int = 0
    group_key: str
    alert_ids: list[str]
    redacted: bool = Field(default=False, description="whether the body was held back for its TLP")
