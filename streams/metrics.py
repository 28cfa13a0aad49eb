"""Metrics of a worker: served to Prometheus (see health.py), and sampled into ClickHouse for the dashboards."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Sample = tuple[str, dict[str, str], float]


class Metrics:
    """Everything that a worker counts. Seconds and bytes, as Prometheus' naming conventions have it."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        # Memory, CPU and the time of the start: a start that changes is a restart, whoever restarts the process.
        ProcessCollector(registry=registry)
        self.records = Counter("tocsin_records_total", "Records by outcome", ("family", "outcome"), registry=registry)
        self.refused = Counter(
            "tocsin_refused_total", "Refused records by partner and reason", ("partner", "reason"), registry=registry
        )
        self.late = Counter(
            "tocsin_late_total", "Events behind the allowed lateness", ("partner", "family"), registry=registry
        )
        self.signals = Counter("tocsin_signals_total", "Signals by base rule", ("rule",), registry=registry)
        self.alerts = Counter("tocsin_alerts_total", "Alert versions told, by rule", ("rule",), registry=registry)
        self.batch_records = Histogram(
            "tocsin_batch_records", "Records of a partition batch", buckets=(1, 10, 100, 1000, 5000), registry=registry
        )
        self.stage_seconds = Histogram(
            "tocsin_stage_seconds", "Time of a stage for one batch", ("stage",), buckets=SECONDS, registry=registry
        )
        self.checkpoint_seconds = Histogram(
            "tocsin_checkpoint_seconds", "Insert, delivery and acknowledgement", buckets=SECONDS, registry=registry
        )
        self.checkpoint_records = Counter("tocsin_checkpoint_records_total", "Records made durable", registry=registry)
        self.ingest_latency_seconds = Histogram(
            "tocsin_ingest_latency_seconds", "From publication to ingest", buckets=SECONDS, registry=registry
        )
        self.alert_latency_seconds = Histogram(
            "tocsin_alert_latency_seconds",
            "From publication of the last evidence to the alert in ClickHouse",
            buckets=SECONDS,
            registry=registry,
        )
        self.insert_seconds = Histogram(
            "tocsin_insert_seconds", "One insert into ClickHouse", ("table",), buckets=SECONDS, registry=registry
        )
        self.store_retries = Counter("tocsin_store_retries_total", "Inserts tried again", registry=registry)
        self.lag = Gauge("tocsin_consumer_lag", "Records not yet committed", ("topic", "partition"), registry=registry)
        self.groups = Gauge("tocsin_correlation_groups", "Live groups", registry=registry)
        self.windows = Counter(
            "tocsin_windows_total",
            "Signals late, stale or capped, and groups evicted, by correlation",
            ("what", "rule"),
            registry=registry,
        )
        self.rules = Gauge("tocsin_rules_info", "Rule set in force, as a label", ("version",), registry=registry)
        self.rules_refused = Counter(
            "tocsin_rules_refused_total", "Deployed rule sets that this worker could not use", registry=registry
        )
        self.broken_signals = Counter(
            "tocsin_broken_signals_total", "Signals that could not be read", registry=registry
        )

    def inserted(self, table: str, seconds: float) -> None:
        """Note an insert that ClickHouse took."""
        self.insert_seconds.labels(table).observe(seconds)

    def samples(self) -> list[Sample]:
        """Present values without histogram buckets: (name, labels, value)."""
        return [
            (sample.name, dict(sample.labels), sample.value)
            for metric in self.registry.collect()
            for sample in metric.samples
            if not sample.name.endswith(("_bucket", "_created"))
        ]


class LifecycleMetrics(Metrics):
    """What the lifecycle worker counts besides."""

    def __init__(self) -> None:
        super().__init__()
        registry = self.registry
        self.states = Gauge(
            "tocsin_lifecycle_alerts", "Alerts known, by state and priority", ("state", "priority"), registry=registry
        )
        self.actions = Counter("tocsin_lifecycle_actions_total", "Actions by verb", ("verb",), registry=registry)
        self.commands_refused = Counter(
            "tocsin_lifecycle_commands_refused_total", "Commands refused, by verb", ("verb",), registry=registry
        )
        self.broken_records = Counter(
            "tocsin_lifecycle_broken_records_total", "Records that could not be used", ("topic",), registry=registry
        )
        self.pending_notifications = Gauge(
            "tocsin_notifications_pending",
            "Notifications that are due and neither sent nor given up",
            registry=registry,
        )
        self.notifications = Counter(
            "tocsin_notifications_total", "Notifications settled, by outcome", ("outcome",), registry=registry
        )
        self.deliveries = Counter(
            "tocsin_deliveries_total", "Attempts to deliver", ("channel", "outcome"), registry=registry
        )
        self.nobody_on_call = Counter(
            "tocsin_nobody_on_call_total", "Steps of a policy at which nobody was on call", registry=registry
        )
        self.config_refused = Counter(
            "tocsin_config_refused_total",
            "Changes of a configuration file that were no use",
            ("file",),
            registry=registry,
        )
        self.rows_waiting = Gauge(
            "tocsin_lifecycle_rows_waiting", "Effects that ClickHouse does not have yet", registry=registry
        )
        self.watchdog_age_seconds = Gauge(
            "tocsin_watchdog_age_seconds", "Since the watchdog alert last came through the lifecycle", registry=registry
        )
        self.watchdog_notified_age_seconds = Gauge(
            "tocsin_watchdog_notified_age_seconds",
            "Since a notification of the watchdog was last sent, or since the start",
            registry=registry,
        )
