"""What may be asked of the access log, by the page, the API and the command alike; see ``queries`` for the manners."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dashboards.alerts import Store
from dashboards.desk.auth.access_log import Entry
from dashboards.desk.queries import earlier_ids, milliseconds, moment

MAX_ENTRIES: Final = 500
MAX_SHARED: Final = 500
_CURSOR: Final = re.compile(r"(\d{1,15})-(\d{1,9})")


class AccessCursorError(ValueError):
    """The text is no cursor that an earlier part gave."""


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """Which rows to list; empty for no restriction. ``target`` is a part of the path or account; ``alert`` an id, whose
    earlier ids are looked for too; ``since`` and ``until`` are aware, ``until`` is not included."""

    person: str = ""
    what: str = ""
    target: str = ""
    alert: str = ""
    partner: str = ""
    allowed: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Accesses:
    """A part of the log, the latest first; ``next`` is the cursor of the part behind it, ``None`` at the end."""

    entries: list[Entry]
    next: str | None


@dataclass(frozen=True, slots=True)
class Shared:
    """An alert that a partner's accounts could see, how often its page or record was opened by them, and by whom."""

    alert_id: str
    rule_title: str
    level: str
    tlp: str
    exercise: bool
    created_at: datetime
    opened: int
    by: tuple[str, ...]
    last_opened_at: datetime | None


def accesses(store: Store, choice: AccessFilter, *, limit: int = 100, cursor: str = "") -> Accesses:
    """The newest rows that the filter lets through, at most ``MAX_ENTRIES``. Blocks.

    Raises:
        AccessCursorError: ``cursor`` is none.
        StoreAwayError: no answer, or an error of the store.
    """
    limit = min(limit, MAX_ENTRIES)
    last_ms, skip = _position(cursor)
    conditions, parameters = _where(store, choice)
    if last_ms is not None:
        conditions.append("at <= fromUnixTimestamp64Milli({last:Int64})")
    rows = store.rows(
        "SELECT toUnixTimestamp64Milli(at) AS at_ms, person, role, what, target, allowed, via, address, detail, "
        f"partner FROM access_log WHERE {' AND '.join(conditions) or '1'} "
        "ORDER BY access_log.at DESC, person, target, what, detail LIMIT {limit:UInt32} OFFSET {skip:UInt32}",
        parameters | {"last": last_ms or 0, "limit": limit + 1, "skip": skip},
    )
    found = [Entry(at=moment(row.pop("at_ms")), **(row | {"allowed": bool(row["allowed"])})) for row in rows[:limit]]
    return Accesses(found, _next(found, last_ms, skip) if len(rows) > limit else None)


def _where(store: Store, choice: AccessFilter) -> tuple[list[str], dict[str, Any]]:
    conditions = [f"{name} = {{{name}:String}}" for name in ("person", "what", "partner") if getattr(choice, name)]
    parameters: dict[str, Any] = {
        "person": choice.person,
        "what": choice.what,
        "partner": choice.partner,
        "target": choice.target,
    }
    if choice.target:
        conditions.append("positionCaseInsensitiveUTF8(target, {target:String}) > 0")
    if choice.alert:
        conditions.append(
            "arrayExists(place -> target = place OR startsWith(target, place || '/'), {places:Array(String)})"
        )
        ids = earlier_ids(store, [choice.alert])
        parameters["places"] = [f"{where}/{alert_id}" for alert_id in ids for where in ("/alerts", "/api/v1/alerts")]
    if choice.allowed is not None:
        conditions.append("allowed = {allowed:Bool}")
        parameters["allowed"] = choice.allowed
    if choice.since is not None:
        conditions.append("at >= fromUnixTimestamp64Milli({since:Int64})")
        parameters["since"] = milliseconds(choice.since)
    if choice.until is not None:
        conditions.append("at < fromUnixTimestamp64Milli({until:Int64})")
        parameters["until"] = milliseconds(choice.until)
    return conditions, parameters


def _position(cursor: str) -> tuple[int | None, int]:
    """Rows that come while somebody pages are newer than ``last_ms`` and move nothing."""
    if not cursor:
        return None, 0
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise AccessCursorError(f"'{cursor}' is no cursor; take it from next of the part before")
    return int(found[1]), int(found[2])


def _next(found: Sequence[Entry], last_ms: int | None, skip: int) -> str:
    """The last time shown, and how many rows of that very time were."""
    last = milliseconds(found[-1].at)
    same = sum(milliseconds(each.at) == last for each in found)
    return f"{last}-{same + (skip if last == last_ms else 0)}"


def shared_with(store: Store, partner: str, since: datetime, until: datetime) -> list[Shared]:
    """Alerts in which the partner takes part, which its accounts could see, made or changed in that time, the latest
    first, with what its accounts opened in it. Blocks.

    Raises:
        StoreAwayError: no answer, or an error of the store.
    """
    rows = store.rows(
        "SELECT a.alert_id AS alert_id, a.rule_title AS rule_title, a.level AS level, a.tlp AS tlp, "
        "a.exercise AS exercise, toUnixTimestamp64Milli(a.created_at) AS created_ms, o.n AS opened, "
        "o.people AS people, o.last_ms AS last_ms "
        "FROM (SELECT alert_id, rule_title, level, tlp, exercise, created_at FROM alerts FINAL "
        "WHERE has(partners, {partner:String}) AND updated_at >= fromUnixTimestamp64Milli({since:Int64}) "
        "AND created_at < fromUnixTimestamp64Milli({until:Int64})) AS a "
        "LEFT JOIN (SELECT extract(target, '^(?:/api/v1)?/alerts/([^/]+)') AS id, count() AS n, "
        "arraySort(groupUniqArray(toString(person))) AS people, max(toUnixTimestamp64Milli(at)) AS last_ms "
        "FROM access_log WHERE partner = {partner:String} AND allowed AND what = 'view' "
        "AND at >= fromUnixTimestamp64Milli({since:Int64}) AND at < fromUnixTimestamp64Milli({until:Int64}) "
        "GROUP BY id) AS o ON o.id = a.alert_id "
        "ORDER BY o.n = 0, a.created_at DESC, a.alert_id LIMIT {limit:UInt32}",
        {
            "partner": partner,
            "since": milliseconds(since),
            "until": milliseconds(until),
            "limit": MAX_SHARED,
        },
    )
    return [
        Shared(
            alert_id=row["alert_id"],
            rule_title=row["rule_title"],
            level=row["level"],
            tlp=row["tlp"],
            exercise=bool(row["exercise"]),
            created_at=moment(row["created_ms"]),
            opened=int(row["opened"]),
            by=tuple(row["people"]),
            last_opened_at=moment(row["last_ms"]) if row["opened"] else None,
        )
        for row in rows
    ]
