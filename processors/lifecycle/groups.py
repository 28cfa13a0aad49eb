"""Which alerts are told of together, what of them is still untold, and whether somebody has to take them on.

Two things hold for every group after each step: ``flush_at`` is set if and only if a member is untold (before the first
message also while the group gathers), and ``escalate_at`` is set if and only if a member is pressing.
"""

from __future__ import annotations

import datetime as dt
import math

import orjson

from processors.lifecycle.matchers import values
from processors.lifecycle.memory import Memory
from processors.lifecycle.records import Group, Told
from processors.lifecycle.roster import Roster, Route
from schemas.lifecycle import AlertState

WATCHDOG_TAG = "platform.watchdog"
"""The alert that always fires is shown and never told: who hears it, and how often, is not a matter of escalation."""
MIN_INTERVAL_S = 1.0


def group_key(route: Route, state: AlertState) -> str:
    """Live or exercise, the policy, and the values of the route's ``group_by``."""
    found = {name: ",".join(sorted(values(state, name))) for name in route.group_by}
    return f"{'exercise' if state.exercise else 'live'} {route.policy} {orjson.dumps(found).decode()}"


def is_muted(state: AlertState) -> bool:
    """Whether a silence or an inhibition keeps the alert from being told."""
    return bool(state.silences) or state.inhibited_by is not None or WATCHDOG_TAG in state.tags


def root(memory: Memory, state: AlertState) -> AlertState:
    """The alert that the chain of merges ends at; the alert itself when it is not merged."""
    while state.merged_into is not None and state.merged_into in memory.states:
        state = memory.states[state.merged_into]
    return state


def is_pressing(memory: Memory, state: AlertState) -> bool:
    """Whether somebody who was told of the alert still has to take it on. A merged one waits with its target, history
    for nobody."""
    told = memory.told.get(state.alert_id)
    if (
        not state.is_active
        or state.state != "open"
        or is_muted(state)
        or told is None
        or not told.active
        or told.history
    ):
        return False
    head = root(memory, state)
    return head is state or not head.is_active


def is_untold(memory: Memory, state: AlertState) -> bool:
    """Whether a message is due about the alert. That it is over is told to those who know of it even while a silence
    holds; everything else waits until it ends."""
    told = memory.told.get(state.alert_id)
    if not state.is_active:
        return told is not None and told.active
    return not is_muted(state) and (told is None or told[:2] != (state.alert_version, True))


def join(memory: Memory, roster: Roster, state: AlertState, now: dt.datetime) -> str:
    """Key of the group that takes the alert, begun or resumed when need be.

    The alert stays in the group that it was put into. A group whose alerts were all over goes on when one of those that
    it told of comes back; any other alert begins a new situation.
    """
    route = roster.route(state)
    key = state.group_key or group_key(route, state)
    group = memory.groups.get(key)
    if group is not None and not group.ended:
        return key
    flush_at = now + dt.timedelta(seconds=route.group_wait_s)
    if group is not None and state.alert_id in memory.told:
        group = group.model_copy(update={"ended": False, "flush_at": flush_at})
    else:
        group = Group(
            key=key,
            situation=f"{state.alert_id}@{state.revision}",
            policy=route.policy,
            wait_s=route.group_wait_s,
            interval_s=max(route.group_interval_s, MIN_INTERVAL_S),
            repeat_s=max(route.repeat_interval_s, MIN_INTERVAL_S),
            begun_at=now,
            flush_at=flush_at,
        )
    memory.put_group(group)
    return key


def leave(memory: Memory, key: str, alert_id: str, now: dt.datetime) -> None:
    """Take an alert out of the group ``key``, which it is no longer told of in."""
    memory.members[key].discard(alert_id)
    memory.pressing[key].discard(alert_id)
    if key in memory.groups:
        _balance(memory, memory.groups[key], now)


def carry(memory: Memory, source: str, target: str) -> None:
    """Those who were told in one group hear of what is told in the other from now on, in the same thread. A target that
    ended before it told anything is forgotten and tells nothing."""
    if source == target or source not in memory.groups or target not in memory.groups:
        return
    group = memory.groups[target]
    merged = {**memory.groups[source].recipients, **group.recipients}
    if merged.keys() != group.recipients.keys():
        group.recipients = merged
        memory.put_group(group)


