"""Asks for committed offsets without a pause while the broker restarts; run as a process, which must live through it.

With AdminClient's list_consumer_group_offsets librdkafka 2.16 aborted the process at the first restart.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deploy.embedded.platform import Platform
from schemas.settings import Settings
from streams.progress import CommittedProgress
from streams.topics import TopicSpec, ensure_topics
from tests.stack import wait_until

ASKING = 4
RESTARTS = 2
SOME = 10


def answered(answers: list[int]) -> Callable[[], bool]:
    """Whether each has had some more answers since."""
    before = list(answers)
    return lambda: all(now > then + SOME for now, then in zip(answers, before, strict=True))


def main() -> None:
    stop = threading.Event()
    answers = [0] * ASKING

    def ask(number: int, settings: Settings) -> None:
        while not stop.is_set():
            check = CommittedProgress(settings, "tests-group", ["tests.v1"])
            try:
                check.read()
                answers[number] += 1
            except Exception:  # the broker is away; what counts is that this process lives
                time.sleep(0.01)

    with Platform(Path(sys.argv[1]), infrastructure=("kafka",)) as platform:
        settings = platform.start()
        ensure_topics(settings, [TopicSpec("tests.v1", 4, {})])
        threads = [threading.Thread(target=ask, args=(number, settings), daemon=True) for number in range(ASKING)]
        for thread in threads:
            thread.start()
        for _ in range(RESTARTS):
            wait_until(answered(answers), 20, "all have answers")
            platform.part("kafka").stop()
            platform.part("kafka").start(60)
        wait_until(answered(answers), 20, "answers after the restarts")
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads), "a client hangs"
    print(f"answers: {answers}")


if __name__ == "__main__":
    main()
