"""Feeds: rate, silence, delay, refusals and schema versions of the partners' feeds.

Rates and latencies come from the minute rollups (schemas/clickhouse/0002 and 0006): no bucket is below a minute.
"""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import Column, bar_chart, override, row, steps, table, time_series
from dashboards.grafana.measured import gauge, percentiles
from dashboards.grafana.model import Dashboard, Panel, Target
from dashboards.grafana.variables import (
    EVENT_FILTERS,
    EXERCISE,
    FAMILY,
    FAMILY_FILTER,
    PARTNER,
    PARTNER_FILTER,
    REGION,
)
from dashboards.palette import LEVEL_COLOURS

STORED_GOAL_MS: Final = 2000
"""99 of 100 events are stored this soon after they were published."""

_FEED: Final = f"""
FROM feed_minutes
WHERE $__timeFilter(minute)
  AND {EVENT_FILTERS}"""

_FINE: Final = "#51cf66"


def dashboard() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="tocsin-feeds",
        title="Feeds",
        description="Whether the partners' feeds are alive: rate, silence, delay, what was refused and why.",
        variables=(EXERCISE, PARTNER, FAMILY, REGION),
        panels=(
            row("Alive"),
            _feed_rate("partner", "A line that falls to nothing is a feed that fell silent."),
            _feed_rate("family", "All partners together, unless some are chosen."),
            _silence(),
            _last_event_age(),
            row("Delay"),
            percentiles(
                "From occurrence to publication",
                "How long partners take to publish what they saw, by their own clocks.",
                "delay_ms",
                source=_FEED,
                width=8,
            ),
            percentiles(
                "Ingest latency",
                "Time from the partner's publish to ingest, by both clocks. A clock that is ahead makes it negative.",
                "latency_ms",
                source=_FEED,
                width=8,
            ),
            percentiles(
                "From publication to storage",
                "Until the store takes the event in. Goal: p99 under 2 s.",
                "stored_ms",
                source=_FEED,
                width=8,
                goal_ms=STORED_GOAL_MS,
            ),
            _way(),
            _late_events(),
            _lag(),
            row("Refused, and versions"),
            _refused(),
            _refused_by_feed(),
            _schema_versions(),
        ),
    )


def _feed_rate(column: str, means: str) -> Panel:
    return time_series(
        f"Events stored per second, by {column}",
        f"Distinct events written to the store per second. {means}",
        f"""
SELECT
  $__timeInterval(minute) AS time,
  CAST({column}, 'String') AS {column},
  uniqMerge(events) / $__interval_s AS events_per_second{_FEED}
GROUP BY time, {column}
ORDER BY time, {column}""",
        width=12,
        height=9,
        unit="suffix:events/s",
        label=column,
        interval="1m",
    )


