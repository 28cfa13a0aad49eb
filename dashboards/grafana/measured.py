"""Makers of panels over what is measured: digests of latency, and the workers' metrics.

Workers write their metrics to ``pipeline_metrics`` every five seconds (streams/metrics.py). Counters start anew with
their process: ``deltaSumTimestamp`` adds up what they rose by and leaves out where they fell.
"""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import steps, time_series
from dashboards.grafana.model import Panel
from dashboards.palette import LEVEL_COLOURS

SAMPLED: Final = "30s"
"""Smallest bucket of what counters tell: six samples."""


def percentiles(
    title: str,
    means: str,
    column: str,
    *,
    source: str,
    width: int,
    goal_ms: int | None = None,
) -> Panel:
    """Median, 95th and 99th percentile of a digest of milliseconds, ``column`` of ``source``, over time.

    ``source`` is the rest of a query from FROM on, and has ``minute``.
    """
    return time_series(
        title,
        f"{means} Median, 95th and 99th percentile.",
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
    quantilesTDigestMerge(0.5, 0.95, 0.99)({column}) AS quantiles
  {source.strip()}
  GROUP BY time
)
WHERE NOT isNaN(p50)
ORDER BY time""",
        width=width,
        height=8,
        unit="ms",
        interval="1m",
        thresholds=steps("transparent", (goal_ms, LEVEL_COLOURS["critical"])) if goal_ms else None,
    )


def mean(title: str, description: str, histogram: str, label: str, *, unit: str, width: int) -> Panel:
    """Mean of a histogram's observations over time: what its sum rose by, over what its count did."""
    return time_series(
        title,
        description,
        f"""
SELECT
  time,
  CAST(label, 'String') AS label,
  sum(total) / sum(number) AS mean
FROM
(
  SELECT
    $__timeInterval(sampled_at) AS time,
    worker,
    {label} AS label,
    deltaSumTimestampIf(value, toUnixTimestamp64Milli(sampled_at), metric = '{histogram}_sum') AS total,
    deltaSumTimestampIf(value, toUnixTimestamp64Milli(sampled_at), metric = '{histogram}_count') AS number
  FROM pipeline_metrics
  WHERE $__timeFilter(sampled_at)
    AND metric IN ('{histogram}_sum', '{histogram}_count')
  GROUP BY time, worker, label
)
GROUP BY time, label
HAVING sum(number) > 0
ORDER BY time, label""",
        width=width,
        height=8,
        unit=unit,
        label="label",
        interval=SAMPLED,
    )


def gauge(
    title: str,
    description: str,
    metrics: str,
    label: str,
    *,
    unit: str,
    width: int,
    height: int = 8,
    only: tuple[str, ...] = (),
    first_s: int | None = None,
) -> Panel:
    """Gauges over time: what a worker's add up to at its latest sample, added up by label.

    ``only`` are conditions. With ``first_s`` a bucket is what it was in its first seconds, so many of them.
    """
    early = f"\n      AND toUnixTimestamp(sampled_at) % $__interval_s < {first_s}" if first_s else ""
    where = "\n    WHERE " + "\n      AND ".join(only) if only else ""
    return time_series(
        title,
        description,
        f"""
SELECT
  time,
  CAST(label, 'String') AS label,
  sum(latest) AS amount
FROM
(
  SELECT
    $__timeInterval(sampled_at) AS time,
    worker,
    label,
    argMax(amount_then, sampled_at) AS latest
  FROM
  (
    SELECT
      worker,
      {label} AS label,
      sampled_at,
      sum(value) AS amount_then
    FROM pipeline_metrics
    PREWHERE $__timeFilter(sampled_at)
      AND metric IN ({metrics}){early}{where}
    GROUP BY worker, label, sampled_at
  )
  GROUP BY time, worker, label
)
GROUP BY time, label
ORDER BY time, label""",
        width=width,
        height=height,
        unit=unit,
        label="label",
        interval=SAMPLED,
    )
