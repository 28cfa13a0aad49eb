"""Rules over the events that ClickHouse holds, and what would be different from the alerts that it holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from clickhouse_connect.driver.client import Client

from processors.event_time import iso
from processors.offline import Offline, OfflineAlert
from processors.rulebook import Rulebook

SLICE_ROWS = 200_000
BATCH = 20_000
_MONTH_US = 31 * 86_400_000_000
_FROM, _TO = (">=", "begin"), ("<", "end")
_FILTERS = {
    "partner": "partner = {partner:String}",
    "family": "family = {family:String}",
    "late": "NOT late",
}
COLUMNS = (
    *("event_id", "partner", "family", "toUnixTimestamp64Milli(occurred_at) AS occurred_ms", "occurred_precision"),
    *("toUnixTimestamp64Milli(published_at) AS published_ms", "source_system", "tlp", "releasable_to", "purpose"),
    *("legal_basis", "retain_days", "exercise", "confidence", "lat", "lon", "precision_m", "place", "country"),
    *("geo_country", "geo_place", "geo_continent", "summary", "payload"),
    *("entities.type AS kinds", "entities.value AS values", "entities.role AS roles"),
)
NAMES = tuple(each.rsplit(" AS ", 1)[-1] for each in COLUMNS)
GroupKey = tuple[str, bool, tuple[tuple[str, str], ...]]
"""Rule id, exercise or live, and the values of the group."""


@dataclass(frozen=True)
class Choice:
    """Which events: times in microseconds since 1970 UTC, ``end_us`` excluded; empty text for no restriction."""

    begin_us: int
    end_us: int
    family: str = ""
    partner: str = ""
    include_late: bool = False

    @property
    def where(self) -> str:
        names = [name for name in ("partner", "family") if getattr(self, name)]
        names += [] if self.include_late else ["late"]
        times = [f"occurred_at {op} fromUnixTimestamp64Milli({{{name}:Int64}})" for op, name in (_FROM, _TO)]
        return " AND ".join([*times, *(_FILTERS[name] for name in names)])

    def parameters(self, begin_us: int | None = None, end_us: int | None = None) -> dict[str, Any]:
        # Stored times are whole milliseconds.
        begin, end = (
            -(-(own if given is None else given) // 1000)
            for own, given in ((self.begin_us, begin_us), (self.end_us, end_us))
        )
        return {"begin": begin, "end": end, "partner": self.partner, "family": self.family}


@dataclass(frozen=True)
class Deployed:
    """An alert as the platform told it; ``events`` are the ids of the evidence that it shows."""

    rule_id: str
    title: str
    group: dict[str, str]
    first_us: int
    last_us: int
    total: int
    exercise: bool
    story: str
    events: frozenset[str]
    judged: bool
    """It lies in the period and rests on chosen events alone, so a backtest should find it again."""

    @property
    def key(self) -> GroupKey:
        return self.rule_id, self.exercise, tuple(sorted(self.group.items()))


class Ids:
    """Event ids by number, 16 bytes each."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, event_id: str) -> int:
        """Keep a UUID; returns its number."""
        self._bytes += bytes.fromhex(event_id.replace("-", ""))
        return len(self) - 1

    def __len__(self) -> int:
        return len(self._bytes) // 16

    def __getitem__(self, number: int) -> str:
        text = self._bytes[16 * number : 16 * number + 16].hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Backtest:
    """One run of a rulebook over the chosen history; ``client`` may be the read-only user's."""

    def __init__(self, client: Client, book: Rulebook, choice: Choice) -> None:
        self._client, self._book, self._choice = client, book, choice
        self._ids = Ids()

    def slices(self) -> list[tuple[int, int, int]]:
        """(begin, end, stored rows) of stretches of time that are good to read at once; microseconds."""
        unit = "Hour" if self._choice.end_us - self._choice.begin_us > _MONTH_US else "Minute"
        sql = (
            f"SELECT toInt64(toUnixTimestamp(toStartOf{unit}(occurred_at))) AS at, count() FROM events "
            f"WHERE {self._choice.where} GROUP BY at ORDER BY at"
        )
        found: list[tuple[int, int, int]] = []
        begin, rows = self._choice.begin_us, 0
        for at, count in self._client.query(sql, parameters=self._choice.parameters()).result_rows:
            if rows and rows + count > SLICE_ROWS:
                found.append((begin, at * 1_000_000, rows))
                begin, rows = at * 1_000_000, 0
            rows += count
        return [*found, (begin, self._choice.end_us, rows)] if rows else found

    def run(self, now_us: int, progress: Callable[[int, int], None]) -> list[OfflineAlert]:
        """Alerts that the rules would have given; ``progress`` is told events and alerts so far."""
        engine = Offline(self._book)
        for begin, end, _ in self.slices():
            rows = self._rows(begin, end)
            while part := list(itertools.islice(rows, BATCH)):
                events = [event_of(row) for row in part]
                numbers = [self._ids.add(row["event_id"]) for row in part]
                engine.add(events, [row["occurred_ms"] * 1000 for row in part], numbers)
                progress(len(self._ids), engine.alerts)
        return engine.close(min(self._choice.end_us, now_us))

    def _rows(self, begin_us: int, end_us: int) -> Iterator[dict[str, Any]]:
        columns, where = ", ".join(COLUMNS), self._choice.where
        sql = f"SELECT {columns} FROM events FINAL WHERE {where} ORDER BY occurred_at, partner, event_id"
        parameters = self._choice.parameters(begin_us, end_us)
        with self._client.query_row_block_stream(sql, parameters=parameters) as blocks:
            for block in blocks:
                yield from (dict(zip(NAMES, row, strict=True)) for row in block)

    @property
    def events(self) -> int:
        """Events read so far."""
        return len(self._ids)

    def ids(self, alert: OfflineAlert) -> set[str]:
        """Ids of the alert's evidence."""
        return {self._ids[number] for number in alert.numbers}

    def deployed(self) -> list[Deployed]:
        """The platform's open alerts of the same rules in the period."""
        choice = self._choice
        sql = (
            "SELECT rule_id, rule_title, group, toUnixTimestamp64Milli(first_event_at), "
            "toUnixTimestamp64Milli(last_event_at), evidence_total, exercise, story, partners, families, e.ids "
            "FROM alerts AS a FINAL LEFT JOIN "
            "(SELECT alert_id, groupUniqArray(event_id) AS ids FROM alert_evidence GROUP BY alert_id) AS e "
            "ON e.alert_id = a.alert_id WHERE status = 'open' AND rule_id IN {rules:Array(String)} "
            "AND last_event_at >= fromUnixTimestamp64Milli({begin:Int64}) "
            "AND first_event_at < fromUnixTimestamp64Milli({end:Int64})"
        )
        parameters = choice.parameters() | {"rules": [each.meta.id for each in self._book.rules]}
        found = []
        for row in self._client.query(sql, parameters=parameters).result_rows:
            rule_id, title, group, first, last, total, exercise, story, partners, families, ids = row
            judged = (
                first * 1000 >= choice.begin_us
                and last * 1000 < choice.end_us
                and set(partners) <= {choice.partner or each for each in partners}
                and set(families) <= {choice.family or each for each in families}
            )
            found.append(
                Deployed(
                    *(rule_id, title, dict(group), first * 1000, last * 1000, total, exercise, story),
                    frozenset(each.lower() for each in ids),
                    judged,
                )
            )
        return found


