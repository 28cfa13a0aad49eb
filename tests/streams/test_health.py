"""How a worker is: judged by Kafka, told over HTTP, asked by a command that can end a stalled one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from deploy.embedded.checks import http_get
from schemas.settings import Settings, mark_path
from streams.health import Health, serve
from streams.progress import CommittedProgress
from streams.topics import TopicSpec, ensure_topics
from tests.stack import Stack

TOPIC = "tests.health.v1"
STALL_S = 1.0


@dataclass
class Worker:
    """The health of a worker whose group never commits: partition 0 has lag, partition 1 has none."""

    health: Health
    registry: CollectorRegistry
    away: bool = False


@pytest.fixture
def worker(stack: Stack) -> Worker:
    ensure_topics(stack.settings, [TopicSpec(TOPIC, 2, {})])
    stack.produce(TOPIC, b"never committed", partition=0)
    settings = stack.settings
    made = Worker(
        Health(
            lambda mine: CommittedProgress(settings, "tests-health", [TOPIC], STALL_S, mine=mine), lambda: made.away
        ),
        CollectorRegistry(),
    )
    return made


def stall(worker: Worker) -> None:
    worker.health.assigned([(TOPIC, 0)])
    assert worker.health.standing().status == "ok", "it has had no time yet"
    time.sleep(STALL_S + 0.1)


def test_a_worker_starts_gets_on_and_stalls(worker: Worker) -> None:
    assert worker.health.standing().status == "starting"
    stall(worker)
    found = worker.health.standing()
    assert found.status == "stalled"
    assert "1 events behind" in found.text


def test_lag_of_partitions_that_others_have_does_not_count(worker: Worker) -> None:
    stall(worker)
    worker.health.assigned([(TOPIC, 1)])
    assert worker.health.standing().status == "ok"
    time.sleep(STALL_S + 0.1)
    assert worker.health.standing().text == "1 partitions"
    worker.health.assigned([])
    assert worker.health.standing().text == "waits for partitions that others have"


def test_nobody_is_started_again_because_clickhouse_is_away(worker: Worker) -> None:
    stall(worker)
    worker.away = True
    assert worker.health.standing().status == "ok"
    worker.away = False
    assert worker.health.standing().status == "ok", "the time begins anew when it is back"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_one_port_tells_health_and_metrics(worker: Worker, address: str) -> None:
    Counter("tests_total", "of this test", registry=worker.registry).inc(3)
    port = serve(worker.registry, worker.health, 0, address)
    base = f"http://{address if '.' in address else f'[{address}]'}:{port}"
    status, body = http_get(f"{base}/health")
    assert status == 503
    assert json.loads(body)["status"] == "starting"
    status, body = http_get(f"{base}/metrics")
    assert status == 200
    assert b"tests_total 3.0" in body


def ask(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "processors.health", "ingest", "--instance", "a", "--data-dir", str(data_dir)]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_the_command_ends_a_stalled_worker_when_it_is_told_to(worker: Worker, tmp_path: Path) -> None:
    missing = ask(tmp_path)
    assert missing.returncode == 1
    assert "ingest-a has not started" in missing.stderr
    stand_in = subprocess.Popen(["sleep", "600"])
    try:
        mark = mark_path(Settings(data_dir=tmp_path), "ingest-a")
        mark.parent.mkdir()
        port = serve(worker.registry, worker.health, 0, "127.0.0.1")
        mark.write_text(json.dumps({"pid": stand_in.pid, "metrics_port": port}))
        stall(worker)
        found = ask(tmp_path)
        assert found.returncode == 1
        assert "stalled" in found.stdout
        assert stand_in.poll() is None
        assert ask(tmp_path, "--end-stalled").returncode == 1
        assert stand_in.wait(5) == -9
        worker.health.assigned([(TOPIC, 1)])
        found = ask(tmp_path, "--end-stalled")
        assert (found.returncode, found.stdout) == (0, "ingest-a: ok: 1 partitions\n")
    finally:
        stand_in.kill()
