-- Rollup by minute of storage. uniq() counts an event once however often it is written again,
-- exactly up to 65,536 distinct events a cell and within about 1 % beyond.
CREATE TABLE IF NOT EXISTS feed_minutes
(
    minute       DateTime('UTC'),
    partner      LowCardinality(String),
    family       LowCardinality(String),
    exercise     Bool,
    events       AggregateFunction(uniq, String),
    late         AggregateFunction(uniqIf, String, Bool),
    latency_ms   AggregateFunction(quantilesTDigest(0.5, 0.95, 0.99), Float64),
    last_event   SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (partner, family, exercise, minute)
TTL minute + toIntervalDay(400);

CREATE MATERIALIZED VIEW IF NOT EXISTS feed_minutes_events TO feed_minutes AS
SELECT
    toStartOfMinute(ingested_at) AS minute,
    partner,
    family,
    exercise,
    uniqState(event_id) AS events,
    uniqIfState(event_id, late) AS late,
    quantilesTDigestState(0.5, 0.95, 0.99)(toFloat64(dateDiff('millisecond', published_at, ingested_at))) AS latency_ms,
    max(occurred_at) AS last_event
FROM events
GROUP BY minute, partner, family, exercise;

CREATE TABLE IF NOT EXISTS quarantine_minutes
(
    minute  DateTime('UTC'),
    partner LowCardinality(String),
    family  LowCardinality(String),
    reason  LowCardinality(String),
    records AggregateFunction(uniq, String, UInt32, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (partner, family, reason, minute)
TTL minute + toIntervalDay(400);

CREATE MATERIALIZED VIEW IF NOT EXISTS quarantine_minutes_records TO quarantine_minutes AS
SELECT
    toStartOfMinute(quarantined_at) AS minute,
    partner,
    family,
    reason,
    uniqState(toString(topic), partition, offset) AS records
FROM quarantine
GROUP BY minute, partner, family, reason;
