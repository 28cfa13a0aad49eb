-- Events of every family, one row per (partner, event_id) after FINAL.
-- Replay and duplicates write the same key again; the lowest offset wins, so the result does not depend on batch borders.
CREATE TABLE IF NOT EXISTS events
(
    event_id           String,
    partner            LowCardinality(String),
    family             LowCardinality(String),
    occurred_at        DateTime64(3, 'UTC'),
    occurred_precision LowCardinality(String),
    published_at       DateTime64(3, 'UTC'),
    ingested_at        DateTime64(3, 'UTC'),
    source_system      LowCardinality(String),
    tlp                LowCardinality(String),
    releasable_to      Array(LowCardinality(String)),
    purpose            LowCardinality(String),
    legal_basis        LowCardinality(String),
    retain_days        UInt32,
    exercise           Bool,
    late               Bool,
    confidence         UInt8,
    lat                Nullable(Float64),
    lon                Nullable(Float64),
    precision_m        Nullable(UInt32),
    place              LowCardinality(String),
    country            LowCardinality(String),
    geo_country        LowCardinality(String),
    geo_place          LowCardinality(String),
    geo_continent      LowCardinality(String),
    h3                 UInt64,
    `entities.type`    Array(LowCardinality(String)),
    `entities.value`   Array(String),
    `entities.role`    Array(LowCardinality(String)),
    summary            String,
    payload            String CODEC(ZSTD(1)),
    schema_id          UInt32,
    topic              LowCardinality(String),
    partition          UInt32,
    offset             UInt64,
    precedence         UInt64 MATERIALIZED bitNot(offset)
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (family, partner, event_id)
TTL occurred_at + toIntervalDay(retain_days);

-- Refused records with the reason and the bytes as they came.
CREATE TABLE IF NOT EXISTS quarantine
(
    quarantined_at DateTime64(3, 'UTC'),
    partner        LowCardinality(String),
    family         LowCardinality(String),
    reason         LowCardinality(String),
    field          LowCardinality(String),
    message        String,
    event_id       String,
    topic          LowCardinality(String),
    partition      UInt32,
    offset         UInt64,
    kafka_at       DateTime64(3, 'UTC'),
    schema_id      Int32,
    size           UInt64,
    raw            String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(kafka_at)
ORDER BY (topic, partition, offset)
TTL toDateTime(kafka_at) + toIntervalDay(90);

-- One row per event, base rule and group value that matched.
CREATE TABLE IF NOT EXISTS signals
(
    correlation_id LowCardinality(String),
    rule_id        LowCardinality(String),
    group_key      String,
    value          String,
    event_id       String,
    partner        LowCardinality(String),
    family         LowCardinality(String),
    occurred_at    DateTime64(3, 'UTC'),
    ingested_at    DateTime64(3, 'UTC'),
    exercise       Bool,
    late           Bool,
    topic          LowCardinality(String),
    partition      UInt32
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (correlation_id, rule_id, partner, event_id, group_key, value)
TTL toDateTime(occurred_at) + toIntervalDay(365);

-- Latest state of each alert by version; record is the whole alert as JSON.
CREATE TABLE IF NOT EXISTS alerts
(
    alert_id       String,
    version        UInt64,
    status         LowCardinality(String),
    superseded_by  String,
    rule_id        LowCardinality(String),
    rule_title     LowCardinality(String),
    rule_version   LowCardinality(String),
    kind           LowCardinality(String),
    level          LowCardinality(String),
    exercise       Bool,
    tlp            LowCardinality(String),
    confidence     UInt8,
    group          Map(String, String),
    story          String,
    tags           Array(LowCardinality(String)),
    partners       Array(LowCardinality(String)),
    families       Array(LowCardinality(String)),
    countries      Array(LowCardinality(String)),
    places         Array(String),
    lat            Nullable(Float64),
    lon            Nullable(Float64),
    first_event_at DateTime64(3, 'UTC'),
    last_event_at  DateTime64(3, 'UTC'),
    published_at   DateTime64(3, 'UTC'),
    created_at     DateTime64(3, 'UTC'),
    updated_at     DateTime64(3, 'UTC'),
    evidence_total UInt32,
    record         String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY alert_id;

CREATE TABLE IF NOT EXISTS alert_evidence
(
    alert_id     String,
    event_id     String,
    rule_id      LowCardinality(String),
    rule_title   LowCardinality(String),
    partner      LowCardinality(String),
    family       LowCardinality(String),
    occurred_at  DateTime64(3, 'UTC'),
    published_at DateTime64(3, 'UTC'),
    ingested_at  DateTime64(3, 'UTC'),
    tlp          LowCardinality(String),
    country      LowCardinality(String),
    place        String,
    lat          Nullable(Float64),
    lon          Nullable(Float64),
    summary      String,
    matched      String,
    topic        LowCardinality(String),
    partition    UInt32,
    offset       UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (alert_id, partner, event_id, rule_id);

-- Gauges and counters of the workers, one row per sample.
CREATE TABLE IF NOT EXISTS pipeline_metrics
(
    sampled_at DateTime64(3, 'UTC'),
    worker     LowCardinality(String),
    metric     LowCardinality(String),
    labels     Map(LowCardinality(String), String),
    value      Float64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(sampled_at)
ORDER BY (metric, worker, sampled_at)
TTL toDateTime(sampled_at) + toIntervalDay(14);
