"""The evidence of one alert: over time, on the map, as entities that link partners, and event by event."""

from __future__ import annotations

from typing import Final

from dashboards.grafana.common import TIME_UNIT, Column, node_graph, override, steps, table, time_series
from dashboards.grafana.maps import geo_map
from dashboards.grafana.model import Panel
from dashboards.palette import LEVEL_COLOURS, TLP_COLOURS, TLP_LABELS

_NEWEST: Final = "(SELECT argMax(alert_id, (length(partners) > 1, created_at)) FROM alerts WHERE kind != 'platform')"
ALERT_ID: Final = f"if(${{alert:singlequote}} = '', {_NEWEST}, ${{alert:singlequote}})"
IS_IT: Final = f"alert_id = {ALERT_ID}"
"""SQL: whether a row is of the alert that is shown. The id stays bare, so that the primary key finds it."""

# The record is the whole alert as JSON (schemas/alerts.py): entities are in no column.
_EVIDENCE_TYPE: Final = "Array(Tuple(partner String, entities Array(Tuple(type String, value String))))"
_ENTITIES: Final = f"""
  SELECT
    partner,
    entity.1 AS type,
    entity.2 AS value
  FROM
  (
    SELECT JSONExtract(record, 'evidence', '{_EVIDENCE_TYPE}') AS evidence
    FROM alerts FINAL
    WHERE {IS_IT}
  )
  ARRAY JOIN
    evidence.1 AS partner,
    evidence.2 AS entities
  ARRAY JOIN entities AS entity"""

# As text: a number would show with two decimals.
_EVENTS: Final = "concat(toString(count()), if(count() = 1, ' event', ' events'))"
_PARTNER_COLOUR: Final = LEVEL_COLOURS["low"]
_LINKING_COLOUR: Final = LEVEL_COLOURS["high"]
_ENTITY_COLOUR: Final = LEVEL_COLOURS["informational"]


def panels() -> tuple[Panel, ...]:
    """All of them in reading order."""
    return (_timeline(), _map(), _graph(), _evidence())


def _timeline() -> Panel:
    return time_series(
        "Evidence over time, by partner",
        "Events of the alert by when they happened; the table below has them whatever the time range above.",
        f"""
SELECT
  $__timeInterval(occurred_at) AS time,
  CAST(partner, 'String') AS partner,
  uniqExact(event_id) AS events
FROM alert_evidence
WHERE {IS_IT}
  AND $__timeFilter(occurred_at)
GROUP BY time, partner
ORDER BY time, partner""",
        width=12,
        height=8,
        unit="none",
        label="partner",
        bars=True,
        interval="1m",
        no_value="No event of this alert lies in the time range above",
    )


def _map() -> Panel:
    return geo_map(
        "Where the evidence lies",
        "Events with a known place, from the first (dark) to the last (bright). "
        "Outlines come from Grafana's own files, no map server is asked.",
        f"""
SELECT
  assumeNotNull(alert_evidence.lat) AS lat,
  assumeNotNull(alert_evidence.lon) AS lon,
  toInt64(row_number() OVER (ORDER BY occurred_at, event_id)) AS number,
  occurred_at,
  CAST(partner, 'String') AS partner,
  place,
  summary
FROM alert_evidence FINAL
WHERE {IS_IT}
  AND isNotNull(alert_evidence.lat)
  AND isNotNull(alert_evidence.lon)
ORDER BY occurred_at
LIMIT 500""",
        colour_by="number",
        colour_mode="continuous-BlYlRd",
        thresholds=steps(LEVEL_COLOURS["informational"]),
        width=12,
        height=8,
        overrides=(
            override("number", displayName="Event"),
            override("occurred_at", displayName="Happened (UTC)", unit=TIME_UNIT),
            override("partner", displayName="Partner"),
            override("place", displayName="Place"),
            override("summary", displayName="Summary"),
        ),
    )


def _graph() -> Panel:
    return node_graph(
        "Who and what links the partners",
        "Partners (blue) and the entities that their events name. An entity that two or more partners name is orange; "
        "the number on a line counts the events. The 60 entities that link most are shown.",
        f"""
SELECT
  id,
  title,
  subtitle,
  mainstat,
  color
FROM
(
  SELECT
    concat('partner/', partner) AS id,
    CAST(partner, 'String') AS title,
    'partner' AS subtitle,
    {_EVENTS} AS mainstat,
    '{_PARTNER_COLOUR}' AS color
  FROM ({_ENTITIES})
  GROUP BY partner
  UNION ALL
  SELECT * FROM
  (
    SELECT
      concat(type, '/', value) AS id,
      value AS title,
      type AS subtitle,
      concat(toString(uniqExact(partner)), if(uniqExact(partner) = 1, ' partner', ' partners')) AS mainstat,
      if(uniqExact(partner) > 1, '{_LINKING_COLOUR}', '{_ENTITY_COLOUR}') AS color
    FROM ({_ENTITIES})
    GROUP BY type, value
    ORDER BY uniqExact(partner) DESC, id
    LIMIT 60
  )
)""",
        f"""
SELECT
  concat(partner, '>', type, '/', value) AS id,
  concat('partner/', partner) AS source,
  concat(type, '/', value) AS target,
  {_EVENTS} AS mainstat
FROM ({_ENTITIES})
WHERE (type, value) IN
(
  SELECT type, value FROM ({_ENTITIES})
  GROUP BY type, value
  ORDER BY uniqExact(partner) DESC, concat(type, '/', value)
  LIMIT 60
)
GROUP BY partner, type, value
ORDER BY id""",
        width=24,
        height=12,
        no_value="The evidence names no entity",
    )


def _evidence() -> Panel:
    return table(
        "Evidence",
        "Every event of the alert by when it happened, 500 at most; matched are the values that met the rule.",
        f"""
SELECT
  occurred_at,
  CAST(partner, 'String') AS partner,
  CAST(family, 'String') AS family,
  summary,
  concat(place, if(country != '', concat(' (', country, ')'), '')) AS at_place,
  matched,
  CAST(rule_title, 'String') AS rule,
  CAST(tlp, 'String') AS tlp,
  dateDiff('millisecond', published_at, ingested_at) AS delay,
  event_id
FROM alert_evidence FINAL
WHERE {IS_IT}
ORDER BY occurred_at, event_id
LIMIT 500""",
        (
            Column("occurred_at", "Happened (UTC)", width=170, unit=TIME_UNIT),
            Column("partner", "Partner", width=120),
            Column("family", "Family", width=160),
            Column("summary", "Summary"),
            Column("at_place", "Place", width=180),
            Column("matched", "Matched", width=240),
            Column("rule", "Met", width=220),
            Column("tlp", "TLP", width=130, colours=TLP_COLOURS, texts=TLP_LABELS),
            Column("delay", "Published to ingest", width=140, unit="ms"),
            Column("event_id", "Event", width=120),
        ),
        width=24,
        height=9,
        no_value="This alert has no evidence: the platform raised it about itself or about a feed",
    )
