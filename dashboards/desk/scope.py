"""What a silence would have hidden: alerts of the last days that its matchers meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from dashboards.alerts import Store, StoreAwayError
from dashboards.desk.queries import recent_states
from processors.lifecycle.matchers import matches
from schemas.lifecycle import PRIORITIES, AlertState, Matcher, Priority

PREVIEW_DAYS: Final = 7
MAX_TITLES: Final = 20


@dataclass(frozen=True, slots=True)
class Scope:
    """``titles`` and ``alert_ids`` are the latest first, at most ``MAX_TITLES``. ``complete`` is off when the store did
    not answer, so that forgotten alerts are missing."""

    total: int = 0
    active: int = 0
    counts: dict[Priority, int] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    alert_ids: list[str] = field(default_factory=list)
    complete: bool = True


def scope_of(matchers: Sequence[Matcher], states: Iterable[AlertState], since: datetime, complete: bool) -> Scope:
    """The scope among alerts that are known, of those raised or grown since then.

    Raises:
        processors.lifecycle.matchers.MatcherError: an expression is wrong.
    """
    met = [state for state in states if max(state.raised_at, state.last_event_at) >= since and matches(matchers, state)]
    met.sort(key=lambda state: (state.raised_at, state.alert_id), reverse=True)
    return Scope(
        total=len(met),
        active=sum(state.is_active for state in met),
        counts={priority: sum(state.priority == priority for state in met) for priority in PRIORITIES},
        titles=[state.rule_title for state in met[:MAX_TITLES]],
        alert_ids=[state.alert_id for state in met[:MAX_TITLES]],
        complete=complete,
    )


def preview(store: Store, known: Sequence[AlertState], matchers: Sequence[Matcher], now: datetime) -> Scope:
    """The scope of a silence in the last ``PREVIEW_DAYS`` days. Blocks; ``known`` are the alerts in memory.

    Raises:
        processors.lifecycle.matchers.MatcherError: an expression is wrong.
    """
    since = now - timedelta(days=PREVIEW_DAYS)
    found = {state.alert_id: state for state in known}
    complete = True
    try:
        stored = recent_states(store, since)
    except StoreAwayError:
        stored, complete = [], False
    found |= {state.alert_id: state for state in stored if state.alert_id not in found}
    return scope_of(matchers, found.values(), since, complete)
