"""What a silence would have hidden: alerts of the last days that it covers. For the desk, the API and the command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from dashboards.alerts import Store, StoreAwayError
from dashboards.desk.queries import MAX_STATES, recent_states
from dashboards.desk.selection import is_watchdog
from processors.lifecycle.silences import reaches
from schemas.lifecycle import PRIORITIES, AlertState, Matcher, Priority

PREVIEW_DAYS: Final = 7
MAX_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Scope:
    """``hidden`` are the alerts, the latest first; ``alerts`` counts all that were raised or grew in the time, the
    watchdog's left out. ``complete`` is off when not all could be looked at: the store did not answer, or has too
    many."""

    hidden: list[AlertState] = field(default_factory=list)
    alerts: int = 0
    complete: bool = True

    @property
    def total(self) -> int:
        return len(self.hidden)

    @property
    def active(self) -> int:
        return sum(state.is_active for state in self.hidden)

    @property
    def counts(self) -> dict[Priority, int]:
        return {priority: sum(state.priority == priority for state in self.hidden) for priority in PRIORITIES}

    @property
    def titles(self) -> list[str]:
        """Of the latest, at most ``MAX_NAMED``."""
        return [state.rule_title for state in self.hidden[:MAX_NAMED]]

    @property
    def alert_ids(self) -> list[str]:
        """Of the latest, at most ``MAX_NAMED``."""
        return [state.alert_id for state in self.hidden[:MAX_NAMED]]


def preview(
    store: Store,
    matchers: Sequence[Matcher],
    partner: str | None,
    now: datetime,
    *,
    days: int = PREVIEW_DAYS,
    known: Sequence[AlertState] | None = None,
) -> Scope:
    """What a silence of these matchers, or a maintenance window of the partner, would have hidden in the last days.

    ``known`` are the alerts in memory, which are newer than the store's and are looked at though it does not answer.
    Blocks.

    Raises:
        processors.lifecycle.matchers.MatcherError: an expression is wrong.
        StoreAwayError: the store does not answer, and nothing is ``known``.
    """
    since = now - timedelta(days=days)
    found = {state.alert_id: state for state in known or ()}
    complete = True
    try:
        stored = recent_states(store, since)
        complete = len(stored) < MAX_STATES
    except StoreAwayError:
        if known is None:
            raise
        stored, complete = [], False
    found |= {state.alert_id: state for state in stored if state.alert_id not in found}
    recent = [
        state
        for state in found.values()
        if max(state.raised_at, state.last_event_at) >= since and not is_watchdog(state)
    ]
    hidden = [state for state in recent if reaches(matchers, partner, state)]
    hidden.sort(key=lambda state: (state.raised_at, state.alert_id), reverse=True)
    return Scope(hidden, len(recent), complete)
