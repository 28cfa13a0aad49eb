-- Rollups for what a scan of the events would not answer at once. The three statements on feed_minutes cost an insert
-- of 100,000 events about a tenth more CPU; views by place or by entity would cost a third and more, so that those are
-- read from the events themselves, for which the last statement keeps the times of each granule.

-- Schema versions in use, region, and the way of an event in time: occurred, published, about to be stored.
ALTER TABLE feed_minutes
    ADD COLUMN IF NOT EXISTS schema_id UInt32 AFTER exercise,
    ADD COLUMN IF NOT EXISTS geo_continent LowCardinality(String) AFTER schema_id,
    ADD COLUMN IF NOT EXISTS delay_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float64),
    ADD COLUMN IF NOT EXISTS stored_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float64),
    MODIFY ORDER BY (partner, family, exercise, minute, schema_id, geo_continent);

ALTER TABLE feed_minutes_events MODIFY QUERY
SELECT
    toStartOfMinute(ingested_at) AS minute,
    partner,
    family,
    exercise,
    schema_id,
    geo_continent,
    uniqState(event_id) AS events,
    uniqIfState(event_id, late) AS late,
    quantilesTDigestState(0.5, 0.95, 0.99)(toFloat64(dateDiff('millisecond', published_at, ingested_at))) AS latency_ms,
    max(occurred_at) AS last_event,
    quantilesTDigestState(0.5, 0.95, 0.99)(toFloat64(dateDiff('millisecond', occurred_at, published_at))) AS delay_ms,
    quantilesTDigestState(0.5, 0.95, 0.99)(toFloat64(dateDiff('millisecond', published_at, now64(3)))) AS stored_ms
FROM events
GROUP BY minute, partner, family, exercise, schema_id, geo_continent;

-- The same by hour, time first, for weeks at a glance. It is fed by the minutes: a few rows for each insert.
CREATE TABLE IF NOT EXISTS feed_hours
(
    hour          DateTime('UTC'),
    partner       LowCardinality(String),
    family        LowCardinality(String),
    exercise      Bool,
    geo_continent LowCardinality(String),
    events        AggregateFunction(uniq, String)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYear(hour)
ORDER BY (hour, partner, family, exercise, geo_continent)
TTL hour + toIntervalDay(400);

CREATE MATERIALIZED VIEW IF NOT EXISTS feed_hours_minutes TO feed_hours AS
SELECT
    toStartOfHour(minute) AS hour,
    partner,
    family,
    exercise,
    geo_continent,
    uniqMergeState(events) AS events
FROM feed_minutes
GROUP BY hour, partner, family, exercise, geo_continent;

-- From the publication of an alert's last evidence until the alert is about to be stored.
CREATE TABLE IF NOT EXISTS alert_minutes
(
    minute    DateTime('UTC'),
    exercise  Bool,
    alerts    AggregateFunction(uniq, String, UInt64),
    stored_ms AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (exercise, minute)
TTL minute + toIntervalDay(400);

CREATE MATERIALIZED VIEW IF NOT EXISTS alert_minutes_alerts TO alert_minutes AS
SELECT
    toStartOfMinute(now()) AS minute,
    exercise,
    uniqState(alert_id, version) AS alerts,
    quantilesTDigestState(0.5, 0.95, 0.99)(toFloat64(dateDiff('millisecond', published_at, now64(3)))) AS stored_ms
FROM alerts
WHERE status = 'open'
GROUP BY minute, exercise;

-- Ids begin with the time of their making, so a granule holds events of about the same time.
ALTER TABLE events
    ADD INDEX IF NOT EXISTS by_occurrence occurred_at TYPE minmax GRANULARITY 1,
    ADD INDEX IF NOT EXISTS by_storage ingested_at TYPE minmax GRANULARITY 1;
