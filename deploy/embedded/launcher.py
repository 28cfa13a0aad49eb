"""Runs one command and ends it when the process that asked for it is gone, however it went.

Started by file name, with nothing but the standard library, one per part::

    python -I -S launcher.py WATCH_FD STATUS_FD LOCK_FD GRACE_SECONDS COMMAND [ARGUMENT...]

``WATCH_FD`` is the read end of a pipe whose other end only the platform holds: end of file means that the platform
has ended, also by kill -9. Then the command's process group gets SIGTERM, and SIGKILL after the grace time. Should the
launcher itself be killed, Linux kills the command (PR_SET_PDEATHSIG; the launcher has one thread, so "parent thread"
in prctl(2) is the launcher). ``STATUS_FD`` gets ``pid N`` or ``error TEXT``, and ``exit N`` at the end (negative: the
signal).

``LOCK_FD`` is a lock of the data directory that stays held until the command is gone; none of the three reaches it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
_POLL_S = 0.5


def spawn(argv: list[str], status_fd: int) -> int:
    """Fork and run ``argv`` in a process group of its own; its pid. Errors of exec go to ``status_fd``."""
    prctl = None
    if sys.platform == "linux":
        import ctypes

        prctl = ctypes.CDLL(None, use_errno=True).prctl
    launcher = os.getpid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # set by both, whoever is first
            os.setpgid(pid, pid)
        return pid
    try:
        os.setpgid(0, 0)
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != launcher:  # it died before prctl took effect
            os._exit(127)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(argv[0], argv)
    except OSError as problem:
        tell(status_fd, f"error {argv[0]}: {problem.strerror}")
    os._exit(127)


def tell(status_fd: int, line: str) -> None:
    """Write a line for the platform; nothing when it is gone."""
    with contextlib.suppress(OSError):
        os.write(status_fd, f"{line}\n".encode())


def signal_group(pid: int, number: int) -> None:
    """Signal the command's process group; nothing when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def supervise(pid: int, watch_fd: int, grace_s: float, wake_fd: int) -> int:
    """Wait for the command, or end it when the platform is gone; its wait status."""
    platform = os.getppid()
    kill_at: float | None = None
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            signal_group(pid, signal.SIGKILL)  # what it started and left
            return status
        if kill_at is None:
            ready, _, _ = select.select([watch_fd, wake_fd], [], [], _POLL_S)
            gone = (watch_fd in ready and not os.read(watch_fd, 64)) or os.getppid() != platform
            if gone:
                signal_group(pid, signal.SIGTERM)
                signal_group(pid, signal.SIGCONT)
                kill_at = time.monotonic() + grace_s
        else:
            select.select([wake_fd], [], [], max(0.0, min(_POLL_S, kill_at - time.monotonic())))
            if time.monotonic() >= kill_at:
                signal_group(pid, signal.SIGKILL)
        with contextlib.suppress(BlockingIOError):
            os.read(wake_fd, 64)


def raise_file_limit() -> None:
    """As many open files as allowed, up to 65,536: a store holds thousands, and some systems start with 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(arguments: list[str]) -> int:
    watch_fd, status_fd, lock_fd = (int(number) for number in arguments[:3])
    grace_s, argv = float(arguments[3]), arguments[4:]
    for descriptor in (watch_fd, status_fd, lock_fd):
        os.set_inheritable(descriptor, False)
    raise_file_limit()
    # The console's Ctrl-C is for the platform, which ends its parts in order. No session of its own: Linux shares the
    # processors out among sessions first (autogroup, sched(7)), so what is nice in one part, as a merge is, would stand
    # back behind nothing of another.
    os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    pid = spawn(argv, status_fd)
    tell(status_fd, f"pid {pid}")
    status = supervise(pid, watch_fd, grace_s, wake_read)
    tell(status_fd, f"exit {os.waitstatus_to_exitcode(status)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
