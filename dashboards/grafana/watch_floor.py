"""Watch floor: what is on fire, what is open and how old, where it is, and who has it."""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import (
    TIME_UNIT,
    Column,
    alert_links,
    bar_chart,
    counts_by,
    level_number,
    override,
    row,
    series_colours,
    stat,
    steps,
    table,
    time_series,
)
from dashboards.grafana.maps import geo_map, level_thresholds
from dashboards.grafana.model import Dashboard, Panel
from dashboards.grafana.variables import ALERT_FILTERS, ALERT_VARIABLES, STATE_FILTERS, region_name
from dashboards.palette import (
    FINE_COLOUR,
    KIND_COLOURS,
    LEVEL_COLOURS,
    PRIORITY_COLOURS,
    STATE_COLOURS,
    TLP_COLOURS,
    TLP_LABELS,
)
from processors.watchdog import WATCHDOG
from schemas.lifecycle import PRIORITIES

# States first and alerts by their ids: few alerts are open, and those that are closed are not read.
_STATES: Final = f"""FROM alert_states FINAL
  WHERE state != 'closed'
    AND NOT withdrawn
    AND {STATE_FILTERS}"""
# CAST, because plugin 3.x cannot read LowCardinality columns.
_OPEN: Final = f"""
FROM
(
  SELECT
    alert_id,
    CAST(state, 'String') AS state,
    CAST(priority, 'String') AS priority,
    CAST(if(assignee != '', assignee, acknowledged_by), 'String') AS person,
    raised_at,
    dateDiff('second', raised_at, now64(3, 'UTC')) AS age,
    silenced OR inhibited_by != '' OR merged_into != '' AS held
  {_STATES}
) AS states
INNER JOIN
(
  SELECT
    alert_id,
    CAST(level, 'String') AS level,
    if(exercise, 'EXERCISE', 'live') AS kind,
    story,
    CAST(rule_title, 'String') AS rule,
    CAST(tlp, 'String') AS tlp,
    arrayStringConcat(partners, ', ') AS partners_text,
    countries,
    families,
    evidence_total AS evidence,
    last_event_at,
    lat,
    lon
  FROM alerts FINAL
  WHERE alert_id IN (SELECT alert_id {_STATES})
    AND {ALERT_FILTERS}
) AS alerts USING (alert_id)"""
_ON_FIRE: Final = "state = 'open' AND NOT held AND (priority = 'P1' OR level = 'critical')"
_RAISED: Final = f"""
  FROM alerts FINAL
  WHERE $__timeFilter(created_at)
    AND status != 'superseded'
    AND rule_id != '{WATCHDOG}'
    AND {ALERT_FILTERS}"""

_AGES: Final = (("under 5 min", 300), ("5 to 15 min", 900), ("15 to 60 min", 3_600), ("1 to 4 h", 14_400))
_OLDEST: Final = "over 4 h"
_NOTHING: Final = "Nothing is open. Exercises show when they are chosen above."
_AGE_LIMITS: Final = steps("transparent", (900, LEVEL_COLOURS["medium"]), (3_600, LEVEL_COLOURS["critical"]))


def dashboard() -> Dashboard:
    """The dashboard."""
    return Dashboard(
        uid="tocsin-watch-floor",
        title="Watch floor",
        description="What is on fire, what is open and how old, where it is, and who has it. "
        "Exercises are left out unless chosen.",
        variables=ALERT_VARIABLES,
        panels=(
            _now(),
            _priorities(),
            _by_age(),
            _on_fire(),
            _map(),
            _owners(),
            _new(),
            row("Time line"),
            _by_family(),
            _by_region(),
            row("Everything open"),
            _all(),
        ),
    )


