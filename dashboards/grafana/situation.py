"""Situation: where events and alerts are, what is unusual for the hour, and who appears at several partners.

Counts come from ``feed_minutes`` and ``feed_hours``. Places and entities are read from the events of the time range:
rollups of them would cost every insert much (schemas/clickhouse/0006_rollups.sql).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dashboards.grafana.common import (
    Column,
    level_number,
    override,
    stat,
    steps,
    table,
    time_series,
)
from dashboards.grafana.maps import geo_map, level_thresholds
from dashboards.grafana.model import Dashboard, Json, Panel
from dashboards.grafana.variables import (
    ALERT_FILTERS,
    ALERT_VARIABLES,
    EVENT_FILTERS,
    EXERCISE_FILTER,
    FAMILY_FILTER,
    REGION_FILTER,
)
from dashboards.palette import LEVEL_COLOURS

H3_RESOLUTION: Final = 3
"""Cells of some 12,000 km2, about 60 km from the centre to a corner (h3geo.org, "Tables of cell statistics")."""
USUAL_WEEKS: Final = 4
"""The usual is the mean of the same hour in this many weeks before."""

_SPAN: Final = "toIntervalSecond(toUInt32($__toTime) - toUInt32($__fromTime))"


def dashboard() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="tocsin-situation",
        title="Situation",
        description="Events and alerts by place, against the usual and against the period before.",
        variables=ALERT_VARIABLES,
        span=timedelta(hours=24),
        panels=(
            _events_then_and_now(),
            _alerts_then_and_now(),
            _usual(),
            _event_map(),
            _alert_map(),
            _entities(),
            _feeds_compared(),
            _rules_compared(),
        ),
    )


def _change(name: str) -> Json:
    return override(name, displayName="change", unit="percent", decimals=0)


def _before(column: str) -> str:
    """SQL: ``column`` lies in the period of the same length before the time range, or in the range."""
    return f"{column} > $__fromTime - {_SPAN} AND {column} <= $__toTime"


def _events_then_and_now() -> Panel:
    return stat(
        "Events, against the period before",
        "Distinct events stored in the time range, in the period of the same length just before, and the change.",
        f"""
SELECT
  uniqMergeIf(events, minute > $__fromTime) AS now,
  uniqMergeIf(events, minute <= $__fromTime) AS before,
  if(before = 0, NULL, 100 * (toFloat64(now) - before) / before) AS change
FROM feed_minutes
WHERE {_before("minute")}
  AND {EVENT_FILTERS}""",
        width=6,
        height=10,
        unit="locale",
        orientation="horizontal",
        overrides=(_change("change"),),
    )


def _alerts_then_and_now() -> Panel:
    return stat(
        "Alerts, against the period before",
        "Alerts raised in the time range, in the period of the same length just before, and the change. "
        "Superseded ones are left out.",
        f"""
SELECT
  countIf(created_at > $__fromTime) AS now,
  countIf(created_at <= $__fromTime) AS before,
  if(before = 0, NULL, 100 * (toFloat64(now) - before) / before) AS change
FROM alerts FINAL
WHERE status = 'open'
  AND {_before("created_at")}
  AND {ALERT_FILTERS}""",
        width=6,
        height=10,
        unit="locale",
        orientation="horizontal",
        overrides=(_change("change"),),
    )


def _usual() -> Panel:
    weeks = range(USUAL_WEEKS + 1)
    ranges = " OR ".join(
        f"(hour >= toStartOfHour($__fromTime) - INTERVAL {7 * week} DAY "
        f"AND hour <= $__toTime - INTERVAL {7 * week} DAY)"
        for week in weeks
    )
    return time_series(
        "Events by hour, against the usual",
        f"Events stored in each hour, and the mean of the same hour of the week in the {USUAL_WEEKS} weeks before, "
        "or in as many of them as there are. The last hour is not over yet.",
        f"""
