"""Ports on loopback: the usual one when it is free, the one of the last run when there is one, else a free one."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.embedded.errors import PlatformError

HOST = "127.0.0.1"
# Below the range from which systems take ports for outgoing connections (Linux from 32768, others from 49152): there a
# client that retries against a part just restarting could get the very port itself and keep it from coming back.
_FALLBACK = range(15000, 32000)


def is_free(port: int) -> bool:
    """Whether nothing listens on the port, on loopback or on all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do; closed connections of an earlier run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as problem:
            if problem.errno in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
                return False
            raise
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:  # systems on which both may bind
        client.settimeout(0.5)
        return client.connect_ex((HOST, port)) != 0


class Ports:
    """Ports of one platform. Each is claimed by a lock file, so that platforms that start at once do not collide."""

    def __init__(self, kept: dict[str, int]) -> None:
        self.chosen: dict[str, int] = {}
        self._kept = kept
        self._claims: list[int] = []
        self._folder = Path(tempfile.gettempdir()) / f"tocsin-ports-{os.getuid()}"

    def choose(self, name: str, usual: int) -> int:
        """A free port for ``name``; the same one at each call.

        Raises:
            PlatformError: none of many ports is free.
        """
        if name not in self.chosen:
            self.chosen[name] = next(port for port in self._candidates(name, usual) if self._claim(port))
        return self.chosen[name]

    def _candidates(self, name: str, usual: int) -> Iterator[int]:
        if name in self._kept:
            yield self._kept[name]
        yield usual
        yield from random.sample(_FALLBACK, 200)
        raise PlatformError(f"no free port for {name} on {HOST}: end some of the programs that listen there")

    def _claim(self, port: int) -> bool:
        if port in self.chosen.values() or not is_free(port):
            return False
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            claim = os.open(self._folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return True  # no place for claims: the port is free, which is what matters
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(claim)
            return False
        self._claims.append(claim)
        return True

    def release(self) -> None:
        """Give the ports back."""
        for claim in self._claims:
            os.close(claim)
        self._claims.clear()
