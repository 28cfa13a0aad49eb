"""A configuration file that is read again when it changes, and whose last usable content stays where it is broken."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from schemas.yaml_lines import ConfigError

log = logging.getLogger(__name__)
Content = TypeVar("Content")


class Reloaded(Generic[Content]):
    """``content`` of a file as last read with ``load``.

    ``on_refused`` is called once for each change that cannot be used. The first reading raises what ``load`` raises.
    """

    def __init__(
        self, path: Path, load: Callable[[Path], Content], on_refused: Callable[[], None] = lambda: None
    ) -> None:
        self._path, self._load, self._on_refused = path, load, on_refused
        self._seen = self._look()
        self.content = load(path)

    def refresh(self) -> bool:
        """Read the file if it is another than before; whether :attr:`content` has changed."""
        found = self._look()
        if found == self._seen:
            return False
        self._seen = found
        try:
            self.content = self._load(self._path)
        except ConfigError as error:
            log.error("%s is left as it was, for it cannot be used now:\n%s", self._path.name, error)
            self._on_refused()
            return False
        log.info("%s read anew", self._path)
        return True

    def _look(self) -> tuple[int, int, int] | None:
        """What tells one state of the file from another; editors may replace the file as a whole."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
