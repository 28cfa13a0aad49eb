"""What a silence covers, and which ones are refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from processors.lifecycle.matchers import MatcherError, check, matches
from schemas.lifecycle import AlertState, Matcher, Silence

LONGEST = dt.timedelta(days=90)
PLATFORM = "platform"
"""Kind of the alerts about feeds: their group names the partner."""


def covers(silence: Silence, state: AlertState) -> bool:
    """Whether the silence is meant for the alert, whenever it holds."""
    return reaches(silence.matchers, silence.partner, state)


def reaches(matchers: Sequence[Matcher], partner: str | None, state: AlertState) -> bool:
    """Whether a silence of this scope is meant for the alert.

    All matchers have to hold. A maintenance window covers feed alerts about its partner as well, and nothing else when
    it has no matchers.
    """
    if partner and state.kind == PLATFORM and state.group.get("partner") == partner:
        return True
    return bool(matchers) and matches(matchers, state)


def covering(silences: Iterable[Silence], state: AlertState, at: dt.datetime) -> list[str]:
    """Ids of the silences that hold at ``at`` and cover the alert, sorted."""
    return sorted(each.silence_id for each in silences if each.holds(at) and covers(each, state))


def refused(silence: Silence | None, existing: Silence | None, now: dt.datetime) -> str:
    """Why the silence cannot be set; empty when it can. One that exists may be changed until it has ended."""
    if silence is None:
        return "silence needs a silence: matchers, author, reason, starts_at and ends_at"
    if not silence.matchers and not silence.partner:
        return "a silence without matchers would hide everything; give a matcher, or a partner for a maintenance window"
    try:
        check(silence.matchers)
    except MatcherError as error:
        return str(error)
    if silence.ends_at <= silence.starts_at:
        return f"the silence ends at {silence.ends_at:%Y-%m-%d %H:%M} UTC, which is not after it begins"
    if silence.ends_at <= now:
        return f"the silence ended at {silence.ends_at:%Y-%m-%d %H:%M} UTC, which is past"
    if silence.ends_at - silence.starts_at > LONGEST:
        last = silence.starts_at + LONGEST
        return f"a silence holds at most 90 days; end it by {last:%Y-%m-%d %H:%M} UTC and set another one then"
    if existing is not None and existing.ends_at <= now:
        return f"silence {silence.silence_id} has ended; set a new one"
    return ""


def expiry_refused(silence_id: str, existing: Silence | None, now: dt.datetime) -> str:
    """Why the silence cannot be ended; empty when it can."""
    if existing is None:
        return f"there is no silence {silence_id or '(none given)'}"
    if existing.ends_at <= now:
        return f"silence {silence_id} ended at {existing.ends_at:%Y-%m-%d %H:%M} UTC already"
    return ""
