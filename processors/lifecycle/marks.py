"""Marks on alerts that silences and inhibition leave, and what a changed alert means for others."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from processors.lifecycle.groups import settle
from processors.lifecycle.inhibition import Inhibition
from processors.lifecycle.memory import Memory
from processors.lifecycle.roster import Roster
from processors.lifecycle.silences import covering
from schemas.lifecycle import Done, Silence

CLOCK = "clock"
"""Who did what nobody asked for."""


@dataclass
class Parts:
    """What every step works with."""

    memory: Memory
    roster: Roster
    inhibition: Inhibition


def follow(parts: Parts, alert_id: str, now: dt.datetime) -> None:
    """After an alert changed: mark it, mark those that it inhibits or did, and bring their groups in line."""
    memory, inhibition = parts.memory, parts.inhibition
    inhibition.put(memory.states[alert_id])
    released = {each for each in memory.inhibits.get(alert_id, ()) if not inhibition.holds(alert_id, each)}
    holding = [each for each in memory.silences.values() if each.holds(now)]
    for each in (alert_id, *sorted((released | inhibition.targets(alert_id)) - {alert_id})):
        _mark(parts, each, now, holding)
        settle(memory, each, now)


def mark_all(parts: Parts, alert_ids: Iterable[str], now: dt.datetime) -> None:
    """Mark these alerts anew; used where a silence begins or ends, or the rules changed."""
    holding = [each for each in parts.memory.silences.values() if each.holds(now)]
    for each in sorted(alert_ids):
        if _mark(parts, each, now, holding):
            settle(parts.memory, each, now)


def _mark(parts: Parts, alert_id: str, now: dt.datetime, holding: list[Silence]) -> bool:
    memory = parts.memory
    before = memory.states[alert_id]
    silences = covering(holding, before, now) if before.is_active else []
    if silences != before.silences:
        verb: Done = "silenced" if len(silences) > len(before.silences) else "unsilenced"
        after = memory.change(alert_id, now, {"silences": silences})
        details = {"silences": silences, "before": before.silences}
        memory.act(verb, now, before, after, by=CLOCK, via="clock", details=details)
    state = memory.states[alert_id]
    inhibited_by = parts.inhibition.inhibitor(state)
    if inhibited_by != state.inhibited_by:
        verb = "uninhibited" if inhibited_by is None else "inhibited"
        after = memory.change(alert_id, now, {"inhibited_by": inhibited_by})
        by_whom = {"inhibited_by": inhibited_by, "before": state.inhibited_by}
        memory.act(verb, now, state, after, by=CLOCK, via="clock", details=by_whom)
    return memory.states[alert_id] is not before
