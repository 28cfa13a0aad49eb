"""Rules and response: which rules fire, what comes of their alerts, and how fast people are told and act."""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import (
    NEUTRAL,
    Column,
    bar_chart,
    counts_by,
    fixed_colour,
    override,
    row,
    series_colours,
    stat,
    steps,
    table,
    time_series,
)
from dashboards.grafana.model import Dashboard, Panel
from dashboards.grafana.variables import ALERT_VARIABLES, OF_CHOSEN_ALERTS, STATE_FILTERS
from dashboards.palette import FINE_COLOUR, LEVEL_COLOURS, OUTCOME_COLOURS, VERDICT_COLOURS

_OUTCOMES: Final = tuple(OUTCOME_COLOURS)
_VERDICTS: Final = tuple(VERDICT_COLOURS)

_RAISED: Final = f"""FROM alert_states FINAL
  WHERE $__timeFilter(raised_at)
    AND {STATE_FILTERS}
    AND {OF_CHOSEN_ALERTS}"""
# A repetition of an action has the same time: no FINAL is needed for the first one. Alerts act after they are raised,
# so actions before the time range belong to none of them.
_RESPONSES: Final = f"""
(
  SELECT
    alert_id,
    CAST(rule_id, 'String') AS rule_id,
    CAST(verdict, 'String') AS verdict,
    withdrawn,
    state,
    raised_at,
    closed_at,
    if(taken_at = 0, NULL, dateDiff('second', raised_at, taken_at)) AS to_take,
    if(isNull(closed_at), NULL, dateDiff('second', raised_at, assumeNotNull(closed_at))) AS to_close
  FROM
  (
    SELECT alert_id, rule_id, verdict, withdrawn, state, raised_at, closed_at
    {_RAISED}
  ) AS raised
  LEFT JOIN
  (
    SELECT alert_id, min(at) AS taken_at
    FROM alert_actions
    WHERE at >= $__fromTime
      AND accepted
      AND before = 'open'
      AND after IN ('acknowledged', 'assigned', 'in_progress', 'closed')
    GROUP BY alert_id
  ) AS actions USING (alert_id)
)"""
_TITLES: Final = (
    "(SELECT CAST(rule_id, 'String') AS rule_id, CAST(any(rule_title), 'String') AS rule FROM alerts GROUP BY rule_id)"
)
_NOBODY_CLOSES: Final = "Nothing was closed in this time range. Exercises count when they are chosen above."
_NOTHING_FIRED: Final = "No rule fired in this time range. Exercises count when they are chosen above."


def dashboard() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="tocsin-rules-response",
        title="Rules and response",
        description="Which rules fire, what comes of their alerts, and how fast people are told and act. Alerts count "
        "when they were raised in the time range; exercises are left out unless chosen.",
        variables=ALERT_VARIABLES,
        panels=(
            _summary(),
            _verdicts(),
            _firing(),
            _firing_over_time(),
            _rules(),
            row("Response"),
            _times(),
            _escalations(),
            row("Notifications"),
            _deliveries(),
            _channels(),
        ),
    )


def _summary() -> Panel:
    limit = steps(FINE_COLOUR, (900, LEVEL_COLOURS["medium"]), (3600, LEVEL_COLOURS["critical"]))
    timed = {"unit": "s", "thresholds": limit, "color": {"mode": "thresholds"}}
    return stat(
        "Response",
        "Alerts raised in the time range; median and 90th percentile of the seconds until somebody took one (any first "
        "action that takes it out of open), median until it was closed; share of the closed that were false positives.",
        f"""
SELECT
  count() AS raised,
  countIf(isNull(to_take) AND NOT withdrawn) AS not_taken,
  quantile(0.5)(to_take) AS take_median,
  quantile(0.9)(to_take) AS take_p90,
  quantile(0.5)(to_close) AS close_median,
  countIf(verdict = 'false_positive') / nullIf(countIf(verdict != ''), 0) AS false_positives
FROM {_RESPONSES}""",
        width=24,
        height=4,
        overrides=(
            override("raised", displayName="Raised", color={"mode": "fixed", "fixedColor": LEVEL_COLOURS["low"]}),
            override(
                "not_taken",
                displayName="Not taken yet",
                thresholds=steps(FINE_COLOUR, (1, LEVEL_COLOURS["medium"])),
                color={"mode": "thresholds"},
            ),
            override("take_median", displayName="To acknowledge, median", **timed),
            override("take_p90", displayName="To acknowledge, p90", **timed),
            override(
                "close_median",
                displayName="To close, median",
                **(timed | {"color": fixed_colour(NEUTRAL)}),
            ),
            override(
                "false_positives",
                displayName="False positives",
                unit="percentunit",
                thresholds=steps(FINE_COLOUR, (0.2, LEVEL_COLOURS["medium"]), (0.5, LEVEL_COLOURS["critical"])),
                color={"mode": "thresholds"},
            ),
        ),
    )


