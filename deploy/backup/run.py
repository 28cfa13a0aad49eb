"""What is copied in which order, so that a backup of a platform at work is one from which workers can go on.

Workers make effects durable first and commit offsets afterwards, and repeating work changes nothing. So a copy is good
when each part is at least as new as what has been committed on it, and what a worker told the world at least as new as
what it remembers of having told:

1. committed offsets, which are therefore the oldest part;
2. ``correlation-state.v1``, then ``alerts.v1`` and commands, then ``lifecycle-state.v1`` and actions, the rule sets;
3. ClickHouse, then the topics whose offsets its rows name, then the registry, which knew each schema before its events.

What happened while the backup ran may be in it or not; workers bring it up to the ends of the topics.
"""

from __future__ import annotations

import datetime as dt
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from dashboards.desk.auth.database import database_path
from deploy.backup import tables, topics
from deploy.backup.archive import (
    Archive,
    BackupError,
    CommittedOffset,
    Manifest,
    StoredPartition,
    read_manifest,
    verify,
)
from deploy.backup.subjects import RegistryCopy, Subjects
from deploy.parts import EVENT_TOPICS, worker_groups
from schemas.alerts import ALERTS_TOPIC, QUARANTINE_TOPIC, RULES_TOPIC, SIGNALS_TOPIC, STATE_TOPIC
from schemas.lifecycle import ACTIONS_TOPIC, COMMANDS_TOPIC, LIFECYCLE_TOPIC
from schemas.migrations import load_migrations, migrate_platform
from schemas.settings import Settings
from streams.kafka import client_config, unreachable
from streams.store import connect
from streams.topics import TopicSpec, ensure_topics, topic_specs

BEFORE_STORE: Final = (STATE_TOPIC, ALERTS_TOPIC, COMMANDS_TOPIC, LIFECYCLE_TOPIC, ACTIONS_TOPIC, RULES_TOPIC)
AFTER_STORE: Final = (SIGNALS_TOPIC, QUARANTINE_TOPIC, *EVENT_TOPICS)
REGISTRY: Final = "registry.json"
ACCOUNTS: Final = "desk.sqlite3"
READ_S: Final = 3600
GROUP_S: Final = 120.0
REQUEST_S: Final = 30.0
Say = Callable[[str], None]


def backup(settings: Settings, folder: Path, say: Say) -> Manifest:
    """Copy a running platform into an empty folder; it goes on working meanwhile. Blocks.

    Raises:
        BackupError: a part does not answer, or the folder cannot be used.
    """
    archive = Archive(folder)
    begun = _now()
    try:
        offsets = topics.committed(settings, dict(worker_groups(settings).values()))
        partitions = _save_topics(settings, archive, BEFORE_STORE, say)
        client = connect(settings, read_s=READ_S)
        try:
            migration = tables.newest_migration(client)
            rows = [tables.save(client, archive, each, say) for each in tables.tables_of(client)]
        finally:
            client.close()
        partitions += _save_topics(settings, archive, AFTER_STORE, say)
    except (KafkaException, ClickHouseError, OSError) as error:
        raise BackupError(
            f"{folder} is not complete: {_told(settings, error)}. Is the platform up? Empty the folder and try again"
        ) from error
    with RegistryCopy(settings) as registry:
        subjects = registry.read()
    archive.path(REGISTRY).write_text(subjects.model_dump_json(indent=1))
    archive.add(REGISTRY, len(subjects.versions))
    manifest = Manifest(
        begun_at=begun,
        done_at=_now(),
        source=f"{settings.kafka_bootstrap}, {settings.registry_url}, {settings.clickhouse_url}",
        migration=migration,
        offsets=tuple(offsets),
        partitions=tuple(partitions),
        tables=tuple(rows),
        registry=REGISTRY,
        accounts=_save_accounts(settings, archive),
        configuration=tuple(_save_configuration(settings, archive)),
        files=archive.files,
    )
    archive.close(manifest)
    return manifest


