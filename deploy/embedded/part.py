"""What the platform runs: a part's description, and the checks that may go with it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

Check = Callable[[], "bool | str"]


@runtime_checkable
class Resettable(Protocol):
    """A liveness check that remembers; ``reset`` is called before each start of its part."""

    def reset(self) -> None: ...


@dataclass(frozen=True)
class Part:
    """One process of the platform.

    Attributes:
        name: unique, also the name of the log file.
        argv: the command; its first item is looked up on PATH.
        env: added to the platform's environment, which holds the ``TOCSIN_*`` settings.
        ready: true when the part serves; anything else, also an exception, means not yet (a string says what is
            missing). None: ready when it has lived for ``settle_s`` seconds.
        alive: asked every ``alive_every_s`` seconds once ready; a string (or False) says why the part counts as
            stalled, and it is then killed and started again. An exception counts as alive.
        needs: parts that must be ready before this one is started for the first time, and are stopped after it.
        ready_timeout_s: seconds from start to ready; then the part has failed.
        stop_signal, stop_timeout_s: how it is asked to end, and when it is killed.
        restart: start it again when it ends by itself; otherwise its end is final (``Handle.exit_code``).
        log: where its output goes; default ``<data_dir>/logs/<name>.log``.
        before_start: called before every start, for example to prepare files.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Check | None = None
    alive: Check | None = None
    needs: tuple[str, ...] = ()
    ready_timeout_s: float = 60.0
    alive_every_s: float = 5.0
    settle_s: float = 0.3
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 15.0
    restart: bool = True
    cwd: Path | None = None
    log: Path | None = None
    before_start: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or not self.argv:
            raise ValueError(f"a part needs a plain name and a command, got {self.name!r} and {self.argv!r}")
