"""A store as it would be after weeks at work, made by the engine itself in seconds instead of published.

What matters to the dashboards is as in life: events in order of time with a rhythm of day and night, ids that begin
with their time, each partner's families and sixty places, few frequent entities and many rare ones, two schema versions
in some feeds. Texts, bytes and what no dashboard reads are as short or long as the demo's. Deterministic but for the
time at which it ends, now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.partners import Partners

ALERTS_SHARE: Final = 100
"""One alert for so many events."""
BLOCK: Final = 1_000_000
MAX_SAMPLES: Final = 18_000
"""Of each metric: a day and an hour."""
_SERIES: Final = 120
_WORKERS: Final = "['ingest-0', 'ingest-1', 'correlate-0', 'lifecycle-0']"


def statements(events: int, partners: Partners, end: datetime, days: int) -> Iterator[str]:
    """INSERT statements that fill empty tables with so many events of the ``days`` before ``end`` (aware, UTC), and all
    that goes with them. The last of them makes ``alert_minutes``, whose times would else be those of the inserts."""
    span = Span(end, days)
    for first in range(0, events, BLOCK):
        yield _events(first, min(BLOCK, events - first), events, partners, span)
    yield _quarantine(max(events // 1000, 1), partners, span)
    alerts = max(events // ALERTS_SHARE, 1)
    yield _alerts(alerts, partners, span)
    yield _EVIDENCE
    yield _STATES
    yield _ACTIONS
    yield _NOTIFICATIONS
    yield _metrics(max(60, min(MAX_SAMPLES, events // 500)), span)
    yield "TRUNCATE TABLE alert_minutes"
    yield _ALERT_MINUTES


def _texts(values: Iterator[str]) -> str:
    return "[" + ", ".join("'" + value.replace("'", r"\'") + "'" for value in values) + "]"


def _feeds(partners: Partners) -> str:
    pairs = [
        f"('{partner.id}', '{family}', '{partner.country}')" for partner in partners for family in partner.families
    ]
    return "[" + ", ".join(pairs) + "]"


@dataclass(frozen=True, slots=True)
class Span:
    """The days before ``end`` (aware, UTC)."""

    end: datetime
    days: int

    @property
    def end_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self.end.timestamp() * 1000)

    def moment(self, share: str) -> str:
        """SQL: milliseconds since 1970 at a share (0 to 1) of the time, shifted so that nights are quieter than days,
        four to one, and the end stays the end."""
        length = self.days * 86_400_000
        wave = "toInt64(0.6 * 86400000 / (2 * pi()) * sin(2 * pi() * (toInt64({0} * ({1})) % 86400000) / 86400000))"
        return f"({self.end_ms - length} + toInt64({length} * ({share})) + {wave.format(length, share)})"


def _events(first: int, count: int, total: int, partners: Partners, span: Span) -> str:
    return f"""
INSERT INTO events (event_id, partner, family, occurred_at, occurred_precision, published_at, ingested_at,
  source_system, tlp, releasable_to, purpose, legal_basis, retain_days, exercise, late, confidence, lat, lon,
  precision_m, place, country, geo_country, geo_place, geo_continent, entities.type, entities.value, entities.role,
  summary, payload, schema_id, topic, partition, offset)
WITH
  {_feeds(partners)} AS feeds,
  {span.moment(f"number / {total}")} AS at_ms,
  feeds[1 + cityHash64(number, 1) % length(feeds)] AS feed,
  cityHash64(feed.1, cityHash64(number, 2) % 60) % 100000 AS town,
  town % 10 != 0 AS placed,
  (cityHash64(number, 3) % 1000000) / 1e6 AS chance,
  toUInt64(pow(chance, 3) * 2000000) AS person,
  lower(hex(toUInt64(at_ms))) AS time_digits,
  lower(hex(cityHash64(number, 4))) AS digits
