"""What people ask for: done, or refused with the reason."""

from __future__ import annotations

import datetime as dt
from typing import Any

from processors.lifecycle import machine, silences, telling
from processors.lifecycle.groups import group_key, join, move, press, root
from processors.lifecycle.marks import Parts, follow, mark_all
from processors.lifecycle.memory import Memory, identifier
from schemas.lifecycle import Action, AlertState, Command


def carry_out(parts: Parts, command: Command, now: dt.datetime) -> None:
    """Do what the command asks, once: a repetition gets the first answer again."""
    memory = parts.memory
    handled = memory.handled.get(command.command_id)
    if handled is not None and _took_hold(memory, handled.action):
        memory.say(handled.action)
        _tell_assignee(parts, handled.action, now)
    elif command.verb == "silence":
        _silence(parts, command, now)
    elif command.verb == "expire_silence":
        _expire(parts, command, now)
    else:
        _alert(parts, command, now)


def _tell_assignee(parts: Parts, action: Action, now: dt.datetime) -> None:
    if action.verb == "assign" and action.accepted:
        telling.assigned(parts.memory, parts.roster, action, now)


def _took_hold(memory: Memory, action: Action) -> bool:
    """Whether what was answered was done too: a crash may have come between the two records. Silences are written
    before their answer."""
    state = memory.states.get(action.alert_id)
    return not action.accepted or state is None or state.revision >= action.revision


def _refuse(memory: Memory, command: Command, reason: str, now: dt.datetime) -> None:
    state = memory.states.get(command.alert_id)
    _answer(
        memory,
        command,
        now,
        accepted=False,
        reason=reason,
        before=state.state if state else None,
        after=state.state if state else None,
        revision=state.revision if state else 0,
    )


def answer_to(command: Command, now: dt.datetime, **fields: Any) -> Action:
    """What becomes of a command, as a line of history: its id follows from the command."""
    return Action(
        action_id=identifier("command", command.command_id),
        command_id=command.command_id,
        alert_id=command.alert_id,
        verb=command.verb,
        by=command.by,
        via=command.via,
        at=now,
        text=command.text,
        **fields,
    )


def _answer(memory: Memory, command: Command, now: dt.datetime, **fields: Any) -> None:
    action = answer_to(command, now, **fields)
    memory.answer(action)
    memory.say(action)


def _alert(parts: Parts, command: Command, now: dt.datetime) -> None:
    memory = parts.memory
    state = memory.states.get(command.alert_id)
    if state is None:
        _refuse(memory, command, f"there is no alert {command.alert_id or '(none given)'}", now)
        return
    reason = _stale(memory, command, state) or machine.refused(command, state)
    if not reason and command.verb == "merge":
        reason = _merge_refused(memory, command, state)
    if reason:
        _refuse(memory, command, reason, now)
        return
    children: list[str] = []
    if command.verb == "merge":
        details = _merge(parts, command, state, now)
    elif command.verb == "split":
        details = _split(parts, command, state, now)
    else:
        if command.verb == "close":
            children = _close_merged(memory, command, state, now)
        details = _simple(parts, command, memory.states[state.alert_id], now)
    after = memory.states[state.alert_id]
    action = memory.act(
        command.verb,
        now,
        state,
        after,
        by=command.by,
        via=command.via,
        action_id=identifier("command", command.command_id),
        command_id=command.command_id,
        text=command.text,
        details=details,
    )
    memory.answer(action)
    _tell_assignee(parts, action, now)
    told = memory.told.get(state.alert_id)
    if told is not None and told.history and after.state != state.state:
        memory.put_told(state.alert_id, told._replace(history=False))
    for each in (state.alert_id, details.get("target") or details.get("taken_from"), *children):
        if each is not None:
            follow(parts, each, now)
    if command.verb == "unacknowledge":
        press(memory, state.alert_id, now)


def _close_merged(memory: Memory, command: Command, target: AlertState, now: dt.datetime) -> list[str]:
    """Close what was merged into an alert that is closed; the ids. Before the alert itself: when a crash comes in
    between, the command is carried out again."""
    closed: list[str] = []
    waiting = list(target.merged)
    while waiting:
        before = memory.states.get(waiting.pop(0))
        if before is None:
            continue
        waiting += before.merged
        if before.is_active:
            after = memory.change(before.alert_id, now, machine.change(command, before, now))
            details = {"merged_into": target.alert_id, "verdict": command.verdict}
            by, via, text = command.by, command.via, command.text
            memory.act("close", now, before, after, by=by, via=via, text=text, details=details)
            closed.append(before.alert_id)
    return closed