def _verdicts() -> Panel:
    return bar_chart(
        "Verdicts",
        "What the alerts that were raised in the time range turned out to be; only closed ones have a verdict.",
        f"""
SELECT CAST(verdict, 'String') AS verdict, count() AS alerts
{_RAISED}
    AND verdict != ''
GROUP BY verdict
ORDER BY alerts DESC""",
        x="verdict",
        width=8,
        height=9,
        colour=LEVEL_COLOURS["low"],
        overrides=(override("alerts", displayName="Alerts"),),
        no_value=_NOBODY_CLOSES,
    )


def _firing() -> Panel:
    return bar_chart(
        "Alerts by rule",
        "Alerts raised in the time range by the rule that raised them, the 20 busiest.",
        f"""
SELECT rule, alerts
FROM
(
  SELECT CAST(rule_id, 'String') AS rule_id, count() AS alerts
  {_RAISED}
  GROUP BY rule_id
) AS fired
INNER JOIN {_TITLES} AS titles USING (rule_id)
ORDER BY alerts DESC, rule
LIMIT 20""",
        x="rule",
        width=16,
        height=9,
        colour=LEVEL_COLOURS["high"],
        overrides=(override("alerts", displayName="Alerts"),),
        no_value=_NOTHING_FIRED,
    )


def _firing_over_time() -> Panel:
    return time_series(
        "Firing over time, by rule",
        "Alerts by the time they were raised, for the 10 busiest rules of the time range.",
        f"""
SELECT
  time,
  rule,
  alerts
FROM
(
  SELECT $__timeInterval(raised_at) AS time, CAST(rule_id, 'String') AS rule_id, count() AS alerts
  {_RAISED}
    AND rule_id IN (SELECT rule_id {_RAISED} GROUP BY rule_id ORDER BY count() DESC LIMIT 10)
  GROUP BY time, rule_id
) AS fired
INNER JOIN {_TITLES} AS titles USING (rule_id)
ORDER BY time, rule""",
        width=24,
        height=8,
        unit="none",
        label="rule",
        bars=True,
        interval="1m",
        no_value=_NOTHING_FIRED,
    )


def _rules() -> Panel:
    share = steps("transparent", (0.2, LEVEL_COLOURS["medium"]), (0.5, LEVEL_COLOURS["critical"]))
    return table(
        "Rules",
        "What came of each rule's alerts that were raised in the time range. Withdrawn: later events took the alert "
        "back. False positives are a share of the closed; a rule above a half wants work.",
        f"""
SELECT
  rule,
  raised,
  still_open,
  taken_back,
  true_positive,
  benign,
  false_positive,
  duplicate,
  exercise,
  false_positive / nullIf(true_positive + benign + false_positive + duplicate + exercise, 0) AS false_share,
  take_median,
  close_median
FROM
(
  SELECT
    rule_id,
    count() AS raised,
    countIf(state != 'closed' AND NOT withdrawn) AS still_open,
    countIf(withdrawn) AS taken_back,
    {counts_by("verdict", _VERDICTS)},
    quantile(0.5)(to_take) AS take_median,
    quantile(0.5)(to_close) AS close_median
  FROM {_RESPONSES}
  GROUP BY rule_id
) AS counted
INNER JOIN {_TITLES} AS titles USING (rule_id)
ORDER BY raised DESC, rule""",
        (
            Column("rule", "Rule"),
            Column("raised", "Raised", width=80),
            Column("still_open", "Open", width=70),
            Column("taken_back", "Withdrawn", width=90),
            Column("true_positive", "True positive", width=110),
            Column("benign", "Benign", width=80),
            Column("false_positive", "False positive", width=110),
            Column("duplicate", "Duplicate", width=90),
            Column("exercise", "Exercise", width=80),
            Column("false_share", "False share", width=100, unit="percentunit", thresholds=share),
            Column("take_median", "To acknowledge", width=130, unit="s"),
            Column("close_median", "To close", width=110, unit="s"),
        ),
        width=24,
        height=11,
        no_value=_NOTHING_FIRED,
    )


