"""The pinned files of the embedded Kafka and registry: which they are, whether a copy is whole, and unpacking."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("artifacts.json")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Artifact:
    """One file of a Maven repository; ``size`` in bytes, ``sha256`` in hexadecimal."""

    group: str
    name: str
    version: str
    classifier: str
    packaging: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{tail}.{self.packaging}"

    def __str__(self) -> str:
        return f"{self.group}:{self.filename}"


@dataclass(frozen=True)
class Pinned:
    """The whole table: Kafka's class path in order, the registry's archive and what it unpacks to."""

    kafka_version: str
    kafka: tuple[Artifact, ...]
    registry_version: str
    registry: Artifact
    registry_tree_sha256: str
    registry_tree_bytes: int


@cache
def pinned() -> Pinned:
    """The table in ``artifacts.json``, which ``python -m deploy.embedded.lock`` writes."""
    table = json.loads(TABLE.read_text())
    registry = table["registry"]
    return Pinned(
        kafka_version=table["kafka"]["version"],
        kafka=tuple(Artifact(**entry) for entry in table["kafka"]["files"]),
        registry_version=registry["version"],
        registry=Artifact(**registry["archive"]),
        registry_tree_sha256=registry["unpacked_sha256"],
        registry_tree_bytes=registry["unpacked_bytes"],
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def is_whole(path: Path, artifact: Artifact) -> bool:
    """Whether ``path`` holds exactly the artifact's bytes; a missing file does not."""
    try:
        return path.stat().st_size == artifact.size and sha256_of(path) == artifact.sha256
    except OSError:
        return False


def tree_digest(folder: Path) -> tuple[str, int]:
    """One SHA-256 over names and contents of all files below ``folder``, and their bytes in total."""
    digest, size = hashlib.sha256(), 0
    for path in sorted(folder.rglob("*"), key=lambda item: item.relative_to(folder).as_posix()):
        if path.is_file():
            size += path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest(), size


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ``tar.gz`` into ``folder``, refusing names that lead out of it.

    Raises:
        tarfile.TarError: the archive is damaged or has such names.
        OSError: the files cannot be written.
    """
    with tarfile.open(archive, "r:gz") as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python 3.11.0 to 3.11.3; the archive's hash is known good by now
            tar.extractall(folder)
