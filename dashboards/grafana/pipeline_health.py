"""Pipeline health: is the platform itself well, and does it keep its objectives."""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import (
    NEUTRAL,
    Column,
    fixed_colour,
    override,
    row,
    stat,
    steps,
    table,
    text,
    time_series,
)
from dashboards.grafana.feeds import STORED_GOAL_MS
from dashboards.grafana.measured import SAMPLED, gauge, mean, percentiles
from dashboards.grafana.model import Dashboard, Panel
from dashboards.palette import LEVEL_COLOURS

ALERT_GOAL_MS: Final = 1000
"""99 of 100 alerts can be read this soon after the last of their evidence was published."""

RUNBOOKS: Final = {
    "lag-growing": "consumer lag grows",
    "quarantine-flood": "many records are refused",
    "clickhouse-down": "ClickHouse does not answer",
    "registry-down": "the schema registry does not answer",
    "partner-cannot-connect": "a partner cannot connect",
    "worker-crash-loop": "a worker starts again and again",
    "clock-skew": "a partner's clock is wrong",
    "rule-storm": "a rule raises alerts without end",
    "upgrade-and-rollback": "upgrade, and back",
    "backup-and-restore": "backup and restore",
}
"""What each runbook is for, by its name at the desk."""

_FINE: Final = "#51cf66"
_BAD: Final = LEVEL_COLOURS["critical"]
_ALERTS: Final = "FROM alert_minutes\nWHERE $__timeFilter(minute)"
_EVENTS: Final = "FROM feed_minutes\nWHERE $__timeFilter(minute)"


def dashboard() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="tocsin-pipeline-health",
        title="Pipeline health",
        description="Whether the platform keeps up: latency against the objective, lag, state, ClickHouse. "
        "Exercises run on the same path and are always counted here.",
        variables=(),
        panels=(
            row("Objective"),
            _objective(),
            percentiles(
                "From publication to a readable alert",
                "From the publication of the last evidence until the store takes the alert in. Goal: p99 under 1 s. "
                "A rule that waits on purpose (absence) and alerts told again after a restart count with their wait.",
                "stored_ms",
                width=9,
                source=_ALERTS,
                goal_ms=ALERT_GOAL_MS,
            ),
            percentiles(
                "From publication to a stored event",
                "From the partner's publish until the store takes the event in, of all feeds. Goal: p99 under 2 s.",
                "stored_ms",
                width=9,
                source=_EVENTS,
                goal_ms=STORED_GOAL_MS,
            ),
            row("Workers"),
            gauge(
                "Consumer lag, by worker",
                "Records in Kafka that a worker has yet to take, over all its partitions.",
                "'tocsin_consumer_lag'",
                "worker",
                unit="none",
                width=8,
                height=9,
            ),
            _lag_by_partition(),
            _restarts(),
            mean(
                "Records of a batch, by worker",
                "Mean size of the batches that a worker takes; it grows with the load.",
                "tocsin_batch_records",
                "worker",
                unit="none",
                width=6,
            ),
            mean(
                "Time of a checkpoint, by worker",
                "Mean time until the effects of gathered batches are durable: insert, delivery and acknowledgement.",
                "tocsin_checkpoint_seconds",
                "worker",
                unit="s",
                width=6,
            ),
            mean(
                "Time of a stage for one batch",
                "Mean time that a worker spends on a batch: process at ingest, correlate, lifecycle by topic.",
                "tocsin_stage_seconds",
                "labels['stage']",
                unit="s",
                width=6,
            ),
            gauge(
                "Memory, by worker",
                "Resident memory of each worker's process.",
                "'process_resident_memory_bytes'",
                "worker",
                unit="bytes",
                width=6,
            ),
            gauge(
                "State: live groups and known alerts",
                "Groups whose windows the correlators keep, and alerts that the lifecycle knows.",
                "'tocsin_correlation_groups', 'tocsin_lifecycle_alerts'",
                "if(metric = 'tocsin_correlation_groups', 'groups', 'alerts')",
                unit="short",
                width=6,
            ),
            gauge(
                "Notifications and rows that wait",
                "Notifications that are due and not settled, and effects that ClickHouse does not have yet.",
                "'tocsin_notifications_pending', 'tocsin_lifecycle_rows_waiting'",
                "if(metric = 'tocsin_notifications_pending', 'notifications', 'rows')",
                unit="short",
                width=6,
            ),
            row("ClickHouse"),
            mean(
                "Time of an insert, by table",
                "Mean time of an insert as the workers see it, of the attempts that succeeded.",
                "tocsin_insert_seconds",
                "labels['table']",
                unit="s",
                width=6,
            ),
            _retries(),
            _parts(),
            _clickhouse(),
            _runbooks(),
        ),
    )


def _objective() -> Panel:
    return stat(
        "Alerts readable: latency in the time range",
        "From the publication of the last evidence until the store takes the alert in: percentiles over the whole time "
        "range. Red above the goal of 1 s for the 99th.",
        f"""
SELECT
  if(alerts = 0, NULL, quantiles[1]) AS p50,
  if(alerts = 0, NULL, quantiles[2]) AS p95,
  if(alerts = 0, NULL, quantiles[3]) AS p99,
  alerts
FROM
(
  SELECT quantilesTDigestMerge(0.5, 0.95, 0.99)(stored_ms) AS quantiles, uniqMerge(alerts) AS alerts
  {_ALERTS}
)""",
        width=6,
        height=8,
        unit="ms",
        thresholds=steps(_FINE, (ALERT_GOAL_MS, _BAD)),
        overrides=(override("alerts", displayName="alerts told", unit="locale", color=fixed_colour(NEUTRAL)),),
    )


