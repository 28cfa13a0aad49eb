"""Who gets which message about a group, and when the next one is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Set

from processors.lifecycle.groups import MIN_INTERVAL_S, is_muted, is_pressing, is_untold
from processors.lifecycle.memory import NOTIFICATION_KEPT, Memory, identifier
from processors.lifecycle.records import Group, Told
from processors.lifecycle.roster import Roster
from schemas.lifecycle import Action, AlertState, Delivery, Notification, NotificationKind

MOST_IDS = 200
"""Alerts that a message names; the rest is counted."""
RETRIED_FOR = dt.timedelta(hours=24)
RETRY_S = 300.0
"""Where the group is forgotten, whose interval it would be."""


def due(memory: Memory, roster: Roster, key: str, now: dt.datetime) -> None:
    """Do what is due for the group by ``now``: tell what changed, escalate, or forget that it ever was."""
    group = memory.groups[key]
    if group.ended:
        memory.forget_group(key)
        return
    if group.flush_at is not None and group.flush_at <= now:
        flush(memory, roster, group, now)
    if group.escalate_at is not None and group.escalate_at <= now:
        escalate(memory, roster, group, now)


def flush(memory: Memory, roster: Roster, group: Group, now: dt.datetime) -> None:
    """Tell what changed since the last message; end the group when all of it is over.

    Those who were told before get an update (reopened, resolved). The persons of the first step get the first message
    when the group is new, when its most urgent alert now belongs to another policy, and when something new presses
    while nobody is being called. When something new presses while somebody is, whoever is on call by now for the step
    that was come to gets it too; the next step keeps its time.
    """
    group.flush_at = None
    states = _sorted(memory, memory.members.get(group.key, ()))
    news = [each for each in states if is_untold(memory, each)]
    active = [each for each in states if each.is_active]
    loud = [each for each in active if not is_muted(each)]
    back = any(each.is_active and (told := memory.told.get(each.alert_id)) and not told.active for each in news)
    for each in news:
        memory.put_told(each.alert_id, Told(each.alert_version, each.is_active))
    memory.members[group.key] = {each.alert_id for each in active}
    memory.pressing[group.key] = {each.alert_id for each in active if is_pressing(memory, each)}
    if news:
        new_policy = _adopt(group, roster, loud)
        pressing = bool(memory.pressing[group.key])
        begins = bool(loud) and (
            group.flushed_at is None or not group.recipients or new_policy or (pressing and group.escalate_at is None)
        )
        group.occasion += 1
        group.flushed_at = now
        kind: NotificationKind = "reopened" if back else "update" if active else "resolved"
        about = _sorted(memory, {each.alert_id for each in (*loud, *news)})
        new = {each.alert_id for each in news}
        sent = {each: _notify(memory, group, kind, each, about, now, new) for each in sorted(group.recipients)}
        if begins:
            _call(memory, roster, group, 0, "reopened" if back else "first", about, sent, now, new)
            group.escalate_at = group.escalate_at if pressing else None
        elif any(each.alert_id in memory.pressing[group.key] for each in news):
            for person in roster.persons(group.policy, group.step, now):
                if person not in group.recipients:
                    _notify(memory, group, "first", person, about, now, new)
    if not active:
        group.ended, group.escalate_at = True, None
    if not active and group.flushed_at is None:
        memory.forget_group(group.key)
    else:
        memory.put_group(group)


def escalate(memory: Memory, roster: Roster, group: Group, now: dt.datetime) -> None:
    """Tell the next step of what its recipients know and nobody has taken on."""
    states = _sorted(memory, memory.members[group.key])
    about = [each for each in states if each.is_active and not is_muted(each) and each.alert_id in memory.told]
    group.occasion += 1
    _call(memory, roster, group, group.next_step, "escalation", about, {}, now)
    memory.put_group(group)


def assigned(memory: Memory, roster: Roster, action: Action, now: dt.datetime) -> None:
    """Tell the one whom somebody else assigned the alert to, and let them hear of what comes later in the same thread.

    Once: the message's id follows from the command, so that the command again, as after a crash, adds what is missing
    and nothing else. Silences do not keep it back: one person asks another. Whoever is not in the policy has no
    channel, which is noted.
    """
    person, state = str(action.details.get("assignee", "")), memory.states.get(action.alert_id)
    if person == action.by or state is None or not state.is_active or state.assignee != person:
        return
    if now - action.at >= NOTIFICATION_KEPT:  # what was sent then is forgotten by now
        return
    name = identifier("assigned", action.command_id)
    group = memory.groups.get(state.group_key)
    policy, step = (group.policy, group.step) if group is not None else ("", 0)
    if not roster.knows(person):
        memory.nobody(
            Delivery(
                delivery_id=identifier(name, "nobody"),
                notification_id=name,
                attempt=1,
                at=action.at,
                kind="assigned",
                person=person,
                channel="none",
                address="",
                outcome="failed",
                error="the on-call policy has no such person",
                group_key=state.group_key,
                alert_ids=[state.alert_id],
            )
        )
        return
    thread = group.recipients.get(person, name) if group is not None else name
    if name not in memory.notifications:
        memory.put_notification(
            Notification(
                notification_id=name,
                thread=thread,
                kind="assigned",
                person=person,
                policy=policy,
                step=step,
                group_key=state.group_key,
                alert_ids=[state.alert_id],
                news=1,
                priority=state.priority,
                due_at=action.at,
                by=action.by,
            )
        )
    # Not into a situation that began since, when the command comes again.
    if group is not None and person not in group.recipients and group.begun_at <= action.at:
        group.recipients[person] = thread
        memory.put_group(group)


def failed(memory: Memory, roster: Roster, notification: Notification, now: dt.datetime) -> None:
    """A message did not get through. When none of its step did, the next step is told at once; after the last one the
    policy starts over at the next interval, unless somebody was reached before."""
    group = memory.groups.get(notification.group_key)
    if group is None or group.escalate_at is None or notification.notification_id not in group.step_ids:
        return
    if any(
        each not in memory.notifications or memory.notifications[each].status != "failed" for each in group.step_ids
    ):
        return
    if group.next_step > group.step:
        escalate(memory, roster, group, now)
    elif not group.reached:
        group.escalate_at = min(group.escalate_at, now + dt.timedelta(seconds=group.interval_s))
        memory.put_group(group)


def retried(memory: Memory, notification: Notification, now: dt.datetime) -> Notification | None:
    """The message as it is tried again after a group interval; None: it has failed for good. What is not part of the
    step that is being called has no next step to go to, and an escalation of an earlier step was followed by one."""
    group = memory.groups.get(notification.group_key)
    since = notification.first_due_at or notification.due_at
    if notification.kind == "escalation" or now - since >= RETRIED_FOR:
        return None
    if group is not None and notification.notification_id in group.step_ids:
        return None
    wait_s = RETRY_S if group is None else group.interval_s
    return notification.model_copy(update={"due_at": now + dt.timedelta(seconds=wait_s), "first_due_at": since})


def reached(memory: Memory, notification: Notification) -> None:
    """A message got through."""
    group = memory.groups.get(notification.group_key)
    if group is not None and not group.reached and notification.notification_id in group.step_ids:
        group.reached = True
        memory.put_group(group)


def _sorted(memory: Memory, alert_ids: Iterable[str]) -> list[AlertState]:
    states = [memory.states[each] for each in alert_ids]
    return sorted(states, key=lambda each: (each.priority, each.raised_at, each.alert_id))


def _adopt(group: Group, roster: Roster, loud: list[AlertState]) -> bool:
    """Take the most urgent alert's route for the group's; whether that brought another policy."""
    if not loud:
        return False
    route = roster.route(loud[0])
    changed = group.flushed_at is not None and route.policy != group.policy
    group.policy, group.repeat_s = route.policy, max(route.repeat_interval_s, MIN_INTERVAL_S)
    group.interval_s = max(route.group_interval_s, MIN_INTERVAL_S)
    return changed


def _call(
    memory: Memory,
    roster: Roster,
    group: Group,
    step: int,
    kind: NotificationKind,
    about: list[AlertState],
    sent: dict[str, str],
    now: dt.datetime,
    news: Set[str] = frozenset(),
) -> None:
    """Tell the persons of a step, beside those who were ``sent`` a message at this occasion, and set the next one. A
    step at which nobody is on call is noted and passed over."""
    begins = step == 0
    persons = roster.persons(group.policy, step, now)
    timeout = roster.timeout_s(group.policy, step)
    while not persons and timeout is not None:
        _nobody(memory, group, step, kind, about, now)
        step += 1
        persons, timeout = roster.persons(group.policy, step, now), roster.timeout_s(group.policy, step)
    if not persons:
        _nobody(memory, group, step, kind, about, now)
    if begins:
        group.reached = False
    group.step, group.step_ids = step if persons else 0, []
    for person in persons:
        known = sent.get(person) or _notify(memory, group, kind, person, about, now, news)
        group.step_ids.append(known)
    if timeout is not None:
        group.next_step, group.escalate_at = step + 1, now + dt.timedelta(seconds=max(timeout, 1.0))
        return
    again = group.repeat_s if persons or group.reached else group.interval_s
    group.next_step, group.escalate_at = 0, now + dt.timedelta(seconds=again)


def _nobody(
    memory: Memory, group: Group, step: int, kind: NotificationKind, about: list[AlertState], now: dt.datetime
) -> None:
    name = identifier(group.situation, "nobody", step, group.occasion)
    memory.nobody(
        Delivery(
            delivery_id=identifier(name, now.isoformat()),
            notification_id=name,
            attempt=1,
            at=now,
            kind=kind,
            person="",
            channel="none",
            address=f"{group.policy}, step {step + 1}",
            outcome="failed",
            error="nobody is on call",
            group_key=group.key,
            alert_ids=[each.alert_id for each in about[:MOST_IDS]],
        )
    )


def _notify(
    memory: Memory,
    group: Group,
    kind: NotificationKind,
    person: str,
    about: list[AlertState],
    now: dt.datetime,
    news: Set[str] = frozenset(),
) -> str:
    """Id of the message, made unless it was before a crash. It names the ``news`` first, then the rest of what it is
    ``about``; both by urgency."""
    occasion = 0 if kind == "first" else group.occasion
    name = identifier(group.situation, kind, group.step, person, occasion)
    if kind == "first":
        name = identifier(group.situation, kind, person)
    thread = group.recipients.setdefault(person, name)
    if name not in memory.notifications:
        news = news | _replace(memory, group, thread, name, now)
        states = sorted(about, key=lambda each: each.alert_id not in news)
        memory.put_notification(
            Notification(
                notification_id=name,
                thread=thread,
                kind=kind,
                person=person,
                policy=group.policy,
                step=group.step,
                group_key=group.key,
                alert_ids=[each.alert_id for each in states[:MOST_IDS]],
                news=sum(each.alert_id in news for each in states[:MOST_IDS]),
                more=max(len(states) - MOST_IDS, 0),
                priority=min(each.priority for each in about),
                due_at=now,
            )
        )
    return name


def _replace(memory: Memory, group: Group, thread: str, name: str, now: dt.datetime) -> set[str]:
    """Drop what waits in the thread and is said by the new message ``name`` as well: updates, and what has failed.
    Gives the alerts that were news there."""
    news: set[str] = set()
    for each in sorted(memory.threads.get(thread, ())):
        earlier = memory.notifications[each]
        if earlier.kind == "update" or earlier.first_due_at is not None:
            memory.put_notification(earlier.model_copy(update={"status": "dropped", "settled_at": now}))
            group.step_ids = [name if known == each else known for known in group.step_ids]
            news.update(earlier.alert_ids[: earlier.news])
    return news