def move(memory: Memory, alert_id: str, key: str, now: dt.datetime) -> None:
    """Put an alert, and those merged into it, into the group ``key``, where it is news to those who do not know it."""
    state = memory.states[alert_id]
    told = memory.told.get(alert_id)
    if state.group_key != key:
        if told is not None:
            carry(memory, state.group_key, key)
            memory.put_told(alert_id, Told(0, told.active))
        memory.change(alert_id, now, {"group_key": key})
        leave(memory, state.group_key, alert_id, now)
    for each in state.merged:
        if each in memory.states:
            move(memory, each, key, now)


def settle(memory: Memory, alert_id: str, now: dt.datetime) -> None:
    """Bring the alert's group in line with the alert, and with those that wait with it."""
    state = memory.states[alert_id]
    group = memory.groups.get(state.group_key)
    if group is not None:
        _enter(memory, state)
        if group.flush_at is None and not group.ended and is_untold(memory, state):
            group.flush_at = next_flush(group, now)
            memory.put_group(group)
        _balance(memory, group, now)
    for each in state.merged:
        if each in memory.states:
            settle(memory, each, now)


def _enter(memory: Memory, state: AlertState) -> None:
    members, pressing = memory.members[state.group_key], memory.pressing[state.group_key]
    if state.is_active or is_untold(memory, state):
        members.add(state.alert_id)
    else:
        members.discard(state.alert_id)
    if is_pressing(memory, state):
        pressing.add(state.alert_id)
    else:
        pressing.discard(state.alert_id)


def _balance(memory: Memory, group: Group, now: dt.datetime) -> None:
    """Escalation stops when nothing presses any more, and goes on with the step it had come to when something does
    again: whoever took it on has not finished it."""
    pressing = bool(memory.pressing[group.key])
    before = (group.escalate_at, group.next_step, group.flush_at)
    if pressing and group.escalate_at is None:
        group.escalate_at, group.next_step = now, group.step
    elif not pressing:
        group.escalate_at = None
    if not group.ended and group.flush_at is None and not memory.members[group.key]:
        group.flush_at = now
    if before != (group.escalate_at, group.next_step, group.flush_at):
        memory.put_group(group)


def press(memory: Memory, alert_id: str, now: dt.datetime) -> None:
    """Somebody had taken the alert on and has not finished it: call the step that escalation had come to again, though
    others of the group may be waiting already."""
    group = memory.groups.get(memory.states[alert_id].group_key)
    if group is not None and alert_id in memory.pressing[group.key]:
        group.escalate_at, group.next_step = now, group.step
        memory.put_group(group)


def next_flush(group: Group, now: dt.datetime) -> dt.datetime:
    """The next time at which the group may speak: once it has waited, and then at whole intervals."""
    if group.flushed_at is None:
        return max(now, group.begun_at + dt.timedelta(seconds=group.wait_s))
    passed = math.floor((now - group.flushed_at).total_seconds() / group.interval_s)
    return group.flushed_at + dt.timedelta(seconds=group.interval_s * (max(passed, 0) + 1))


def repair(memory: Memory, roster: Roster) -> None:
    """After a restart: fill the indexes, and make good what a crash kept from being written.

    An active alert without a group joins one as if it had just come. Whatever is over in a group that ended was told of
    before that was written.
    """
    for _, state in sorted(memory.states.items()):
        group = memory.groups.get(state.group_key)
        if state.is_active and (group is None or group.ended):
            join(memory, roster, state, state.updated_at)
        elif group is not None and group.ended and is_untold(memory, state):
            memory.put_told(state.alert_id, Told(state.alert_version, active=False))
        _enter(memory, state)
    for alert_id, state in sorted(memory.states.items()):
        settle(memory, alert_id, state.updated_at)
    for _, group in sorted(memory.groups.items()):
        _balance(memory, group, group.flushed_at or group.begun_at)