def _save_topics(settings: Settings, archive: Archive, names: tuple[str, ...], say: Say) -> list[StoredPartition]:
    compacted = {each.name for each in topic_specs(settings) if each.config["cleanup.policy"] == "compact"}
    found = []
    for where in topics.partitions_of(settings, names):
        stored = topics.save(settings, archive, where, where[0] in compacted)
        say(f"kafka {where[0]}/{where[1]}: {archive.files[stored.file].items:,} records")
        found.append(stored)
    return found


def _save_accounts(settings: Settings, archive: Archive) -> str | None:
    path = database_path(settings)
    if not path.is_file():
        return None
    # SQLite's own copy takes what is still in the log beside the file, and a desk at work does not disturb it.
    with closing(sqlite3.connect(path)) as here, closing(sqlite3.connect(archive.path(ACCOUNTS))) as there:
        here.backup(there)
        count = there.execute("SELECT count(*) FROM accounts").fetchone()[0]
    archive.add(ACCOUNTS, count)
    return ACCOUNTS


def configuration_files(settings: Settings) -> dict[str, Path]:
    """Files in force by their name in a backup."""
    found = {"oncall.yml": settings.oncall_file, "partners.yml": settings.partners_file}
    rules = settings.rules_path
    for path in sorted(rules.rglob("*.y*ml")) if rules.is_dir() else [rules]:
        found[f"rules/{path.relative_to(rules) if rules.is_dir() else path.name}"] = path
    return {f"configuration/{name}": path for name, path in found.items() if path.is_file()}


def _save_configuration(settings: Settings, archive: Archive) -> list[str]:
    files = configuration_files(settings)
    for name, path in files.items():
        shutil.copyfile(path, archive.path(name))
        archive.add(name, 1)
    return list(files)


def check(folder: Path) -> Manifest:
    """The manifest of a backup all of whose files are as it says.

    Raises:
        BackupError: they are not; it lists the first ones.
    """
    manifest = read_manifest(folder)
    if wrong := verify(folder, manifest):
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise BackupError(f"this backup is damaged: {'; '.join(wrong[:5])}{more}")
    return manifest


def restore(settings: Settings, folder: Path, say: Say, *, force: bool = False) -> Manifest:
    """Put a backup's contents onto an empty platform without workers. Blocks.

    With ``force`` what is there is removed first: topics, rows, accounts. A schema id that is taken stays a refusal.

    Raises:
        BackupError: the backup is damaged, the platform is not empty or at work, or a part does not answer. What was
            restored until then stays; ``force`` begins anew.
    """
    manifest = check(folder)
    newest = len(load_migrations())
    if manifest.migration > newest:
        raise BackupError(f"the backup's tables are of migration {manifest.migration}, this version knows {newest}")
    subjects = Subjects.model_validate_json((folder / manifest.registry).read_bytes())
    try:
        specs = _specs(settings, manifest)
        _refuse_members(settings)
        migrate_platform(settings)
        client = connect(settings, read_s=READ_S)
        try:
            _make_room(settings, client, subjects, force)
            with RegistryCopy(settings) as registry:
                registry.restore(subjects)
            say(f"registry: {len(subjects.versions)} schemas under their ids")
            tables.restore(client, folder, manifest.tables, manifest.items, say)
        finally:
            client.close()
        _restore_topics(settings, folder, manifest, specs, say)
    except (KafkaException, ClickHouseError, OSError, RuntimeError) as error:
        if isinstance(error, BackupError):
            raise
        raise BackupError(f"not restored: {_told(settings, error)}") from error
    if manifest.accounts:
        path = database_path(settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / manifest.accounts, path)
        path.chmod(0o600)
        say(f"accounts: {manifest.items(manifest.accounts)} in {path}")
    return manifest


def _specs(settings: Settings, manifest: Manifest) -> list[TopicSpec]:
    """The topics with as many partitions as they had."""
    counts: dict[str, int] = {}
    for each in manifest.partitions:
        counts[each.topic] = max(counts.get(each.topic, 0), each.partition + 1)
    if counts.get(STATE_TOPIC, settings.topic_partitions) != settings.topic_partitions:
        raise BackupError(
            f"the backup has {counts[STATE_TOPIC]} partitions a topic, the settings {settings.topic_partitions}: "
            f"set TOCSIN_TOPIC_PARTITIONS={counts[STATE_TOPIC]}"
        )
    return [TopicSpec(s.name, counts.get(s.name, s.partitions), s.config) for s in topic_specs(settings)]