def _lag_by_partition() -> Panel:
    return table(
        "Consumer lag, by partition",
        "Records that wait in each partition, and who reads it, by the last sample of the time range. "
        "One partition far above the others means a key that most records share.",
        """
SELECT
  labels['topic'] AS topic,
  toUInt32OrZero(labels['partition']) AS partition,
  argMax(CAST(worker, 'String'), sampled_at) AS reader,
  argMax(value, sampled_at) AS lag,
  max(sampled_at) AS sampled
FROM pipeline_metrics
WHERE sampled_at > $__toTime - INTERVAL 1 MINUTE
  AND sampled_at <= $__toTime
  AND metric = 'tocsin_consumer_lag'
GROUP BY topic, partition
ORDER BY lag DESC, topic, partition
LIMIT 500""",
        (
            Column("topic", "Topic"),
            Column("partition", "Partition", width=90),
            Column("reader", "Worker", width=120),
            Column(
                "lag", "Lag", thresholds=steps(_FINE, (10_000, LEVEL_COLOURS["medium"]), (100_000, _BAD)), width=110
            ),
            Column("sampled", "Sampled (UTC)", unit="dateTimeAsIso"),
        ),
        width=9,
        height=9,
        no_value="No worker has been sampled in the last minute",
    )


def _restarts() -> Panel:
    return table(
        "Restarts, by worker",
        "How often the process of a worker was started anew in the time range, whoever did it, and when it last was. "
        "Silent says for how long it has not been sampled.",
        """
SELECT
  CAST(worker, 'String') AS worker,
  uniqExact(value) - 1 AS restarts,
  fromUnixTimestamp64Milli(toInt64(max(value) * 1000), 'UTC') AS started,
  dateDiff('second', max(sampled_at), $__toTime) AS silent
FROM pipeline_metrics
WHERE $__timeFilter(sampled_at)
  AND metric = 'process_start_time_seconds'
GROUP BY worker
ORDER BY restarts DESC, worker""",
        (
            Column("worker", "Worker"),
            Column("restarts", "Restarts", thresholds=steps(_FINE, (1, LEVEL_COLOURS["medium"]), (5, _BAD)), width=90),
            Column("started", "Started (UTC)", unit="dateTimeAsIso"),
            Column("silent", "Silent", unit="s", thresholds=steps(_FINE, (30, _BAD)), width=90),
        ),
        width=7,
        height=9,
        no_value="No worker has been sampled in this time range",
    )


def _retries() -> Panel:
    return time_series(
        "Inserts tried again, by worker",
        "Inserts that ClickHouse did not take at once. Nothing is lost: workers wait, and lag grows.",
        """
SELECT
  $__timeInterval(sampled_at) AS time,
  CAST(worker, 'String') AS worker,
  deltaSumTimestamp(value, toUnixTimestamp64Milli(sampled_at)) AS retries
FROM pipeline_metrics
WHERE $__timeFilter(sampled_at)
  AND metric = 'tocsin_store_retries_total'
GROUP BY time, worker
ORDER BY time, worker""",
        width=6,
        height=8,
        unit="none",
        label="worker",
        bars=True,
        interval=SAMPLED,
    )


def _parts() -> Panel:
    return table(
        "Parts, by table",
        "Active parts of each table now, and of its fullest partition: ClickHouse slows inserts down from 1,000 and "
        "refuses them from 3,000 (parts_to_delay_insert, parts_to_throw_insert).",
        """
SELECT
  table,
  sum(number) AS parts,
  max(number) AS fullest,
  sum(part_rows) AS table_rows,
  sum(part_bytes) AS bytes
FROM
(
  SELECT table, partition_id, count() AS number, sum(rows) AS part_rows, sum(bytes_on_disk) AS part_bytes
  FROM system.parts
  WHERE active
    AND database = currentDatabase()
  GROUP BY table, partition_id
)
GROUP BY table
ORDER BY fullest DESC, parts DESC""",
        (
            Column("table", "Table"),
            Column("parts", "Parts", width=80),
            Column(
                "fullest",
                "In one partition",
                thresholds=steps(_FINE, (300, LEVEL_COLOURS["medium"]), (1000, _BAD)),
                width=120,
            ),
            Column("table_rows", "Rows", unit="short", width=90),
            Column("bytes", "On disk", unit="bytes", width=90),
        ),
        width=8,
        height=8,
    )


def _clickhouse() -> Panel:
    return stat(
        "ClickHouse",
        "Time since the server started, and merges at work. A time that starts anew is a restart.",
        "SELECT uptime() AS up, (SELECT count() FROM system.merges) AS merges",
        width=4,
        height=8,
        unit="none",
        overrides=(override("up", displayName="up for", unit="s"),),
    )


def _runbooks() -> Panel:
    lines = [f"- [{what}](${{desk}}/runbooks/{name})" for name, what in RUNBOOKS.items()]
    return text(
        "Runbooks",
        "What to do, one page for each trouble, at the watch desk.",
        "**What to do when**\n\n" + "\n".join(lines),
        width=24,
        height=8,
    )