SELECT
  concat(substring(time_digits, 5, 8), '-', substring(time_digits, 13, 4), '-7', substring(digits, 1, 3), '-8',
    substring(digits, 4, 3), '-', substring(digits, 5, 12)),
  feed.1,
  feed.2,
  fromUnixTimestamp64Milli(at_ms),
  'SECOND',
  fromUnixTimestamp64Milli(at_ms + 500 - toInt64(log(chance + 0.000001) * 20000)) AS published,
  published + toIntervalMillisecond(50 + cityHash64(number, 5) % 800),
  'system-1',
  ['AMBER', 'GREEN', 'CLEAR'][1 + number % 3],
  ['law-enforcement', 'schengen'],
  'prevention',
  'Directive (EU) 2016/681',
  1825,
  cityHash64(number, 6) % 10 = 0,
  cityHash64(number, 7) % 200 = 0,
  80,
  if(placed, 35 + cityHash64(town, 1) % 2500 / 100 + cityHash64(number, 8) % 1000 / 10000, NULL),
  if(placed, -10 + cityHash64(town, 2) % 4000 / 100 + cityHash64(number, 9) % 1000 / 10000, NULL),
  100,
  concat('Post ', toString(town)),
  feed.3,
  feed.3,
  if(placed, concat('Town ', toString(town)), ''),
  if(feed.3 IN ('KE', 'UG', 'TZ', 'RW', 'ET'), 'AF', 'EU'),
  ['person', 'document'],
  [concat('PERSON ', toString(person), ' 1988-02-01'), concat('D', toString(person * 7919))],
  ['holder', 'shown'],
  concat('Document shown at post ', toString(town)),
  concat('{{"document_number":"D', toString(person * 7919), '","direction":"ENTRY","amount_minor":', toString(number),
    '}}'),
  10 + cityHash64(feed.1, feed.2) % 20 + (number % 50 = 0),
  concat('events.', feed.2, '.v1'),
  number % 4,
  intDiv(number, 4)
FROM numbers({first}, {count})"""


def _quarantine(count: int, partners: Partners, span: Span) -> str:
    return f"""
INSERT INTO quarantine (quarantined_at, partner, family, reason, field, message, topic, partition, offset, kafka_at,
  size, raw)
WITH
  {_feeds(partners)} AS feeds,
  feeds[1 + cityHash64(number, 1) % length(feeds)] AS feed,
  fromUnixTimestamp64Milli({span.moment(f"number / {count}")}) AS at
SELECT
  at,
  feed.1,
  feed.2,
  ['header_invalid', 'undecodable', 'future', 'too_old'][1 + cityHash64(number, 2) % 4],
  'occurred_at',
  'occurred_at lies ahead',
  concat('events.', feed.2, '.v1'),
  number % 4,
  number,
  at,
  200,
  repeat('x', 200)
FROM numbers({count})"""


def _alerts(count: int, partners: Partners, span: Span) -> str:
    ids = _texts(partner.id for partner in partners)
    countries = _texts(partner.country for partner in partners)
    families = _texts(iter(sorted({family for partner in partners for family in partner.families})))
    return f"""
INSERT INTO alerts (alert_id, version, status, rule_id, rule_title, rule_version, kind, level, exercise, tlp,
  confidence, group, story, tags, partners, families, countries, places, lat, lon, first_event_at, last_event_at,
  published_at, created_at, updated_at, evidence_total, record)
WITH
  {ids} AS ids,
  {countries} AS countries_of,
  {families} AS families_of,
  fromUnixTimestamp64Milli({span.moment(f"number / {count}")}) AS at,
  cityHash64(number, 1) AS one,
  cityHash64(number, 2) AS two,
  one % 40 AS rule