def differences(
    alerts: Sequence[OfflineAlert], ids: Callable[[OfflineAlert], set[str]], deployed: Sequence[Deployed]
) -> tuple[list[OfflineAlert], list[Deployed]]:
    """Alerts that the platform does not have, and alerts of the platform that did not come again. Two alerts are the
    same when rule and group are and they share evidence."""
    there = {(each.key, event) for each in deployed for event in each.events}
    came = {(key_of(alert), event) for alert in alerts for event in ids(alert)}
    new = [alert for alert in alerts if not any((key_of(alert), event) in there for event in ids(alert))]
    gone = [each for each in deployed if each.judged and not any((each.key, event) in came for event in each.events)]
    return new, gone


def key_of(alert: OfflineAlert) -> GroupKey:
    return alert.rule.meta.id, alert.exercise, tuple(sorted(alert.group.items()))


def event_of(row: dict[str, Any]) -> dict[str, Any]:
    """A row of ``events`` as the event that it was, beside what enrichment added."""
    kept = ("event_id", "partner", "occurred_precision", "source_system", "exercise", "confidence", "summary")
    handling = ("tlp", "releasable_to", "purpose", "retain_days")
    location = {name: row[name] for name in ("lat", "lon", "precision_m")}
    entities = zip(row["kinds"], row["values"], row["roles"], strict=True)
    return {
        **orjson.loads(row["payload"]),
        **{f"geo.{name}": value for name in ("country", "place", "continent") if (value := row[f"geo_{name}"])},
        "family": row["family"],
        "header": {
            **{name: row[name] for name in kept},
            "occurred_at": iso(row["occurred_ms"] * 1000),
            "published_at": iso(row["published_ms"] * 1000),
            "handling": {**{name: row[name] for name in handling}, "legal_basis": row["legal_basis"] or None},
            "location": location | {name: row[name] or None for name in ("place", "country")}
            if row["lat"] is not None
            else None,
            "entities": [{"type": kind, "value": value, "role": role or None} for kind, value, role in entities],
        },
    }
