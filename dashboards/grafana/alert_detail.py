"""Alert detail: one alert with its story, evidence across partners, entities, and what was done and told."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dashboards.grafana import alert_evidence
from dashboards.grafana.alert_evidence import ALERT_ID, IS_IT
from dashboards.grafana.common import (
    ALERT_DETAIL,
    TIME_UNIT,
    Column,
    alert_links,
    row,
    table,
)
from dashboards.grafana.model import Dashboard, Json, Panel, Variable
from dashboards.palette import (
    KIND_COLOURS,
    LEVEL_COLOURS,
    OUTCOME_COLOURS,
    PRIORITY_COLOURS,
    STATE_COLOURS,
    TLP_COLOURS,
    TLP_LABELS,
    VERDICT_COLOURS,
)

ALERT: Final = Variable(
    kind="textbox",
    name="alert",
    label="Alert id",
    description="The alert to show. Without an id it is the newest one that several partners saw.",
)
_UNKNOWN: Final = "No alert has this id"


def dashboard() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid=ALERT_DETAIL,
        title="Alert detail",
        description="One alert: story, evidence across partners, entities, what was done and who was told. "
        "Without an id it shows the newest alert that several partners saw, an exercise or not.",
        variables=(ALERT,),
        span=timedelta(days=1),
        panels=(
            _state(),
            _story(),
            row("Evidence"),
            *alert_evidence.panels(),
            row("Response"),
            _actions(),
            _notifications(),
            row("Other alerts"),
            _latest(),
        ),
    )


def _state() -> Panel:
    return table(
        "State",
        "How urgent the alert is, who has it, and what became of it. The id opens the alert's page on the desk.",
        f"""
SELECT
  CAST(s.priority, 'String') AS priority,
  CAST(a.level, 'String') AS level,
  multiIf(
    s.alert_id = '', 'not taken in',
    s.superseded_by != '', 'superseded',
    s.withdrawn, 'withdrawn',
    CAST(s.state, 'String')
  ) AS state,
  CAST(if(s.assignee != '', s.assignee, s.acknowledged_by), 'String') AS person,
  CAST(s.verdict, 'String') AS verdict,
  if(a.exercise, 'EXERCISE', 'live') AS kind,
  CAST(a.tlp, 'String') AS tlp,
  a.confidence AS confidence,
  a.evidence_total AS evidence,
  a.created_at AS raised_at,
  a.last_event_at AS last_event_at,
  if(s.updated_at > a.updated_at, s.updated_at, a.updated_at) AS changed_at,
  a.alert_id AS alert_id
FROM (SELECT * FROM alerts FINAL WHERE {IS_IT}) AS a
LEFT JOIN (SELECT * FROM alert_states FINAL WHERE {IS_IT}) AS s ON s.alert_id = a.alert_id""",
        (
            Column("priority", "Priority", colours=PRIORITY_COLOURS),
            Column("level", "Level", colours=LEVEL_COLOURS),
            Column("state", "State", colours=STATE_COLOURS),
            Column("person", "Who"),
            Column("verdict", "Verdict", colours=VERDICT_COLOURS),
            Column("kind", "Kind", colours=KIND_COLOURS),
            Column("tlp", "TLP", colours=TLP_COLOURS, texts=TLP_LABELS),
            Column("confidence", "Confidence", unit="percent"),
            Column("evidence", "Events"),
            Column("raised_at", "Raised (UTC)", unit=TIME_UNIT),
            Column("last_event_at", "Last event (UTC)", unit=TIME_UNIT),
            Column("changed_at", "Changed (UTC)", unit=TIME_UNIT),
            Column("alert_id", "Alert", links=(_on_the_desk(),)),
        ),
        width=24,
        height=4,
        no_value=_UNKNOWN,
    )


def _on_the_desk() -> Json:
    return alert_links()[1]


def _story() -> Panel:
    return table(
        "Story",
        "What happened, in a sentence, and what the rule's author wants done about it.",
        f"""