SELECT
  concat('alert-', toString(number)),
  1 + one % 3,
  if(two % 20 = 0, 'superseded', 'open'),
  concat('rule-', toString(rule)),
  concat('Situation of kind ', toString(rule)),
  'v1',
  'correlation',
  ['informational', 'low', 'medium', 'high', 'critical'][1 + rule % 5],
  one % 10 = 0,
  'AMBER',
  80,
  map('entity.document', concat('D', toString(two % 100000))),
  concat('Document D', toString(two % 100000), ' was shown in two countries within 14 minutes.'),
  ['attack.t1036'],
  arrayDistinct([ids[1 + one % length(ids)], ids[1 + two % length(ids)]]),
  arrayDistinct([families_of[1 + one % length(families_of)], families_of[1 + two % length(families_of)]]),
  arrayDistinct([countries_of[1 + one % length(ids)], countries_of[1 + two % length(ids)]]),
  ['Frankfurt (Oder)', 'Wien Hauptbahnhof'],
  if(two % 10 = 0, NULL, 35 + one % 2500 / 100),
  if(two % 10 = 0, NULL, -10 + two % 4000 / 100),
  at - INTERVAL 14 MINUTE,
  at - INTERVAL 2 SECOND,
  at - INTERVAL 1 SECOND,
  at,
  at + toIntervalSecond(two % 600),
  2 + one % 5,
  concat('{{"rule":{{"description":"", "condition":"", "response":""}},"evidence":[', arrayStringConcat(arrayMap(each ->
    concat('{{"event_id":"', toString(each), '","partner":"', ids[1 + (one + each) % length(ids)],
      '","entities":[{{"type":"document","value":"D', toString(two % 100000), '","role":"holder"}}],"summary":"',
      repeat('x', 600), '"}}'), range(2 + one % 5)), ','), ']}}')
FROM numbers({count})"""


_EVIDENCE: Final = """
INSERT INTO alert_evidence (alert_id, event_id, rule_id, rule_title, partner, family, occurred_at, published_at,
  ingested_at, tlp, country, place, lat, lon, summary, matched, topic, partition, offset)
SELECT
  alert_id,
  concat(alert_id, '-', toString(number)),
  concat('base-', rule_id),
  'A document is shown',
  partners[1 + number % length(partners)],
  families[1 + number % length(families)],
  first_event_at + toIntervalMinute(number * 4),
  first_event_at + toIntervalMinute(number * 4) + INTERVAL 1 SECOND,
  first_event_at + toIntervalMinute(number * 4) + INTERVAL 2 SECOND,
  'AMBER',
  countries[1 + number % length(countries)],
  places[1 + number % 2],
  lat,
  lon,
  'Document shown',
  '{"document_number":"D1"}',
  'events.border_crossing.v1',
  0,
  number
FROM alerts
ARRAY JOIN range(least(evidence_total, 3)) AS number"""

_STATES: Final = """
INSERT INTO alert_states (alert_id, revision, state, priority, priority_reasons, acknowledged_by, assignee, verdict,
  closed_at, group_key, rule_id, level, exercise, raised_at, updated_at, record)
WITH cityHash64(alert_id, 3) AS chance, created_at < now() - INTERVAL 2 HOUR AS old
SELECT
  alert_id,
  3,
  multiIf(old AND chance % 100 < 95, 'closed', chance % 3 = 0, 'acknowledged', chance % 3 = 1, 'in_progress', 'open')
    AS state,
  ['P1', 'P2', 'P3', 'P4'][1 + chance % 4],
  ['level high'],
  if(state = 'open', '', 'mira'),
  if(state = 'open', '', ['mira', 'jonas', 'amina'][1 + chance % 3]),
  if(state = 'closed', ['true_positive', 'benign', 'false_positive', 'duplicate'][1 + chance % 4], ''),
  if(state = 'closed', created_at + toIntervalMinute(chance % 300), NULL),
  concat('group-', toString(chance % 5000)),
  rule_id,
  level,
  exercise,
  created_at,
  updated_at,
  repeat('x', 1500)
FROM alerts"""

_ACTIONS: Final = """
INSERT INTO alert_actions (at, action_id, command_id, alert_id, verb, by, via, accepted, reason, before, after,
  revision, text, details)
WITH cityHash64(alert_id, 4) AS chance
SELECT
  raised_at + toIntervalSecond(20 + chance % 600 * number),
  concat(alert_id, '-', toString(number)),
  concat('command-', alert_id, '-', toString(number)),
  alert_id,
  ['raised', 'acknowledge', 'assign', 'close'][number + 1],
  ['', 'mira', 'mira', 'jonas'][number + 1],
  if(number = 0, 'stream', 'desk'),
  true,
  '',
  if(number = 0, '', 'open'),
  state,
  number,
  '',
  '{}'
