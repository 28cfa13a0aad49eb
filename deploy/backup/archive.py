"""The folder that a backup is: its files, and ``manifest.json`` that says what they hold.

The manifest is written last, so a folder with one is a whole backup. All of it is case data: only its owner can read
it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"


class BackupError(RuntimeError):
    """A backup or a restoration that cannot be done; the message says where, what and what to do."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredFile(_Model):
    """One file: its size, SHA-256 in hex, and how many rows, records or schemas it holds."""

    path: str
    bytes: int
    sha256: str
    items: int


class StoredPartition(_Model):
    """Records of one partition, in Avro. ``end`` is the offset behind the last; ``begin`` that of the first, or ``end``
    when there is none. ``compacted`` says that its topic keeps the last record of each key."""

    topic: str
    partition: int
    begin: int
    end: int
    compacted: bool
    file: str


class StoredTable(_Model):
    """Rows of a ClickHouse table, a file each partition of it. ``rollup`` is 0 for one that is written to, 1 for one
    that a view fills from such, 2 for one that a view fills from a rollup."""

    name: str
    columns: tuple[str, ...]
    rollup: int
    files: tuple[str, ...]


class CommittedOffset(_Model):
    """Where a consumer group goes on, and what it noted beside."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: str


class Manifest(_Model):
    """What a backup holds. ``migration`` is the number of the newest one that the tables had."""

    format: Literal[1] = FORMAT
    begun_at: AwareDatetime
    done_at: AwareDatetime
    source: str = Field(description="addresses of the platform, for people")
    migration: int
    offsets: tuple[CommittedOffset, ...]
    partitions: tuple[StoredPartition, ...]
    tables: tuple[StoredTable, ...]
    registry: str
    accounts: str | None
    configuration: tuple[str, ...] = Field(description="copies of oncall.yml, partners.yml and the rule files")
    files: dict[str, StoredFile]

    def items(self, path: str) -> int:
        """Rows or records in that file."""
        return self.files[path].items


class Archive:
    """Writes a backup's files."""

    def __init__(self, folder: Path) -> None:
        """Take an empty or missing folder.

        Raises:
            BackupError: there is something in it, or it cannot be written.
        """
        self.folder = folder
        self.files: dict[str, StoredFile] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise BackupError(f"{folder} is not empty: give the backup a folder of its own")
        except OSError as error:
            raise BackupError(f"{folder}: {error.strerror}; choose a folder that can be written") from error

    def path(self, name: str) -> Path:
        """Where the file of that name goes; its folder is there."""
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def add(self, name: str, items: int) -> StoredFile:
        """Take in a file that has been written."""
        path = self.folder / name
        path.chmod(0o600)
        found = StoredFile(path=name, bytes=path.stat().st_size, sha256=digest(path), items=items)
        self.files[name] = found
        return found

    def close(self, manifest: Manifest) -> None:
        """Make it a whole backup."""
        path = self.folder / MANIFEST
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(manifest.model_dump_json(indent=1) + "\n")


def digest(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """What the backup in ``folder`` holds.

    Raises:
        BackupError: there is none, it is damaged, or a newer version of Tocsin made it.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BackupError(
            f"{path}: {error.strerror}; that is no finished backup. Name the folder that 'tocsin backup' made"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BackupError(
            f"{path}: {where}: {first['msg']}; it is damaged, or of another version of Tocsin than this one"
        ) from error


def verify(folder: Path, manifest: Manifest) -> list[str]:
    """What is wrong with the files: a line each, none when all are as the manifest says."""
    wrong = []
    for each in manifest.files.values():
        path = folder / each.path
        if not path.is_file():
            wrong.append(f"{path}: missing")
        elif path.stat().st_size != each.bytes:
            wrong.append(f"{path}: {path.stat().st_size:,} bytes, {each.bytes:,} expected")
        elif digest(path) != each.sha256:
            wrong.append(f"{path}: its SHA-256 is not the manifest's; its contents have changed")
    return wrong