def _stale(memory: Memory, command: Command, state: AlertState) -> str:
    """Who did what since the person looked. Evidence that grew meanwhile is no reason to refuse, nor is anything a
    reason to refuse a note."""
    if command.revision is None or command.revision >= state.revision or command.verb == "note":
        return ""
    since = [each for each in memory.changes.get(state.alert_id, ()) if each.revision > command.revision]
    if not since:
        return ""
    what = "; ".join(f"{each.by}: {each.verb} at {each.at:%H:%M:%S} UTC" for each in since[-3:])
    return f"the alert has moved on since you looked ({what}); it is now {machine.phase(state)}, look again"


def _simple(parts: Parts, command: Command, state: AlertState, now: dt.datetime) -> dict[str, Any]:
    memory = parts.memory
    fields = machine.change(command, state, now)
    after = memory.change(state.alert_id, now, fields)
    if command.verb == "reopen":
        key = join(memory, parts.roster, after, now)
        memory.put_state(after.model_copy(update={"group_key": key}))
    names = ("assignee", "verdict", "acknowledged_until")
    found = {name: getattr(after, name) for name in names if name in fields and getattr(after, name) is not None}
    if after.acknowledged_until is not None and "acknowledged_until" in found:
        found["acknowledged_until"] = after.acknowledged_until.isoformat()
    return found


def _merge_refused(memory: Memory, command: Command, state: AlertState) -> str:
    target = memory.states.get(command.target or "")
    if target is None:
        return f"there is no alert {command.target or '(none given)'} to merge into"
    if not target.is_active:
        return f"the target is {machine.phase(target)}; merge into one that is active, or reopen it first"
    if target.exercise != state.exercise:
        return "exercise and live alerts are kept apart; they cannot be merged"
    if target.alert_id == state.alert_id or root(memory, target).alert_id == state.alert_id:
        return "the target is the alert itself, or is merged into it already; that would be a cycle"
    return ""


def _merge(parts: Parts, command: Command, state: AlertState, now: dt.datetime) -> dict[str, Any]:
    """The target is the one at the end of the chain, so that an alert is never two merges away from who notifies."""
    memory = parts.memory
    target = root(memory, memory.states[command.target or ""])
    move(memory, state.alert_id, target.group_key, now)
    _relist(memory, command, target, {*target.merged, state.alert_id}, now)
    memory.change(state.alert_id, now, {"merged_into": target.alert_id})
    return {"target": target.alert_id}


def _split(parts: Parts, command: Command, state: AlertState, now: dt.datetime) -> dict[str, Any]:
    memory = parts.memory
    target = memory.states.get(state.merged_into or "")
    if target is not None:
        _relist(memory, command, target, set(target.merged) - {state.alert_id}, now)
    alone = state.model_copy(update={"group_key": group_key(parts.roster.route(state), state)})
    move(memory, state.alert_id, join(memory, parts.roster, alone, now), now)
    memory.change(state.alert_id, now, {"merged_into": None})
    return {"taken_from": state.merged_into}


def _relist(memory: Memory, command: Command, target: AlertState, merged: set[str], now: dt.datetime) -> None:
    after = memory.change(target.alert_id, now, {"merged": sorted(merged)})
    details = {command.verb: command.alert_id}
    memory.act(command.verb, now, target, after, by=command.by, via=command.via, text=command.text, details=details)


def _silence(parts: Parts, command: Command, now: dt.datetime) -> None:
    memory, silence = parts.memory, command.silence
    reason = silences.refused(silence, memory.silences.get(silence.silence_id) if silence else None, now)
    if reason or silence is None:
        _refuse(memory, command, reason, now)
        return
    _answer(memory, command, now, details={"silence": silence.model_dump(mode="json")})
    memory.put_silence(silence, now)
    mark_all(parts, _active(memory), now)


def _expire(parts: Parts, command: Command, now: dt.datetime) -> None:
    memory, silence_id = parts.memory, command.silence_id or ""
    silence = memory.silences.get(silence_id)
    reason = silences.expiry_refused(silence_id, silence, now)
    if reason or silence is None:
        _refuse(memory, command, reason, now)
        return
    _answer(memory, command, now, details={"silence_id": silence_id})
    # One that has not begun ends where it begins: it never holds.
    ended = silence.model_copy(update={"starts_at": min(silence.starts_at, now), "ends_at": now})
    memory.put_silence(ended, now)
    mark_all(parts, _active(memory), now)


def _active(memory: Memory) -> list[str]:
    return [each.alert_id for each in memory.states.values() if each.is_active]
