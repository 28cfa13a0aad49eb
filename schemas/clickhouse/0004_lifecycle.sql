-- The latest state of each alert as people work with it; record is the whole state as JSON.
CREATE TABLE IF NOT EXISTS alert_states
(
    alert_id           String,
    revision           UInt64,
    state              LowCardinality(String),
    priority           LowCardinality(String),
    priority_reasons   Array(String),
    acknowledged_until Nullable(DateTime64(3, 'UTC')),
    acknowledged_by    LowCardinality(String),
    assignee           LowCardinality(String),
    verdict            LowCardinality(String),
    closed_at          Nullable(DateTime64(3, 'UTC')),
    merged_into        String,
    silenced           Bool,
    inhibited_by       String,
    withdrawn          Bool,
    superseded_by      String,
    group_key          String,
    rule_id            LowCardinality(String),
    level              LowCardinality(String),
    exercise           Bool,
    raised_at          DateTime64(3, 'UTC'),
    updated_at         DateTime64(3, 'UTC'),
    record             String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY alert_id;

-- Everything that was done to an alert or asked for and refused; never changed. A repetition has the same action_id.
CREATE TABLE IF NOT EXISTS alert_actions
(
    at         DateTime64(3, 'UTC'),
    action_id  String,
    command_id String,
    alert_id   String,
    verb       LowCardinality(String),
    by         LowCardinality(String),
    via        LowCardinality(String),
    accepted   Bool,
    reason     String,
    before     LowCardinality(String),
    after      LowCardinality(String),
    revision   UInt64,
    text       String,
    details    String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (alert_id, at, action_id);

-- Every attempt to deliver a notification.
CREATE TABLE IF NOT EXISTS notifications
(
    at              DateTime64(3, 'UTC'),
    delivery_id     String,
    notification_id String,
    attempt         UInt16,
    kind            LowCardinality(String),
    person          LowCardinality(String),
    channel         LowCardinality(String),
    address         String,
    outcome         LowCardinality(String),
    error           String,
    took_ms         UInt32,
    group_key       String,
    alert_ids       Array(String),
    redacted        Bool
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (notification_id, attempt, channel, address, delivery_id);

-- The silences that were set, by their latest version.
CREATE TABLE IF NOT EXISTS silences
(
    silence_id String,
    version    UInt64,
    matchers   String,
    author     LowCardinality(String),
    reason     String,
    partner    LowCardinality(String),
    starts_at  DateTime64(3, 'UTC'),
    ends_at    DateTime64(3, 'UTC'),
    created_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY silence_id;

-- Who looked at what, and every login, refused ones too.
CREATE TABLE IF NOT EXISTS access_log
(
    at       DateTime64(3, 'UTC'),
    person   LowCardinality(String),
    role     LowCardinality(String),
    what     LowCardinality(String),
    target   String,
    allowed  Bool,
    via      LowCardinality(String),
    address  String,
    detail   String
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (person, at)
TTL toDateTime(at) + toIntervalDay(730);
