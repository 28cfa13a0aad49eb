"""The parts that run on the embedded infrastructure: workers, watch desk, demo partners."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from deploy.embedded.checks import http_get
from deploy.embedded.part import Check, Part
from schemas.alerts import ALERTS_TOPIC, SIGNALS_TOPIC
from schemas.lifecycle import COMMANDS_TOPIC
from schemas.registry import FAMILIES, topic_of
from schemas.settings import Settings, mark_path
from streams.progress import STALL_S, CommittedProgress

EVENT_TOPICS = tuple(topic_of(family) for family in FAMILIES)
WORKERS = ("ingest", "correlate", "lifecycle")


def worker_groups(settings: Settings) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Consumer group and topics of each kind of worker."""
    return {
        "ingest": (settings.ingest_group, EVENT_TOPICS),
        "correlate": (settings.correlate_group, (SIGNALS_TOPIC,)),
        "lifecycle": (settings.lifecycle_group, (ALERTS_TOPIC, COMMANDS_TOPIC)),
    }


def worker_parts(settings: Settings) -> list[Part]:
    """One worker of each kind; each is ready when it has been given its partitions."""
    return [worker_part(settings, kind) for kind in WORKERS]


def worker_part(settings: Settings, kind: str, instance: str = "0") -> Part:
    """A worker of ``WORKERS``; ``instance`` tells several of a kind apart. Of ``lifecycle`` one works, others wait."""
    group, topics = worker_groups(settings)[kind]
    mark = mark_path(settings, f"{kind}-{instance}")
    return Part(
        name=f"{kind}-{instance}",
        argv=[
            sys.executable,
            "-m",
            "processors",
            kind,
            "--data-dir",
            str(settings.data_dir),
            "--instance",
            instance,
        ],
        ready=_assigned(mark, least=0 if kind == "lifecycle" else 1),
        alive=CommittedProgress(settings, group, topics, STALL_S),
        needs=("kafka", "clickhouse") if kind == "lifecycle" else ("kafka", "registry", "clickhouse"),
        before_start=lambda: mark.unlink(missing_ok=True),
    )


def _assigned(mark: Path, least: int) -> Check:
    """Whether the group has given the worker its partitions, ``least`` at the least: of two with one partition to share
    one is given none, and waits."""

    def check() -> bool | str:
        given = mark.is_file() and json.loads(mark.read_text())["partitions"] >= least
        return given or "no partitions assigned yet"

    return check


def desk_part(settings: Settings, port: int) -> Part:
    """The watch desk on loopback."""

    def check() -> bool | str:
        status, _ = http_get(f"http://127.0.0.1:{port}/health")
        return status == 200 or f"/health answers {status}"

    return Part(
        name="desk",
        argv=[sys.executable, "-m", "dashboards.desk", "--data-dir", str(settings.data_dir), "--port", str(port)],
        ready=check,
        needs=("kafka", "clickhouse"),
    )


def demo_part(settings: Settings, run_id: str, rate: float, seed: int) -> Part:
    """The eight simulated partners."""
    return Part(
        name="demo",
        argv=[
            sys.executable,
            "-m",
            "deploy.demo.partners",
            "--data-dir",
            str(settings.data_dir),
            "--rate",
            str(rate),
            "--run-id",
            run_id,
            "--seed",
            str(seed),
        ],
        needs=("kafka", "registry"),
        stop_timeout_s=70.0,
        restart=False,
    )
