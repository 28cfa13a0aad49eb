"""The embedded platform: Kafka, the registry, ClickHouse and the caller's workers, started and stopped as one."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import psutil

from deploy.embedded import services
from deploy.embedded.cache import Cache, cache_dir
from deploy.embedded.errors import PlatformError, StartInterruptedError
from deploy.embedded.instance import Instance, State, write_private
from deploy.embedded.part import Part
from deploy.embedded.ports import Ports
from deploy.embedded.process import LogFile
from deploy.embedded.report import Reporter, Silent
from deploy.embedded.supervisor import Handle
from deploy.embedded.supervisor import State as PartState
from schemas.settings import Settings

INFRASTRUCTURE = ("clickhouse", "kafka", "registry")
USUAL_PORTS = {
    "kafka": 9092,
    "kafka-controller": 9093,
    "registry": 8081,
    "registry-management": 9000,
    "clickhouse": 8123,
}
_ENDPOINT_FIELDS = (
    *("kafka_bootstrap", "registry_url", "clickhouse_url", "clickhouse_database", "clickhouse_user"),
    *("clickhouse_password", "clickhouse_reader_user", "clickhouse_reader_password", "desk_url", "grafana_url"),
    *("topic_partitions", "topic_replicas"),
)
_PATH_LISTS = "':' or a line break"


class Platform:
    """One platform on one data directory; a context manager that starts nothing by itself and stops everything.

    ::

        with Platform(Path(".tocsin"), reporter=ConsoleReporter()) as platform, platform.signals():
            settings = platform.start()
            platform.add_parts([Part("ingest", [sys.executable, "-m", "processors.app"], needs=("kafka",))])
            platform.wait()

    Everything listens on loopback only. Whatever becomes of this process, its parts end with it.

    Args:
        data_dir: data, logs and ``endpoints.json``; made when missing.
        cache_dir: where downloads are kept; default see ``cache.cache_dir``.
        reporter: told what happens, for a person.
        infrastructure: which of Kafka, registry and ClickHouse to run; all by default.
        mirror: Maven repository to fetch from instead of the default one.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        cache_dir: Path | None = None,
        reporter: Reporter | None = None,
        infrastructure: Iterable[str] = INFRASTRUCTURE,
        mirror: str | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.reporter: Reporter = reporter or Silent()
        self.parts: dict[str, Handle] = {}
        self.settings: Settings | None = None
        self.started_at: datetime | None = None
        self.ready_seconds: float | None = None
        self._cache_dir, self._mirror = cache_dir, mirror
        self._infrastructure = tuple(infrastructure)
        self._instance = Instance(self.data_dir)
        self._ports = Ports({})
        self._state: State | None = None
        self._extra: dict[str, Any] = {}
        self._asked_to_stop = threading.Event()
        self._starting = False
        self._stopping = False
        self._log_lock = threading.Lock()

    # Starting

    def start(self) -> Settings:
        """Start the infrastructure and wait until it serves; the settings that lead to it.

        Raises:
            AlreadyRunningError: another process runs on this data directory.
            DownloadError: a needed file cannot be fetched.
            PartFailedError: a part did not get ready; the message names it, its log, and what to do.
            StartInterruptedError: SIGINT or SIGTERM came meanwhile.
            PlatformError: the data directory cannot be used.
        """
        if any(mark in str(self.data_dir) for mark in ":\n"):
            raise PlatformError(f"the data directory {self.data_dir!r} must not have {_PATH_LISTS} in its path")
        began = time.monotonic()
        services.require_extra()
        self._starting = True
        try:
            self._instance.acquire(self.reporter.say)
            self.started_at = datetime.now(UTC)
            self._state = state = self._instance.load_state()
            self._ports = Ports(state.ports)
            chosen = {name: self.port(name, usual) for name, usual in USUAL_PORTS.items()}
            self.settings = services.fresh_settings(self.data_dir, state, chosen)
            self._start_infrastructure(self.settings, state, chosen)
            self._publish()
        except BaseException:
            self.stop()
            raise
        finally:
            self._starting = False
        self.ready_seconds = time.monotonic() - began
        self._log(f"infrastructure ready after {self.ready_seconds:.1f} s")
        return self.settings

    def _start_infrastructure(self, settings: Settings, state: State, ports: dict[str, int]) -> None:
        names = self._infrastructure
        if "clickhouse" in names:  # needs no downloads, so it starts while they run
            self._add(services.clickhouse(self.data_dir / "clickhouse", ports["clickhouse"], settings)).begin()
        if "kafka" in names or "registry" in names:
            folder = self._cache_dir or cache_dir(self.data_dir)
            if any(mark in str(folder) for mark in ":\n"):
                raise PlatformError(
                    f"the cache {folder!r} must not have {_PATH_LISTS} in its path: set TOCSIN_CACHE_DIR"
                )
            files = Cache(folder.absolute(), self.reporter, mirror=self._mirror).ensure()
            home = self.data_dir
            if "kafka" in names:
                cluster = state.cluster_id
                self._add(
                    services.kafka(home / "kafka", files, ports["kafka"], ports["kafka-controller"], cluster)
                ).begin()
            if "registry" in names:
                self._add(
                    services.registry(home / "registry", files, ports["registry"], ports["registry-management"])
                ).begin()
        self._wait_all(names)

    def _wait_all(self, names: Iterable[str]) -> None:
        """Wait until all are ready; a failure of any is raised at once, not after the others' time."""
        waiting = {name: self.parts[name] for name in names}
        while waiting:
            for name, handle in list(waiting.items()):
                with contextlib.suppress(TimeoutError):
                    handle.wait_ready(0.1)
                    del waiting[name]

    def add_parts(self, parts: Iterable[Part], *, wait: bool = True) -> list[Handle]:
        """Start further parts, each once those in its ``needs`` are ready; by default wait until all are.

        Raises:
            PartFailedError: one did not get ready. The others stay, ``stop`` ends them.
            ValueError: a name is taken, or a need is unknown.
        """
        handles = [self._add(part) for part in parts]
        for handle in handles:
            handle.begin()
        if wait:
            self._wait_all([handle.name for handle in handles])
        return handles

    def _add(self, part: Part) -> Handle:
        if part.name in self.parts:
            raise ValueError(f"there is a part named {part.name} already")
        if unknown := [need for need in part.needs if need not in self.parts]:
            raise ValueError(f"part {part.name} needs {', '.join(unknown)}, which is not there; add it first")
        log = LogFile(part.log or self.data_dir / "logs" / f"{part.name}.log")
        needs = [self.parts[need] for need in part.needs]
        handle = Handle(part, log, self.environment, self._instance.parts_lock, needs, self._on_event)
        self.parts[part.name] = handle
        return handle

    # What runs

    def part(self, name: str) -> Handle:
        """The part of that name, to look at, kill, stop or start. Raises KeyError."""
        return self.parts[name]

    def port(self, name: str, usual: int) -> int:
        """A loopback port for ``name``: the usual one if free, and the same one again in later runs."""
        port = self._ports.choose(name, usual)
        if self._state is not None and self._state.ports.get(name) != port:
            self._state.ports[name] = port
            self._instance.save_state(self._state)
        return port

    def environment(self) -> dict[str, str]:
        """What parts get: this process's environment and the endpoints as ``TOCSIN_*``."""
        values = services.base_environment()
        for name, value in self._endpoints().items():
            values[f"TOCSIN_{name.upper()}"] = str(value)
        values["TOCSIN_DATA_DIR"] = str(self.data_dir)
        return values

    def update_endpoints(self, **fields: Any) -> Settings:
        """Set further settings (``desk_url=...``), in ``endpoints.json`` and for parts started from now on."""
        if self.settings is None:
            raise PlatformError("the platform is not started")
        self._extra.update(fields)
        self.settings = self.settings.model_copy(update=fields)
        self._publish()
        return self.settings

    def _endpoints(self) -> dict[str, Any]:
        if self.settings is None:
            return {}
        names = [*_ENDPOINT_FIELDS, *(name for name in self._extra if name not in _ENDPOINT_FIELDS)]
        return {name: value for name in names if (value := getattr(self.settings, name)) is not None}

    def _publish(self) -> None:
        endpoints = self._endpoints()
        write_private(self._instance.endpoints_file, endpoints)
        self._instance.mark({
            name: value for name, value in endpoints.items() if name == "kafka_bootstrap" or name.endswith("_url")
        })  # fmt: skip

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory per part, its children included, and of this process as ``platform``."""
        found = {"platform": psutil.Process().memory_info().rss}
        for name, handle in self.parts.items():
            if (pid := handle.pid) is not None:
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(pid)
                    members = [process, *process.children(recursive=True)]
                    found[name] = sum(member.memory_info().rss for member in members)
        return found

    # Waiting and stopping

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a stop is asked for (True) or ``timeout_s`` passed (False).

        Raises:
            PartFailedError: a part was given up on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._asked_to_stop.wait(0.2):
            for handle in list(self.parts.values()):
                if handle.failure is not None:
                    raise handle.failure
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return True

    def ask_to_stop(self) -> None:
        """Have ``wait`` return True; for handlers and other threads."""
        self._asked_to_stop.set()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Within, SIGINT, SIGTERM and SIGHUP ask for a stop; a second one kills all parts at once. Main thread only.

        Leaving it stops the platform, so that a second signal still counts while it stops.
        """
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            self.stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        first = not self._asked_to_stop.is_set()
        self._asked_to_stop.set()
        if not first:
            for handle in list(self.parts.values()):
                handle.hurry()
        if first and self._starting and not self._stopping:
            raise StartInterruptedError(f"stopped by {signal.Signals(number).name} while starting")

    def stop(self) -> None:
        """End all parts, those that need others first, each within its time, then by SIGKILL; free the directory."""
        if not self._instance.held:
            return
        self._stopping = True
        self._log("stopping")
        left = dict(self.parts)
        while left:
            needed = {need.name for handle in left.values() for need in handle.needs}
            free = [handle for name, handle in left.items() if name not in needed]
            threads = [threading.Thread(target=handle.stop, name=f"stop-{handle.name}") for handle in free]
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # short, so that a second signal gets through
            for handle in free:
                del left[handle.name]
        self._log("stopped")
        self._ports.release()
        self._instance.release()
        self._stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()

    def _on_event(self, handle: Handle, text: str) -> None:
        self._log(f"{handle.name}: {text}")
        if handle.state is not PartState.ENDED:
            self.reporter.say(f"{handle.name} {text}" if text == "ready" else f"{handle.name}: {text}")

    def _log(self, text: str) -> None:
        path = self.data_dir / "logs" / "platform.log"
        line = f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}\n"
        with self._log_lock, contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            LogFile(path).limit()
            with path.open("a") as file:
                file.write(line)