def _now() -> Panel:
    burning = LEVEL_COLOURS["critical"]
    return stat(
        "Now",
        "On fire: P1 or critical, and nobody has taken it. Not taken: open, of any priority. New: raised within five "
        "minutes. Held back: silenced, inhibited or merged; left out of the counts before.",
        f"""
SELECT
  countIf({_ON_FIRE}) AS on_fire,
  countIf(state = 'open' AND NOT held) AS not_taken,
  countIf(age < 300 AND NOT held) AS new,
  countIf(held) AS held_back{_OPEN}""",
        width=7,
        height=8,
        orientation="horizontal",
        overrides=(
            override(
                "on_fire",
                displayName="On fire",
                thresholds=steps(FINE_COLOUR, (1, burning)),
                color={"mode": "thresholds"},
            ),
            override(
                "not_taken",
                displayName="Not taken",
                thresholds=steps(FINE_COLOUR, (1, LEVEL_COLOURS["high"])),
                color={"mode": "thresholds"},
            ),
            override("new", displayName="New in 5 min", color={"mode": "fixed", "fixedColor": LEVEL_COLOURS["low"]}),
            override(
                "held_back",
                displayName="Held back",
                color={"mode": "fixed", "fixedColor": LEVEL_COLOURS["informational"]},
            ),
        ),
    )


def _priorities() -> Panel:
    return stat(
        "Open by priority",
        "Alerts that are not closed, whatever the time range above; P1 is worked on first. Exercises are always P4.",
        f"SELECT\n  {counts_by('priority', PRIORITIES)}{_OPEN}\nWHERE NOT held",
        width=5,
        height=8,
        overrides=tuple(
            override(name, thresholds=steps(FINE_COLOUR, (1, colour)), color={"mode": "thresholds"})
            for name, colour in PRIORITY_COLOURS.items()
        ),
    )


def _by_age() -> Panel:
    limits = ", ".join(f"age < {seconds}, '{name}'" for name, seconds in _AGES)
    order = ", ".join(f"'{name}'" for name in (*(name for name, _ in _AGES), _OLDEST))
    return bar_chart(
        "Open by priority and age",
        "How long ago the alerts that are open were raised, and of which priority they are.",
        f"""
SELECT
  multiIf({limits}, '{_OLDEST}') AS since,
  {counts_by("priority", PRIORITIES)}{_OPEN}
WHERE NOT held
GROUP BY since
ORDER BY indexOf([{order}], since)""",
        x="since",
        width=12,
        height=8,
        horizontal=False,
        stacked=True,
        overrides=series_colours(PRIORITY_COLOURS),
        no_value=_NOTHING,
    )


_PRIORITY: Final = Column("priority", "Priority", width=80, colours=PRIORITY_COLOURS)
_LEVEL: Final = Column("level", "Level", width=110, colours=LEVEL_COLOURS)
_AGE: Final = Column("age", "Age", width=90, unit="s", thresholds=_AGE_LIMITS)
_KIND: Final = Column("kind", "Kind", width=90, colours=KIND_COLOURS)
_STORY: Final = Column("story", "Story", links=alert_links())
_PARTNERS: Final = Column("partners_text", "Partners", width=180)
_ID: Final = Column("alert_id", "Alert", width=110, links=alert_links())


def _on_fire() -> Panel:
    return table(
        "On fire: nobody has taken these",
        "P1 or critical, open, not held back: oldest first, 50 at most. A click opens the alert.",
        f"""
SELECT priority, level, age, story, partners_text, kind, alert_id{_OPEN}
WHERE {_ON_FIRE}
ORDER BY priority, age DESC
LIMIT 50""",
        (_PRIORITY, _LEVEL, _AGE, _STORY, _PARTNERS, _KIND, _ID),
        width=24,
        height=7,
        no_value="Nothing is on fire. Exercises show when they are chosen above.",
    )


def _map() -> Panel:
    return geo_map(
        "Where open alerts are",
        "Open alerts with a known place, coloured by level; severity runs from 1 (informational) to 5 (critical). "
        "Outlines come from Grafana's own files, no map server is asked.",
        f"""
SELECT
  assumeNotNull(lat) AS lat,
  assumeNotNull(lon) AS lon,
  {level_number("level")} AS severity,
  story,
  priority,
  partners_text,
  kind,
  alert_id
FROM
(
  SELECT lat, lon, level, story, priority, partners_text, kind, alert_id{_OPEN}
  WHERE isNotNull(lat) AND isNotNull(lon)
)
ORDER BY severity
LIMIT 1000""",
        colour_by="severity",
        thresholds=level_thresholds(),
        width=12,
        height=11,
        overrides=(
            override("story", displayName="Story", links=[*alert_links()]),
            override("priority", displayName="Priority"),
            override("partners_text", displayName="Partners"),
            override("kind", displayName="Kind"),
            override("severity", displayName="Severity"),
        ),
    )