FROM alert_states
ARRAY JOIN range(if(state = 'closed', 4, 2)) AS number"""

_ALERT_MINUTES: Final = """
INSERT INTO alert_minutes
SELECT
  toStartOfMinute(updated_at) AS minute,
  exercise,
  uniqState(alert_id, version),
  quantilesTDigestState(0.5, 0.95, 0.99)(toFloat64(200 + cityHash64(alert_id) % 700))
FROM alerts
WHERE status = 'open'
GROUP BY minute, exercise"""

_NOTIFICATIONS: Final = """
INSERT INTO notifications (at, delivery_id, notification_id, attempt, kind, person, channel, address, outcome, error,
  took_ms, group_key, alert_ids)
WITH cityHash64(alert_id, 5) AS chance
SELECT
  raised_at + INTERVAL 2 SECOND,
  concat('delivery-', alert_id),
  concat('notification-', alert_id),
  1,
  if(chance % 10 = 0, 'escalation', 'first'),
  ['mira', 'jonas', 'amina'][1 + chance % 3],
  ['mail', 'webhook'][1 + chance % 2],
  'watch@example.org',
  if(chance % 50 = 0, 'failed', 'sent'),
  if(chance % 50 = 0, 'timeout', ''),
  chance % 900,
  group_key,
  [alert_id]
FROM alert_states
WHERE level IN ('high', 'critical')"""


def _metrics(samples: int, span: Span) -> str:
    """Samples of four workers, every five seconds: as many series as an ingest worker has."""
    row = 4 * _SERIES
    return f"""
INSERT INTO pipeline_metrics (sampled_at, worker, metric, labels, value)
WITH
  {_WORKERS} AS workers,
  fromUnixTimestamp64Milli({span.end_ms} - ({samples - 1} - intDiv(number, {row})) * 5000) AS at,
  number % 4 AS who,
  intDiv(number, 4) % {_SERIES} AS series,
  ['tocsin_batch_records', 'tocsin_checkpoint_seconds', 'tocsin_ingest_latency_seconds'] AS plain,
  ['events', 'signals', 'quarantine', 'alerts', 'alert_evidence', 'pipeline_metrics'] AS tables
SELECT
  at,
  workers[who + 1],
  multiIf(
    series < 44, 'tocsin_consumer_lag',
    series < 50, concat(plain[1 + intDiv(series - 44, 2)], if(series % 2 = 0, '_sum', '_count')),
    series < 62, concat('tocsin_insert_seconds', if(series % 2 = 0, '_sum', '_count')),
    series < 66, concat('tocsin_stage_seconds', if(series % 2 = 0, '_sum', '_count')),
    series = 66, 'process_resident_memory_bytes',
    series = 67, 'process_start_time_seconds',
    series = 68, 'tocsin_correlation_groups',
    series = 69, 'tocsin_store_retries_total',
    series = 70, 'tocsin_notifications_pending',
    series = 71, 'tocsin_lifecycle_rows_waiting',
    series < 76, 'tocsin_lifecycle_alerts',
    'tocsin_records_total') AS metric,
  multiIf(
    series < 44, map('topic', concat('events.', toString(intDiv(series, 4)), '.v1'), 'partition', toString(series % 4)),
    series BETWEEN 50 AND 61, map('table', tables[1 + intDiv(series - 50, 2)]),
    series BETWEEN 62 AND 65, map('stage', ['process', 'correlate'][1 + intDiv(series - 62, 2)]),
    series BETWEEN 72 AND 75, map('state', 'new', 'priority', concat('P', toString(series - 71))),
    series > 75, map('family', toString(series), 'outcome', 'accepted'),
    map()),
  multiIf(
    series < 44, toFloat64(cityHash64(number) % 500),
    series = 67, {span.end_ms // 1000} - 3600. * (who + 1),
    endsWith(metric, '_sum'), intDiv(number, {row}) * 0.2,
    endsWith(metric, '_count') OR endsWith(metric, '_total'), toFloat64(intDiv(number, {row})),
    toFloat64(cityHash64(number) % 100000000))
FROM numbers({samples * row})"""