WITH (SELECT min(hour) FROM feed_hours) AS oldest
SELECT
  time,
  sumIf(number, week = 0) AS events,
  if(least({USUAL_WEEKS}, intDiv(dateDiff('hour', oldest, time), 168)) = 0, NULL,
    sumIf(number, week > 0) / least({USUAL_WEEKS}, intDiv(dateDiff('hour', oldest, time), 168))) AS usual
FROM
(
  SELECT
    hour + toIntervalDay(7 * week) AS time,
    week,
    number
  FROM
  (
    SELECT hour, uniqMerge(events) AS number
    FROM feed_hours
    WHERE ({ranges})
      AND {EVENT_FILTERS}
    GROUP BY hour
  )
  ARRAY JOIN range({USUAL_WEEKS + 1}) AS week
  WHERE time >= toStartOfHour($__fromTime) AND time <= $__toTime
)
GROUP BY time
ORDER BY time""",
        width=12,
        height=10,
        unit="short",
        interval="1h",
        overrides=(override("usual", custom__lineStyle={"fill": "dash", "dash": [8, 6]}, custom__fillOpacity=0),),
    )


def _event_map() -> Panel:
    # First by hundredths of a degree: posts and airports repeat, and a cell is looked up once for each.
    return geo_map(
        "Events by place",
        f"Events that happened in the time range and have a place, by H3 cell of resolution {H3_RESOLUTION} "
        "(about 60 km from centre to corner), the 500 busiest. The marker lies where the cell's events do on average, "
        "the name is of its most frequent town. A replay counts twice until ClickHouse has merged it.",
        f"""
SELECT
  h3ToString(cell) AS h3,
  argMax(town, number) AS place,
  sum(number) AS events,
  sum(number * y) / events / 100 AS lat,
  sum(number * x) / events / 100 AS lon
FROM
(
  SELECT
    toInt32(round(assumeNotNull(events.lat) * 100)) AS y,
    toInt32(round(assumeNotNull(events.lon) * 100)) AS x,
    geoToH3(y / 100, x / 100, {H3_RESOLUTION}) AS cell,
    CAST(any(geo_place), 'String') AS town,
    count() AS number
  FROM events
  WHERE $__timeFilter(occurred_at)
    AND isNotNull(events.lat)
    AND isNotNull(events.lon)
    AND {EVENT_FILTERS}
  GROUP BY y, x
)
GROUP BY cell
ORDER BY events DESC
LIMIT 500""",
        colour_by="events",
        size_by="events",
        thresholds=steps("#4dabf7", (100, "#ffd43b"), (1000, "#ff9f43"), (10_000, "#ff6b81")),
        width=12,
        height=10,
        no_value="No event with a place in this time range",
        overrides=(
            override("h3", displayName="H3 cell"),
            override("place", displayName="Place"),
            override("events", displayName="Events"),
        ),
    )


def _alert_map() -> Panel:
    return geo_map(
        "Alerts by place",
        f"Alerts whose evidence changed in the time range, by H3 cell of resolution {H3_RESOLUTION}: how many, and the "
        "worst level among them (5 is critical, 1 informational). Superseded ones are left out.",
        f"""
SELECT
  h3ToString(geoToH3(assumeNotNull(alerts.lat), assumeNotNull(alerts.lon), {H3_RESOLUTION})) AS h3,
  avg(assumeNotNull(alerts.lat)) AS lat,
  avg(assumeNotNull(alerts.lon)) AS lon,
  count() AS number,
  max({level_number("level")}) AS severity
FROM alerts FINAL
WHERE status = 'open'
  AND $__timeFilter(updated_at)
  AND isNotNull(alerts.lat)
  AND isNotNull(alerts.lon)
  AND {ALERT_FILTERS}
