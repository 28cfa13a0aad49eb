"""Metrics of a worker: served to Prometheus, and sampled into ClickHouse for the dashboards."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
Sample = tuple[str, dict[str, str], float]


class Metrics:
    """Everything that a worker counts. Seconds and bytes, as Prometheus' naming conventions have it."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
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

    def serve(self, port: int, address: str = "127.0.0.1") -> int:
        """Serve the Prometheus endpoint in a thread; port 0 takes a free one. Returns the port."""
        server, _ = start_http_server(port, addr=address, registry=self.registry)
        return int(server.server_port)

    def samples(self) -> list[Sample]:
        """Present values without histogram buckets: (name, labels, value)."""
        return [
            (sample.name, dict(sample.labels), sample.value)
            for metric in self.registry.collect()
            for sample in metric.samples
            if not sample.name.endswith(("_bucket", "_created"))
        ]