def _restore_topics(settings: Settings, folder: Path, manifest: Manifest, specs: list[TopicSpec], say: Say) -> None:
    writer = topics.Writer(settings)
    writer.make(specs)
    now: dict[tuple[str, int, int], int] = {}
    for each in manifest.partitions:
        offsets = [o.offset for o in manifest.offsets if (o.topic, o.partition) == (each.topic, each.partition)]
        found = writer.restore(folder, each, offsets)
        now |= {(each.topic, each.partition, offset): translated for offset, translated in found.items()}
        say(f"kafka {each.topic}/{each.partition}: {manifest.items(each.file):,} records")
    ensure_topics(settings, specs)
    writer.commit([each.model_copy(update={"offset": now[_place(each)]}) for each in manifest.offsets])
    say(f"kafka: {len(manifest.offsets)} offsets of {len({each.group for each in manifest.offsets})} groups")


def _place(each: CommittedOffset) -> tuple[str, int, int]:
    return each.topic, each.partition, each.offset


def _refuse_members(settings: Settings) -> None:
    access = client_config(settings)
    admin = AdminClient({**access, "log_level": 2})
    try:
        admin.list_topics(timeout=10)
    except KafkaException as error:
        raise BackupError(
            f"{unreachable(access, error)} Start its parts without its workers, or have them started with --start"
        ) from error
    for group, _ in worker_groups(settings).values():
        if members := _members(admin, group):
            raise BackupError(
                f"{members} workers of {group} are at work: stop every worker, the desk and all producers first"
            )


def _members(admin: AdminClient, group: str) -> int:
    """How many are in the group. A broker that has just started has to make, or to read, the topic of its groups
    first, and says meanwhile that it does not know."""
    deadline = time.monotonic() + GROUP_S
    while True:
        try:
            found = admin.describe_consumer_groups([group], request_timeout=REQUEST_S)[group].result()
            return len(found.members)
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            if time.monotonic() > deadline or cause.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                raise BackupError(
                    f"Kafka does not say whether workers of {group} are at work: {cause.name()}. Try again"
                ) from error
        time.sleep(0.5)


def _make_room(settings: Settings, client: Client, subjects: Subjects, force: bool) -> None:
    ends = _ends(settings)
    rows = tables.rows_held(client)
    accounts = database_path(settings)
    with RegistryCopy(settings) as registry:
        taken = registry.conflicts(subjects)
    if taken:
        raise BackupError(f"{'; '.join(taken[:3])}. Restore to a registry with an empty database")
    found = [f"table {name} has {count:,} rows" for name, count in rows.items()]
    found += [f"topic {name} has records up to offset {end:,}" for name, end in ends.items() if end]
    found += [f"{accounts} has accounts"] if accounts.is_file() else []
    if found and not force:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise BackupError(
            f"the platform is not empty: {'; '.join(found[:3])}{more}. Restore to an empty one, or remove all of that "
            "with --force"
        )
    if force:
        tables.empty(client)
        for suffix in ("", "-wal", "-shm"):
            accounts.with_name(accounts.name + suffix).unlink(missing_ok=True)
    topics.delete(settings, [name for name, end in ends.items() if end])


def _ends(settings: Settings) -> dict[str, int]:
    """Our topics that are there, each with its furthest end."""
    ends: dict[str, int] = {}
    asking = topics.consumer(settings)
    try:
        for topic, partition in topics.partitions_of(settings, [each.name for each in topic_specs(settings)]):
            end = asking.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)[1]
            ends[topic] = max(ends.get(topic, 0), end)
    finally:
        asking.close()
    return ends


def _told(settings: Settings, error: Exception) -> str:
    if isinstance(error, KafkaException):
        return unreachable(client_config(settings), error)
    return str(error)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
