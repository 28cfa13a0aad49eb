"""What Faust commits for batches: the end of the unbroken prefix of acknowledged ones and nothing beyond."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from schemas.settings import PACKAGE_ROOT
from streams.topics import TopicSpec, ensure_topics
from tests.stack import Outgoing, Stack

RECORDS = 2_000
RUN = 500


@contextmanager
def agent(stack: Stack, topic: str, group: str, folder: Path, **options: int) -> Iterator[Path]:
    """The agent at work; gives the file that its lines go to."""
    lines = folder / f"{uuid4().hex[:6]}.jsonl"
    command = [sys.executable, "-m", "tests.integration.batch_agent", "--data-dir", str(stack.settings.data_dir)]
    command += ["--topic", topic, "--group", group, "--run", str(RUN), "--lines", str(lines)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    lines.touch()
    with lines.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, cwd=PACKAGE_ROOT, stdout=log, stderr=log)
        try:
            yield lines
        finally:
            process.kill()
            process.wait(timeout=10)


def seen(lines: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.read_text().splitlines()]


def committed(stack: Stack, group: str, topic: str) -> int:
    """Offset that the group resumes at; 0 without a commit."""
    return stack.progress(group, topic).read()[topic, 0][0]


@pytest.fixture
def topic(stack: Stack) -> str:
    """A topic of one partition with ``RECORDS`` records."""
    name = f"tests.batching-{uuid4().hex[:8]}.v1"
    ensure_topics(stack.settings, [TopicSpec(name, 1, {})])
    positions = stack.produce_all([Outgoing(name, b"%d" % number) for number in range(RECORDS)])
    assert positions[-1] == (name, 0, RECORDS - 1)
    return name


def test_a_failing_batch_is_never_committed_past_and_comes_again(stack: Stack, topic: str, tmp_path: Path) -> None:
    group = f"{topic}-fails"
    with agent(stack, topic, group, tmp_path, fail_at=1_200) as lines:
        stack.wait_until(lambda: any(each["first"] == 1_000 for each in seen(lines)), 30, "the failing batch reached")
        stack.wait_until(lambda: committed(stack, group, topic) == 1_000, 15, "the batches before committed")
        time.sleep(3)  # two more commit intervals in which to go wrong
        assert committed(stack, group, topic) == 1_000
    with agent(stack, topic, group, tmp_path) as lines:
        stack.wait_until(lambda: committed(stack, group, topic) == RECORDS, 60, "everything committed")
    again = seen(lines)
    assert again[0]["first"] == 1_000, "a restart begins with the batch that failed"
    assert sum(each["count"] for each in again) == RECORDS - 1_000


def test_later_acknowledgements_wait_for_the_one_before(stack: Stack, topic: str, tmp_path: Path) -> None:
    group = f"{topic}-holds"
    with agent(stack, topic, group, tmp_path, hold=700) as lines:
        stack.wait_until(lambda: seen(lines) and seen(lines)[-1]["last"] == RECORDS - 1, 30, "all batches seen")
        stack.wait_until(lambda: committed(stack, group, topic) == 500, 15, "the first batch committed")
        time.sleep(3)
        assert committed(stack, group, topic) == 500


def test_acknowledging_the_missing_one_commits_all(stack: Stack, topic: str, tmp_path: Path) -> None:
    group = f"{topic}-lets-go"
    with agent(stack, topic, group, tmp_path, hold=700, until=RECORDS - 1) as lines:
        stack.wait_until(lambda: committed(stack, group, topic) == RECORDS, 40, "everything committed")
    batches = seen(lines)
    assert [each["first"] for each in batches] == list(range(0, RECORDS, RUN)), "each batch came once and whole"
