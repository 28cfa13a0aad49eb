"""Rule sets as they are deployed: files with a version, and how workers come by the one in force."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson
from confluent_kafka import KafkaException

from processors.rule_files import load, load_texts
from processors.rulebook import Rulebook
from schemas.settings import Settings
from streams import rulesets
from streams.rulesets import CURRENT, version_key

log = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
Origin = Literal["files", "operator"]


@dataclass(frozen=True)
class Deployment:
    """Who put which version in force, when (aware, UTC), and why. ``origin`` files: a platform's start did."""

    version: str
    deployed_at: dt.datetime
    deployed_by: str
    origin: Origin
    note: str = ""

    def to_bytes(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Deployment:
        at = dt.datetime.fromisoformat(content["deployed_at"])
        return cls(content["version"], at, content["deployed_by"], content["origin"], content["note"])


@dataclass(frozen=True)
class RuleSet:
    """Rule files, each with its path relative to what was deployed, and how they last came to be deployed."""

    deployment: Deployment
    files: tuple[tuple[str, str], ...]
    detections: int
    correlations: int

    @classmethod
    def of(cls, texts: Sequence[tuple[Path, str]], book: Rulebook, deployment: Deployment) -> RuleSet:
        """Of rule files and the rulebook that they make; paths count from the folder that holds all of them."""
        paths = [path.resolve() for path, _ in texts]
        root = os.path.commonpath([path.parent for path in paths]) if paths else ""
        files = tuple((path.relative_to(root).as_posix(), text) for path, (_, text) in zip(paths, texts, strict=True))
        return cls(deployment, files, len(book.detections), len(book.correlations))

    @property
    def version(self) -> str:
        """:attr:`Rulebook.version` of the rules when they were deployed."""
        return self.deployment.version

    @cached_property
    def rulebook(self) -> Rulebook:
        """The rules, ready to compile.

        Raises:
            RuleError: this version of the software cannot use them.
        """
        return load_texts([(Path(path), text) for path, text in self.files])

    def to_bytes(self) -> bytes:
        """JSON, compressed: thousands of rules are several megabytes."""
        counts = {"detections": self.detections, "correlations": self.correlations}
        return gzip.compress(orjson.dumps({**asdict(self.deployment), **counts, "files": self.files}), mtime=0)

    @classmethod
    def from_bytes(cls, value: bytes) -> RuleSet:
        """Read back :meth:`to_bytes`.

        Raises:
            ValueError, TypeError, KeyError, EOFError, OSError, zlib.error: it is no rule set.
        """
        content = orjson.loads(gzip.decompress(value))
        files = tuple((path, text) for path, text in content["files"])
        return cls(Deployment.from_content(content), files, content["detections"], content["correlations"])


class History:
    """Everything that was deployed, as read from ``rules.v1``; what cannot be read back counts as not there."""

    def __init__(self, stored: dict[bytes, bytes]) -> None:
        self._stored = stored
        content = stored.get(CURRENT)
        self.current = _readable(lambda: Deployment.from_content(orjson.loads(content))) if content else None

    def get(self, version: str) -> RuleSet | None:
        """The rule set of that version."""
        value = self._stored.get(version_key(version))
        return None if value is None else _readable(partial(RuleSet.from_bytes, value))

    @cached_property
    def sets(self) -> list[RuleSet]:
        """Every version, the last deployed first."""
        values = [value for key, value in self._stored.items() if key != CURRENT]
        found = [each for value in values if (each := _readable(partial(RuleSet.from_bytes, value)))]
        return sorted(found, key=lambda each: each.deployment.deployed_at, reverse=True)


Read = TypeVar("Read")


def _readable(read: Callable[[], Read]) -> Read | None:
    try:
        return read()
    except (ValueError, TypeError, KeyError, EOFError, OSError, zlib.error) as error:
        log.error("a record of rules.v1 is not ours: %r", error)
        return None


def read_history(settings: Settings) -> History:
    """Read ``rules.v1``; blocks.

    Raises:
        KafkaException, TimeoutError: the brokers do not answer.
    """
    return History(rulesets.read(settings))


def deploy(settings: Settings, deployment: Deployment, ruleset: RuleSet | None = None) -> None:
    """Put the version that ``deployment`` names in force, with ``ruleset`` where it is new. Blocks until brokers have
    it.

    Raises:
        PublishError: they did not take it; what was in force stays so.
    """
    records = [(version_key(ruleset.version), ruleset.to_bytes())] if ruleset else []
    rulesets.publish(settings, [*records, (CURRENT, deployment.to_bytes())])


class RuleSetWatcher:
    """The rules in force for one worker: from ``rules.v1``, or from ``settings.rules_path`` where none are deployed.

    A deployed set that this worker cannot use is logged, told to ``on_refused``, and otherwise without effect.
    """

    def __init__(self, settings: Settings, on_refused: Callable[[], None] = lambda: None) -> None:
        self.on_refused = on_refused
        self._settings = settings
        self._lock = threading.Lock()
        self._ends = rulesets.End(settings)
        self._end: int | None = None
        self._version: str | None = None
        self._book: Rulebook | None = None

    def current(self) -> Rulebook:
        """What to start with; waits for the brokers. Where the set in force is of no use here, the one deployed before.

        Raises:
            RuleError: nothing is deployed, and the files cannot be used either.
        """
        with self._lock:
            history = self._wait_for_history()
            deployed = history.current
            if deployed is not None:
                self._version = deployed.version
                earlier = (each for each in history.sets if each.version != deployed.version)
                for ruleset in (history.get(deployed.version), *earlier):
                    if ruleset is not None and (book := self._usable(ruleset)) is not None:
                        self._book = book
                        return book
            self._book = load([self._settings.rules_path])
            return self._book

    def _wait_for_history(self) -> History:
        while True:
            try:
                return read_history(self._settings)
            except (KafkaException, TimeoutError) as error:
                log.warning("waiting for Kafka to say which rules are in force: %s", error)
                time.sleep(1.0)

    @property
    def rulebook(self) -> Rulebook:
        """The rules in force as last read; does not block."""
        assert self._book is not None, "current() comes first"
        return self._book

    def refresh(self) -> Rulebook:
        """The rules in force as of now; blocks. Those of before, after a line in the log, where Kafka is away."""
        try:
            self._read()
        except (KafkaException, TimeoutError) as error:
            log.warning("cannot read which rules are in force, going on with those of before: %s", error)
        return self.rulebook

    def _read(self) -> None:
        with self._lock:
            history = read_history(self._settings)
            deployed = history.current
            if deployed is not None and deployed.version != self._version:
                self._version = deployed.version
                ruleset = history.get(deployed.version)
                self._book = (ruleset and self._usable(ruleset)) or self._book

    def _usable(self, ruleset: RuleSet) -> Rulebook | None:
        try:
            return ruleset.rulebook
        except Exception as error:  # a set of a newer version may break the loader in any way
            log.error("rule set %s cannot be used here and is left out: %s", ruleset.version, error)
            self.on_refused()
            return None

    async def watch(self, on_change: Callable[[Rulebook], None]) -> None:
        """Call ``on_change`` in a thread, where it may take its time, with each rulebook that comes in force; for ever.

        What ``on_change`` raises counts as a set that cannot be used.
        """
        told = self._book
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            book = await asyncio.to_thread(self._look)
            if book is not told:
                told = book
                try:
                    await asyncio.to_thread(on_change, book)
                except Exception:
                    log.exception("rule set %s cannot be used here, the one before stays", book.version)
                    self.on_refused()

    def _look(self) -> Rulebook:
        try:
            end = self._ends.read()
            if end != self._end:
                self._read()
                self._end = end
        except (KafkaException, TimeoutError) as error:
            log.warning("cannot read which rules are in force, going on with those of before: %s", error)
        return self.rulebook
