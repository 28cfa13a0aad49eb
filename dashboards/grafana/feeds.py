"""The dashboard's second part: health of the partners' feeds and of the pipeline.

Rates and latencies come from the minute rollups (schemas/clickhouse/0002), so their smallest bucket is one minute.
"""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import (
    EXERCISE_FILTER,
    PARTNER_FILTER,
    Panel,
    Place,
    override,
    steps,
    time_series,
)
from dashboards.palette import LEVEL_COLOURS

_FEED: Final = f"""
FROM feed_minutes
WHERE $__timeFilter(minute)
  AND {EXERCISE_FILTER}
  AND {PARTNER_FILTER}"""

_FINE: Final = "#51cf66"


def feed_rate(place: Place) -> Panel:
    """Stored events per second by partner."""
    return time_series(
        "Events stored per second, by partner",
        "Distinct events written to the store per second. A line that falls to nothing is a feed that fell silent.",
        place,
        f"""
SELECT
  $__timeInterval(minute) AS time,
  CAST(partner, 'String') AS partner,
  uniqMerge(events) / $__interval_s AS events_per_second{_FEED}
GROUP BY time, partner
ORDER BY time, partner""",
        unit="eps",
        label="partner",
        interval="1m",
    )


def last_event_age(place: Place) -> Panel:
    """Age of the newest event of each partner and family."""
    age = {
        "custom__cellOptions": {"type": "color-background", "mode": "basic"},
        "custom__displayMode": "color-background",
    }
    return Panel(
        kind="table",
        title="Age of the last event, by partner and family",
        description=(
            "Time since the newest event happened, by the partner's own clock, whatever the time range above; "
            "amber from 5 minutes, red from 30. Stored counts the events of the last 24 hours."
        ),
        place=place,
        unit="none",
        sql=f"""
SELECT
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  dateDiff('second', max(last_event), now64(3, 'UTC')) AS age,
  toTimeZone(max(last_event), 'UTC') AS last_event_at,
  uniqMergeIf(events, minute >= now() - INTERVAL 1 DAY) AS stored
FROM feed_minutes
WHERE {EXERCISE_FILTER}
  AND {PARTNER_FILTER}
GROUP BY partner, family
ORDER BY age DESC""",
        options={"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
        defaults={"custom": {"align": "left", "filterable": True, "inspect": False}},
        overrides=(
            override("partner", displayName="Partner"),
            override("family", displayName="Family"),
            override(
                "age",
                displayName="Age",
                unit="s",
                thresholds=steps(_FINE, (300, LEVEL_COLOURS["medium"]), (1800, LEVEL_COLOURS["critical"])),
                color={"mode": "thresholds"},
                **age,
            ),
            override("last_event_at", displayName="Last event (UTC)", unit="dateTimeAsIso"),
            override("stored", displayName="Stored in 24 h", unit="short"),
        ),
    )


def refused(place: Place) -> Panel:
    """Quarantined records by reason."""
    return Panel(
        kind="barchart",
        title="Refused records, by reason",
        description=(
            "Records put in quarantine in the time range. Whether a refused record was an exercise is not always "
            "readable, so the exercise filter does not apply. See them with: tocsin quarantine list"
        ),
        place=place,
        unit="none",
        sql=f"""
SELECT
  CAST(reason, 'String') AS reason,
  uniqMerge(records) AS records
FROM quarantine_minutes
WHERE $__timeFilter(minute)
  AND {PARTNER_FILTER}
GROUP BY reason
ORDER BY records DESC""",
        options={
            "orientation": "horizontal",
            "xField": "reason",
            "legend": {"showLegend": False, "displayMode": "hidden", "placement": "bottom", "calcs": []},
            "showValue": "always",
            "stacking": "none",
            "tooltip": {"mode": "single", "sort": "none"},
        },
        defaults={
            "min": 0,
            "decimals": 0,
            "color": {"mode": "fixed", "fixedColor": LEVEL_COLOURS["high"]},
            "custom": {"fillOpacity": 80, "lineWidth": 1},
        },
        overrides=(override("records", displayName="Records"),),
    )


def late_events(place: Place) -> Panel:
    """Events later than the rules allow, by partner."""
    return time_series(
        "Late events, by partner",
        "Events that came later than the allowed lateness (1 hour unless set otherwise): stored and counted, "
        "not matched against windows that have closed.",
        place,
        f"""
SELECT
  $__timeInterval(minute) AS time,
  CAST(partner, 'String') AS partner,
  uniqIfMerge(late) AS late_events{_FEED}
GROUP BY time, partner
ORDER BY time, partner""",
        unit="none",
        label="partner",
        bars=True,
        interval="1m",
    )


def latency(place: Place) -> Panel:
    """Time from a partner's publish to ingest, as percentiles."""
    return time_series(
        "Ingest latency",
        "Time from the partner's publish to ingest, by both clocks, over the chosen partners. Goal: p99 under 2 s.",
        place,
        f"""
SELECT
  time,
  quantiles[1] AS p50,
  quantiles[2] AS p95,
  quantiles[3] AS p99
FROM
(
  SELECT
    $__timeInterval(minute) AS time,
    quantilesTDigestMerge(0.5, 0.95, 0.99)(latency_ms) AS quantiles
  {_FEED.strip()}
  GROUP BY time
)
ORDER BY time""",
        unit="ms",
        interval="1m",
        thresholds=steps("transparent", (2000, LEVEL_COLOURS["critical"])),
    )


def consumer_lag(place: Place) -> Panel:
    """Records waiting in Kafka, by worker."""
    return time_series(
        "Consumer lag, by worker",
        "Records in Kafka that a worker has yet to take: the sum over its partitions of each one's latest sample.",
        place,
        """
SELECT
  time,
  worker,
  sum(lag) AS records
FROM
(
  SELECT
    $__timeInterval(sampled_at) AS time,
    CAST(worker, 'String') AS worker,
    labels,
    argMax(value, sampled_at) AS lag
  FROM pipeline_metrics
  WHERE $__timeFilter(sampled_at)
    AND metric = 'tocsin_consumer_lag'
  GROUP BY time, worker, labels
)
GROUP BY time, worker
ORDER BY time, worker""",
        unit="none",
        label="worker",
        interval="10s",
    )