GROUP BY h3
ORDER BY severity, number
LIMIT 500""",
        colour_by="severity",
        size_by="number",
        thresholds=level_thresholds(),
        width=12,
        height=10,
        no_value="No alert with a place in this time range",
        overrides=(
            override("h3", displayName="H3 cell"),
            override("number", displayName="Alerts"),
            override("severity", displayName="Worst level"),
        ),
    )


def _entities() -> Panel:
    # Twice over the events: once by a hash and a bit for each partner, which is small enough for millions of entities,
    # then by name for the few that were left.
    found = f"""
  FROM events
  ARRAY JOIN entities.type AS kind, entities.value AS entity
  WHERE $__timeFilter(occurred_at)
    AND kind NOT IN ('place', 'organisation')
    AND {EXERCISE_FILTER}
    AND {FAMILY_FILTER}
    AND {REGION_FILTER}"""
    return table(
        "Entities that several partners saw",
        "Persons, documents, phones, accounts and the like that events of more than one partner name in the time "
        "range, the 50 of most partners and events. Places and organisations are left out: everybody names them. The "
        "partner selector does not apply.",
        f"""
SELECT
  CAST(kind, 'String') AS type,
  entity,
  uniqExact(partner) AS partners,
  arrayStringConcat(arraySort(groupUniqArray(partner)), ', ') AS seen_by,
  arrayStringConcat(arraySort(groupUniqArray(family)), ', ') AS families,
  uniqExact(event_id) AS seen,
  max(occurred_at) AS last
{found.strip()}
    AND cityHash64(kind, entity) IN
    (
      SELECT cityHash64(kind, entity) AS hash
      {found.strip()}
      GROUP BY hash
      HAVING bitCount(groupBitOr(bitShiftLeft(toUInt64(1), cityHash64(partner) % 64))) > 1
      ORDER BY bitCount(groupBitOr(bitShiftLeft(toUInt64(1), cityHash64(partner) % 64))) DESC, count() DESC
      LIMIT 50
    )
GROUP BY type, entity
ORDER BY partners DESC, seen DESC, entity""",
        (
            Column("type", "Type", width=110),
            Column("entity", "Entity"),
            Column("partners", "Partners", width=80),
            Column("seen_by", "Seen by"),
            Column("families", "In"),
            Column("seen", "Events", unit="short", width=80),
            Column("last", "Last (UTC)", unit="dateTimeAsIso", width=170),
        ),
        width=12,
        height=18,
        no_value="No entity was seen by two partners in this time range",
    )


def _compared(now: str, before: str) -> tuple[Column, ...]:
    return (
        Column(now, "This period", unit="locale", width=110),
        Column(before, "Period before", unit="locale", width=110),
        Column(
            "change",
            "Change",
            unit="percent",
            width=110,
            thresholds=steps(LEVEL_COLOURS["medium"], (-50, "transparent"), (100, LEVEL_COLOURS["medium"])),
            missing="new",
        ),
    )


def _feeds_compared() -> Panel:
    return table(
        "Feeds, against the period before",
        "Events by partner and family in the time range and in the period of the same length before; marked where they "
        "halved or doubled. Largest change first.",
        f"""
SELECT
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  uniqMergeIf(events, minute > $__fromTime) AS now,
  uniqMergeIf(events, minute <= $__fromTime) AS before,
  if(before = 0, NULL, 100 * (toFloat64(now) - before) / before) AS change
FROM feed_minutes
WHERE {_before("minute")}
  AND {EVENT_FILTERS}
GROUP BY partner, family
ORDER BY abs(toFloat64(now) - before) DESC""",
        (Column("partner", "Partner"), Column("family", "Family"), *_compared("now", "before")),
        width=12,
        height=9,
    )


def _rules_compared() -> Panel:
    return table(
        "Alerts by rule, against the period before",
        "Alerts raised by each rule in the time range and in the period of the same length before; superseded ones are "
        "left out.",
        f"""
SELECT
  CAST(rule_title, 'String') AS rule,
  countIf(created_at > $__fromTime) AS now,
  countIf(created_at <= $__fromTime) AS before,
  if(before = 0, NULL, 100 * (toFloat64(now) - before) / before) AS change
FROM alerts FINAL
WHERE status = 'open'
  AND {_before("created_at")}
  AND {ALERT_FILTERS}
GROUP BY rule
ORDER BY now DESC, rule
LIMIT 100""",
        (Column("rule", "Rule"), *_compared("now", "before")),
        width=12,
        height=9,
        no_value="No alert in either period",
    )