def _silence() -> Panel:
    # A bucket in which nothing came has no row: each partner's are laid beside all that there are.
    sql = f"""
SELECT
  toDateTime(bucket * $__interval_s, 'UTC') AS time,
  partner,
  toUInt8(has(heard, bucket)) AS delivers
FROM
(
  SELECT
    CAST(partner, 'String') AS partner,
    groupUniqArrayIf(intDiv(toUInt32(minute), $__interval_s), $__timeFilter(minute)) AS heard
  FROM feed_minutes
  WHERE {EVENT_FILTERS}
  GROUP BY partner
)
ARRAY JOIN range(intDiv(toUInt32($__fromTime), $__interval_s), intDiv(toUInt32($__toTime), $__interval_s)) AS bucket
ORDER BY time, partner"""
    states = [
        {"type": "value", "options": {"0": {"text": "silent", "color": LEVEL_COLOURS["critical"], "index": 0}}},
        {"type": "value", "options": {"1": {"text": "delivers", "color": _FINE, "index": 1}}},
    ]
    return Panel(
        kind="state-timeline",
        title="Silence, by partner",
        description="When a partner's events came and when none did, of every partner that ever delivered. A partner "
        "that is silent for longer than agreed is an alert of its own; see the watch desk.",
        width=12,
        height=9,
        targets=(Target(sql, series=True),),
        unit="none",
        interval="1m",
        no_value="No partner has delivered yet",
        options={
            "mergeValues": True,
            "showValue": "never",
            "alignValue": "left",
            "rowHeight": 0.8,
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        defaults={
            "displayName": "${__field.labels.partner}",
            "mappings": states,
            "color": {"mode": "thresholds"},
            "thresholds": steps(LEVEL_COLOURS["critical"], (1, _FINE)),
            "custom": {"fillOpacity": 80, "lineWidth": 0},
        },
    )


def _last_event_age() -> Panel:
    return table(
        "Age of the last event, by partner and family",
        "Time since the newest event happened, by the partner's own clock, whatever the time range above; "
        "amber from 5 minutes, red from 30. Stored counts the events of the last 24 hours.",
        f"""
SELECT
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  dateDiff('second', last, now64(3, 'UTC')) AS age,
  last AS last_event_at,
  day.stored AS stored
FROM
(
  SELECT partner, family, toTimeZone(max(last_event), 'UTC') AS last
  FROM feed_minutes
  WHERE {EVENT_FILTERS}
  GROUP BY partner, family
) AS feed
LEFT JOIN
(
  SELECT partner, family, uniqMerge(events) AS stored
  FROM feed_hours
  WHERE hour > now() - INTERVAL 1 DAY
    AND {EVENT_FILTERS}
  GROUP BY partner, family
) AS day USING (partner, family)
ORDER BY age DESC""",
        (
            Column("partner", "Partner"),
            Column("family", "Family"),
            Column(
                "age",
                "Age",
                unit="s",
                thresholds=steps(_FINE, (300, LEVEL_COLOURS["medium"]), (1800, LEVEL_COLOURS["critical"])),
            ),
            Column("last_event_at", "Last event (UTC)", unit="dateTimeAsIso"),
            Column("stored", "Stored in 24 h", unit="locale"),
        ),
        width=12,
        height=9,
        no_value="No partner has delivered yet",
    )


def _way() -> Panel:
    slow = steps("transparent", (STORED_GOAL_MS, LEVEL_COLOURS["critical"]))
    return table(
        "The way of an event, by feed",
        "Median and 99th percentile from occurrence to publication, and from publication to storage; red above the "
        "goal of 2 s.",
        f"""
SELECT
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  delay[1] AS delay_p50,
  delay[3] AS delay_p99,
  stored[1] AS stored_p50,
  stored[3] AS stored_p99
FROM
(
  SELECT
    partner,
    family,
    quantilesTDigestMerge(0.5, 0.95, 0.99)(delay_ms) AS delay,
    quantilesTDigestMerge(0.5, 0.95, 0.99)(stored_ms) AS stored
  {_FEED.strip()}
  GROUP BY partner, family
)
WHERE NOT isNaN(delay_p50)
ORDER BY stored_p99 DESC""",
        (
            Column("partner", "Partner"),
            Column("family", "Family"),
            Column("delay_p50", "To publication, median"),
            Column("delay_p99", "To publication, p99"),
            Column("stored_p50", "To storage, median"),
            Column("stored_p99", "To storage, p99", thresholds=slow),
        ),
        width=24,
        height=8,
        unit="ms",
    )


def _late_events() -> Panel:
    return time_series(
        "Late events, by partner",
        "Events that came later than the allowed lateness (1 hour unless set otherwise): stored and counted, "
        "not matched against windows that have closed.",
        f"""
SELECT
  $__timeInterval(minute) AS time,
  CAST(partner, 'String') AS partner,
  uniqIfMerge(late) AS late_events{_FEED}
GROUP BY time, partner
ORDER BY time, partner""",
        width=12,
        height=8,
        unit="none",
        label="partner",
        bars=True,
        interval="1m",
    )


def _lag() -> Panel:
    # Labels of all samples of a day take long to read; ten seconds have one sample or two.
    return gauge(
        "Lag, by family",
        "Records of each family's topic that no worker has taken yet; of all partners, for a topic is theirs together.",
        "'tocsin_consumer_lag'",
        "family",
        unit="none",
        width=12,
        first_s=10,
        only=(
            "startsWith(labels['topic'], 'events.')",
            "(splitByChar('.', labels['topic'])[2] AS family) != ''",
            FAMILY_FILTER,
        ),
    )


def _refused() -> Panel:
    return bar_chart(
        "Refused records, by reason",
        "Records put in quarantine in the time range. Whether a refused record was an exercise, and where, is not "
        "always readable: those selectors do not apply. See them with: tocsin quarantine list",
        f"""
SELECT
  CAST(reason, 'String') AS reason,
  uniqMerge(records) AS records
FROM quarantine_minutes
WHERE $__timeFilter(minute)
  AND {PARTNER_FILTER}
  AND {FAMILY_FILTER}
GROUP BY reason
ORDER BY records DESC""",
        x="reason",
        width=8,
        height=9,
        colour=LEVEL_COLOURS["high"],
        no_value="Nothing was refused",
        overrides=(override("records", displayName="Records"),),
    )


def _refused_by_feed() -> Panel:
    return table(
        "Refused records, by feed",
        "Who sent what was refused in the time range, why, and when last. No partner where it could not be read.",
        f"""
SELECT
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  CAST(reason, 'String') AS reason,
  uniqMerge(records) AS records,
  max(minute) AS last
FROM quarantine_minutes
WHERE $__timeFilter(minute)
  AND {PARTNER_FILTER}
  AND {FAMILY_FILTER}
GROUP BY partner, family, reason
ORDER BY records DESC
LIMIT 100""",
        (
            Column("partner", "Partner"),
            Column("family", "Family"),
            Column("reason", "Reason"),
            Column("records", "Records", unit="locale"),
            Column("last", "Last (UTC)", unit="dateTimeAsIso"),
        ),
        width=8,
        height=9,
        no_value="Nothing was refused",
    )


def _schema_versions() -> Panel:
    return table(
        "Schema versions in use, by feed",
        "Which schemas of the registry the stored events were written with. Two at once in a feed are an upgrade under "
        "way. Id 0 stands for events that were stored before versions were counted.",
        f"""
SELECT
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  schema_id,
  uniqMerge(events) AS stored,
  min(minute) AS first,
  max(minute) AS last{_FEED}
GROUP BY partner, family, schema_id
ORDER BY partner, family, schema_id
LIMIT 500""",
        (
            Column("partner", "Partner"),
            Column("family", "Family"),
            Column("schema_id", "Schema id"),
            Column("stored", "Events", unit="locale"),
            Column("first", "First (UTC)", unit="dateTimeAsIso"),
            Column("last", "Last (UTC)", unit="dateTimeAsIso"),
        ),
        width=8,
        height=9,
    )
