"""Grafana's alert rules about the platform itself, as its provisioning files and its API take them.

What Tocsin watches from within (a partner's own silence and error rate) it tells by itself, processors/feeds.py. These
rules look from outside: they hold even when the worker that would tell has stopped. Annotations are templates without
``$``, which provisioning files would take for a variable of the environment in some versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from dashboards.grafana.model import DATASOURCE, Json, Target

GROUP: Final = "Platform health"
OWN_LABEL: Final = ("tocsin", "platform")
"""The label by which the notification policy, and sync, know these rules."""
INTERVAL_S: Final = 60
"""Grafana gives this to a new group by itself; sync relies on it."""

_EXPRESSION: Final[Json] = {"type": "__expr__", "uid": "__expr__"}
_MODEL_DEFAULTS: Final[Json] = {"intervalMs": 1000, "maxDataPoints": 43200}
"""What Grafana adds to each query that it stores."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Fires when a row's number is above ``above`` for ``for_s`` seconds; texts of the row name what it is about.

    ``sql`` looks at the last ``window_s`` seconds and gives one Float64 a row. ``blind`` says what it means that the
    query fails or finds nothing: ``OK``, or ``Alerting`` where not to know is the worst that can be.
    """

    uid: str
    title: str
    level: str
    sql: str
    window_s: int
    above: float
    for_s: int
    summary: str
    description: str
    response: str
    blind: Literal["OK", "Alerting"] = "OK"


RULES: Final = (
    Rule(
        uid="tocsin-consumer-lag",
        title="Consumer lag",
        level="high",
        sql="""
SELECT topic, toFloat64(sum(lag)) AS records
FROM
(
  SELECT
    labels['topic'] AS topic,
    labels['partition'] AS partition,
    argMax(value, sampled_at) AS lag
  FROM pipeline_metrics
  WHERE $__timeFilter(sampled_at)
    AND metric = 'tocsin_consumer_lag'
  GROUP BY topic, partition
)
GROUP BY topic
ORDER BY topic""",
        window_s=120,
        above=50_000,
        for_s=300,
        summary='{{ printf "%.0f" .Values.B.Value }} records of {{ .Labels.topic }} wait: the workers do not keep up.',
        description="More than 50,000 records of a topic have waited for five minutes.",
        response="Is a worker down (Restarts) or the store slow (Insert latency)? If neither, start another worker. "
        "Runbook: /runbooks/lag-growing",
    ),
    Rule(
        uid="tocsin-silent-feed",
        title="Silent feed",
        level="medium",
        sql="""
SELECT
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  toFloat64(if(silent > greatest(600, 5 * gap), silent, 0)) AS seconds
FROM
(
  SELECT
    partner,
    family,
    dateDiff('second', max(minute), now()) AS silent,
    dateDiff('second', min(minute), max(minute)) / greatest(uniqExact(minute) - 1, 1) AS gap
  FROM feed_minutes
  WHERE $__timeFilter(minute)
  GROUP BY partner, family
  HAVING uniqExact(minute) >= 10
)
ORDER BY partner, family""",
        window_s=86_400,
        above=0,
        for_s=60,
        summary="Nothing of {{ .Labels.family }} has come from {{ .Labels.partner }} "
        'for {{ printf "%.0f" .Values.B.Value }} s.',
        description=(
            "A partner sends nothing of one family for five times its usual gap of the last day, and at least ten "
            "minutes. Other families of the same partner may still come."
        ),
        response="Ask the partner's contact whether that source is down. Planned? Set a silence with the partner.",
    ),
    Rule(
        uid="tocsin-quarantine-rate",
        title="Quarantine rate",
        level="medium",
        sql="""
SELECT toFloat64(if(refused + accepted < 100, 0, refused / (refused + accepted))) AS share
FROM
  (SELECT uniqMerge(records) AS refused FROM quarantine_minutes WHERE $__timeFilter(minute)) AS q,
  (SELECT uniqMerge(events) AS accepted FROM feed_minutes WHERE $__timeFilter(minute)) AS f""",
        window_s=600,
        above=0.05,
        for_s=300,
        summary="{{ humanizePercentage .Values.B.Value }} of all records of the last ten minutes were refused.",
        description="More than 5 % of the records of all partners together are refused, of at least 100.",
        response="See what and why: tocsin quarantine list. Many partners at once: was a schema or a release new? "
        "Runbook: /runbooks/quarantine-flood",
    ),
    Rule(
        uid="tocsin-latency-objective",
        title="Latency objective",
        level="medium",
        sql="""