def _times() -> Panel:
    return time_series(
        "Time to acknowledge and to close",
        "Median and 90th percentile of the seconds from raising to the first taking, and median to closing, by when "
        "the alert was raised. The newest buckets hold only alerts that were quick.",
        f"""
SELECT
  $__timeInterval(raised_at) AS time,
  quantile(0.5)(to_take) AS acknowledge_median,
  quantile(0.9)(to_take) AS acknowledge_p90,
  quantile(0.5)(to_close) AS close_median
FROM {_RESPONSES}
WHERE isNotNull(to_take)
GROUP BY time
ORDER BY time""",
        width=12,
        height=8,
        unit="s",
        interval="1m",
        overrides=(
            override("acknowledge_median", displayName="Acknowledge, median"),
            override("acknowledge_p90", displayName="Acknowledge, p90"),
            override("close_median", displayName="Close, median"),
        ),
        no_value="Nobody took an alert of this time range. Exercises count when they are chosen above.",
    )


def _escalations() -> Panel:
    return time_series(
        "Escalations, by person",
        "Messages that were sent because nobody had taken the alert in time, by who was told next. Notifications do "
        "not say whose alert they are about: the selectors do not apply.",
        """
SELECT
  $__timeInterval(at) AS time,
  CAST(person, 'String') AS person,
  uniqExact(notification_id) AS messages
FROM notifications
WHERE $__timeFilter(at)
  AND kind = 'escalation'
GROUP BY time, person
ORDER BY time, person""",
        width=12,
        height=8,
        unit="none",
        label="person",
        bars=True,
        interval="1m",
        no_value="Nothing was escalated in this time range",
        empty_in_demo="nothing of an exercise is escalated within half an hour",
    )


def _deliveries() -> Panel:
    return time_series(
        "Attempts to deliver, by outcome",
        "Every attempt of every notification: sent, tried again, held back by the channel's rate limit, or given up. "
        "The selectors do not apply.",
        f"""
SELECT
  $__timeInterval(at) AS time,
  {counts_by("outcome", _OUTCOMES)}
FROM notifications FINAL
WHERE $__timeFilter(at)
GROUP BY time
ORDER BY time""",
        width=12,
        height=8,
        unit="none",
        bars=True,
        interval="1m",
        overrides=series_colours(OUTCOME_COLOURS),
        no_value="Nobody was told of anything in this time range",
    )


def _channels() -> Panel:
    return table(
        "Delivery, by channel",
        "Messages and attempts of each kind of channel; delivered is the share of messages that got through at last. "
        "The selectors do not apply.",
        f"""
SELECT
  channel,
  uniqExact(notification_id) AS messages,
  count() AS attempts,
  {counts_by("outcome", _OUTCOMES)},
  uniqExactIf(notification_id, outcome = 'sent') / uniqExact(notification_id) AS delivered,
  quantile(0.95)(took_ms) AS took_p95
FROM
(
  SELECT CAST(channel, 'String') AS channel, notification_id, outcome, took_ms
  FROM notifications FINAL
  WHERE $__timeFilter(at)
)
GROUP BY channel
ORDER BY messages DESC""",
        (
            Column("channel", "Channel"),
            Column("messages", "Messages"),
            Column("attempts", "Attempts"),
            Column("sent", "Sent"),
            Column("retry", "Tried again"),
            Column("rate_limited", "Rate limited"),
            Column("failed", "Given up"),
            Column(
                "delivered",
                "Delivered",
                unit="percentunit",
                thresholds=steps(LEVEL_COLOURS["critical"], (0.95, LEVEL_COLOURS["medium"]), (0.99, FINE_COLOUR)),
            ),
            Column("took_p95", "Took, p95", unit="ms"),
        ),
        width=12,
        height=8,
        no_value="Nobody was told of anything in this time range",
    )