def _owners() -> Panel:
    return table(
        "Who has it",
        "Open alerts by the person who took or acknowledged them, nobody first; oldest is the age of the oldest one.",
        f"""
SELECT
  if(person = '' OR state = 'open', 'nobody', person) AS who,
  {counts_by("priority", PRIORITIES)},
  max(age) AS oldest{_OPEN}
WHERE NOT held
GROUP BY who
ORDER BY who = 'nobody' DESC, P1 DESC, P2 DESC, count() DESC""",
        (
            Column("who", "Who"),
            *(Column(each, each, width=60) for each in PRIORITIES),
            Column("oldest", "Oldest", width=90, unit="s", thresholds=_AGE_LIMITS),
        ),
        width=12,
        height=5,
        no_value=_NOTHING,
    )


def _new() -> Panel:
    return table(
        "New in the last 15 minutes",
        "Alerts that were raised within 15 minutes, newest first, whoever has them; 50 at most.",
        f"""
SELECT age, priority, level, story, kind, alert_id{_OPEN}
WHERE age < 900
ORDER BY age
LIMIT 50""",
        (
            Column("age", "Age", width=70, unit="s"),
            _PRIORITY,
            _LEVEL,
            _STORY,
            _KIND,
            _ID,
        ),
        width=12,
        height=6,
        no_value="No new alert. Exercises show when they are chosen above.",
    )


def _by_family() -> Panel:
    return time_series(
        "Alerts raised, by family",
        "Alerts by the time they were raised; one with evidence of two families counts in both.",
        f"""
SELECT
  time,
  CAST(arrayJoin(families), 'String') AS family,
  count() AS alerts
FROM
(
  SELECT $__timeInterval(created_at) AS time, families{_RAISED}
)
GROUP BY time, family
ORDER BY time, family""",
        width=12,
        height=8,
        unit="none",
        label="family",
        bars=True,
        interval="1m",
    )


def _by_region() -> Panel:
    return time_series(
        "Alerts raised, by region",
        "Alerts by the time they were raised and the continents of their places; one on two continents counts in both.",
        f"""
SELECT
  time,
  {region_name("region")} AS continent,
  uniqExact(alert_id) AS alerts
FROM
(
  SELECT $__timeInterval(created_at) AS time, alert_id, CAST(arrayJoin(countries), 'String') AS country{_RAISED}
) AS raised
INNER JOIN country_regions USING (country)
GROUP BY time, continent
ORDER BY time, continent""",
        width=12,
        height=8,
        unit="none",
        label="continent",
        bars=True,
        interval="1m",
    )


def _all() -> Panel:
    return table(
        "Open alerts",
        "Every alert that is not closed, most urgent and oldest first, 500 at most; held back ones say so in their "
        "state. A click opens the alert.",
        f"""
SELECT
  priority,
  level,
  if(held, 'held back', state) AS shown_state,
  person,
  age,
  story,
  rule,
  partners_text,
  evidence,
  tlp,
  last_event_at,
  kind,
  alert_id{_OPEN}
ORDER BY held, priority, age DESC
LIMIT 500""",
        (
            _PRIORITY,
            _LEVEL,
            Column("shown_state", "State", width=110, colours=STATE_COLOURS),
            Column("person", "Who", width=100),
            _AGE,
            _STORY,
            Column("rule", "Rule", width=220),
            _PARTNERS,
            Column("evidence", "Events", width=70),
            Column("tlp", "TLP", width=130, colours=TLP_COLOURS, texts=TLP_LABELS),
            Column("last_event_at", "Last event (UTC)", width=170, unit=TIME_UNIT),
            _KIND,
            _ID,
        ),
        width=24,
        height=12,
        no_value=_NOTHING,
    )