SELECT part.1 AS what, part.2 AS words
FROM
(
  SELECT
    arrayJoin(
      [
        ('Story', story),
        ('Rule', CAST(rule_title, 'String')),
        ('Why it looks for that', JSONExtractString(record, 'rule', 'description')),
        ('Condition', JSONExtractString(record, 'rule', 'condition')),
        ('What to do', JSONExtractString(record, 'rule', 'response')),
        ('About', arrayStringConcat(arrayMap((k, v) -> concat(k, ' ', v), mapKeys(group), mapValues(group)), ', ')),
        ('Partners', arrayStringConcat(partners, ', ')),
        ('Places', arrayStringConcat(places, ', ')),
        ('Goes on as', superseded_by)
      ]
    ) AS part
  FROM alerts FINAL
  WHERE {IS_IT}
)
WHERE words != ''""",
        (Column("what", "What", width=180), Column("words", "In words")),
        width=24,
        height=9,
        no_value=_UNKNOWN,
    )


def _actions() -> Panel:
    return table(
        "What was done",
        "Actions of people and of the clock, and what was refused, newest first; updates by the stream are left out.",
        f"""
SELECT
  at,
  CAST(verb, 'String') AS verb,
  CAST(by, 'String') AS by,
  CAST(via, 'String') AS via,
  if(accepted, concat(before, if(before != after, concat(' → ', after), '')), 'refused') AS became,
  concat(text, reason) AS words,
  if(details = '{{}}', '', details) AS details
FROM alert_actions FINAL
WHERE {IS_IT}
  AND verb != 'updated'
ORDER BY at DESC, revision DESC
LIMIT 200""",
        (
            Column("at", "At (UTC)", width=170, unit=TIME_UNIT),
            Column("verb", "What", width=120),
            Column("by", "Who", width=100),
            Column("via", "Through", width=80),
            Column("became", "State", width=170, colours={"refused": LEVEL_COLOURS["critical"]}),
            Column("words", "Note or reason"),
            Column("details", "Details"),
        ),
        width=12,
        height=9,
        no_value="Nobody has done anything yet",
    )


def _notifications() -> Panel:
    return table(
        "Who was told",
        "Every attempt to deliver a notification about the alert, newest first. Redacted: the channel leaves the "
        "organisation, so the story was held back.",
        f"""
SELECT
  at,
  CAST(kind, 'String') AS kind,
  CAST(person, 'String') AS person,
  CAST(channel, 'String') AS channel,
  CAST(outcome, 'String') AS outcome,
  attempt,
  took_ms,
  if(redacted, 'redacted', '') AS body,
  error
FROM notifications FINAL
WHERE has(alert_ids, {ALERT_ID})
ORDER BY at DESC
LIMIT 200""",
        (
            Column("at", "At (UTC)", width=170, unit=TIME_UNIT),
            Column("kind", "Kind", width=100),
            Column("person", "Person", width=100),
            Column("channel", "Channel", width=90),
            Column("outcome", "Outcome", width=100, colours=OUTCOME_COLOURS),
            Column("attempt", "Attempt", width=80),
            Column("took_ms", "Took", width=80, unit="ms"),
            Column("body", "Body", width=90),
            Column("error", "Error"),
        ),
        width=12,
        height=9,
        no_value="Nobody was told of this alert",
    )


def _latest() -> Panel:
    return table(
        "Alerts that changed last",
        "To choose another alert from: a click shows it here or on the desk. Exercises are among them.",
        """
SELECT
  updated_at,
  CAST(level, 'String') AS level,
  if(exercise, 'EXERCISE', 'live') AS kind,
  story,
  alert_id
FROM alerts FINAL
WHERE kind != 'platform'
ORDER BY updated_at DESC
LIMIT 20""",
        (
            Column("updated_at", "Changed (UTC)", width=170, unit=TIME_UNIT),
            Column("level", "Level", width=110, colours=LEVEL_COLOURS),
            Column("kind", "Kind", width=90, colours=KIND_COLOURS),
            Column("story", "Story", links=alert_links()),
            Column("alert_id", "Alert", width=110, links=alert_links()),
        ),
        width=24,
        height=8,
        no_value="No alert yet",
    )