SELECT toFloat64(quantilesTDigestMerge(0.5, 0.95, 0.99)(latency_ms)[3]) AS p99_ms
FROM feed_minutes
WHERE $__timeFilter(minute)
HAVING uniqMerge(events) >= 100""",
        window_s=300,
        above=2_000,
        for_s=300,
        summary='99 % of events are ingested within {{ printf "%.0f" .Values.B.Value }} ms only; agreed are 2,000 ms.',
        description="The 99th percentile from a partner's publication to ingest, over five minutes, is above 2 s.",
        response="Look at lag and insert latency first; a partner whose clock is slow shows on the feeds' dashboard. "
        "Runbook: /runbooks/clock-skew",
    ),
    Rule(
        uid="tocsin-watchdog-missing",
        title="Watchdog missing",
        level="critical",
        # Without a sample there is no row: no row must not read as an age of nothing.
        sql="""
SELECT toFloat64(min(age)) AS seconds
FROM
(
  SELECT worker, argMax(value, sampled_at) AS age
  FROM pipeline_metrics
  WHERE $__timeFilter(sampled_at)
    AND metric = 'tocsin_watchdog_age_seconds'
  GROUP BY worker
)
HAVING count() > 0""",
        window_s=180,
        above=180,
        for_s=60,
        summary="The alert that always fires has not come through for three minutes, or the store does not say.",
        description=(
            "Alerts may no longer reach those whom they are for. Tocsin cannot be relied on to tell of this: let the "
            "contact point Tocsin, or a policy of your own, tell somebody besides."
        ),
        response="Are the part lifecycle-0, Kafka and ClickHouse up? The worker's log says what it waits for. "
        "Runbook: /runbooks/worker-crash-loop",
        blind="Alerting",
    ),
)


def _data(rule: Rule) -> list[Json]:
    seconds = {"relativeTimeRange": {"from": rule.window_s, "to": 0}}
    condition = {"type": "query", "evaluator": {"type": "gt", "params": [rule.above]}}
    return [
        {"refId": "A", "datasourceUid": DATASOURCE["uid"], **seconds, "model": Target(rule.sql).json()},
        {
            "refId": "B",
            "datasourceUid": "__expr__",
            **seconds,
            "model": _expression("B", "reduce", "A", reducer="last"),
        },
        {
            "refId": "C",
            "datasourceUid": "__expr__",
            **seconds,
            "model": _expression("C", "threshold", "B", conditions=[condition]),
        },
    ]


def _expression(ref: str, kind: str, of: str, **fields: object) -> Json:
    return {"refId": ref, "datasource": _EXPRESSION, "type": kind, "expression": of, **fields}


def _rule(rule: Rule) -> Json:
    """What files and API have in common."""
    return {
        "uid": rule.uid,
        "title": rule.title,
        "condition": "C",
        "data": [each | {"model": _MODEL_DEFAULTS | each["model"]} for each in _data(rule)],
        "noDataState": rule.blind,
        "execErrState": rule.blind,
        "for": f"{rule.for_s // 60}m",
        "annotations": {"summary": rule.summary, "description": rule.description, "response": rule.response},
        "labels": {"level": rule.level, OWN_LABEL[0]: OWN_LABEL[1]},
    }


def file_group(folder: str) -> Json:
    """The rules as a group of a provisioning file, in the folder of this title."""
    return {
        "orgId": 1,
        "name": GROUP,
        "folder": folder,
        "interval": f"{INTERVAL_S // 60}m",
        "rules": [_rule(rule) for rule in RULES],
    }


def api_rules(folder_uid: str) -> list[Json]:
    """The rules as the provisioning API takes them, in the folder of this uid."""
    return [_rule(rule) | {"folderUID": folder_uid, "ruleGroup": GROUP} for rule in RULES]
