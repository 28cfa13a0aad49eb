"""Children end with whoever asked for them, in whatever way that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.embedded.process import LogFile, Process
from schemas.settings import PACKAGE_ROOT

# Starts a child under the launcher, tells its pids, and then does nothing until it is killed.
PARENT = """
import os, sys, time
from pathlib import Path
from deploy.embedded.process import LogFile, Process
lock = os.open(os.devnull, os.O_RDONLY)
child = [sys.executable, "-c", sys.argv[1]]
process = Process(child, os.environ, None, LogFile(Path(sys.argv[2])), lock, lambda: None)
print(process.pid, process._launcher.pid, flush=True)
time.sleep(600)
"""
SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
WITH_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def within(seconds: float, condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def start_parent(code: str, log: Path) -> tuple[subprocess.Popen[str], int, int]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, code, str(log)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    child, launcher = map(int, parent.stdout.readline().split())
    return parent, child, launcher


@pytest.mark.parametrize(("code", "seconds"), [(SLEEP, 3), (STUBBORN, 6)], ids=["plain", "ignores SIGTERM"])
def test_kill_9_of_the_parent_ends_the_child(tmp_path: Path, code: str, seconds: float) -> None:
    parent, child, launcher = start_parent(code, tmp_path / "log")
    if code == STUBBORN:
        assert within(5, lambda: LogFile(tmp_path / "log").tail() == ["up"])
    parent.kill()
    parent.wait()
    assert within(seconds, lambda: gone(child) and gone(launcher))


def test_the_console_speaks_to_the_parent_alone_and_the_processors_are_shared_with_it(tmp_path: Path) -> None:
    parent, child, launcher = start_parent(SLEEP, tmp_path / "log")
    # Ctrl-C goes to a process group; processors are shared out by session.
    assert len({os.getpgid(each) for each in (parent.pid, child, launcher)}) == 3
    assert {os.getsid(each) for each in (child, launcher)} == {os.getsid(parent.pid)}
    parent.kill()
    parent.wait()
    assert within(3, lambda: gone(child) and gone(launcher))


def test_kill_9_of_the_parent_ends_what_the_child_started(tmp_path: Path) -> None:
    parent, child, _ = start_parent(WITH_CHILD, tmp_path / "log")
    assert within(5, lambda: psutil.Process(child).children())
    grandchild = psutil.Process(child).children()[0].pid
    parent.kill()
    parent.wait()
    assert within(3, lambda: gone(child) and gone(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_kill_9_of_the_launcher_ends_the_child(tmp_path: Path) -> None:
    parent, child, launcher = start_parent(SLEEP, tmp_path / "log")
    try:
        os.kill(launcher, signal.SIGKILL)
        assert within(2, lambda: gone(child))
    finally:
        parent.kill()
        parent.wait()


def run(argv: list[str], log: Path, environment: dict[str, str] | None = None) -> Process:
    lock = os.open(os.devnull, os.O_RDONLY)
    try:
        return Process(argv, environment or dict(os.environ), None, LogFile(log), lock, lambda: None)
    finally:
        os.close(lock)


@pytest.mark.parametrize(
    ("code", "expected"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 11)", -11)]
)
def test_the_exit_code_is_the_commands_own(tmp_path: Path, code: str, expected: int) -> None:
    process = run([sys.executable, "-c", code], tmp_path / "log")
    assert process.ended.wait(5)
    assert process.exit_code == expected


def test_a_command_that_does_not_exist_says_so(tmp_path: Path) -> None:
    process = run(["no-such-command-anywhere"], tmp_path / "log")
    assert process.ended.wait(5)
    assert process.error == "no-such-command-anywhere: No such file or directory"


def test_the_child_has_no_descriptor_but_its_log(tmp_path: Path) -> None:
    code = "import os; print(sorted(os.listdir('/dev/fd')), os.getpgid(0) == os.getpid())"
    process = run([sys.executable, "-c", code], tmp_path / "log")
    assert process.ended.wait(5)
    # 3 is the listing itself.
    assert LogFile(tmp_path / "log").tail() == ["['0', '1', '2', '3'] True"]


def test_what_a_child_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    process = run([sys.executable, "-c", code], tmp_path / "log")
    assert process.ended.wait(5)
    assert within(2, lambda: gone(int(LogFile(tmp_path / "log").tail()[-1])))


def test_no_thread_and_no_descriptor_stays_behind(tmp_path: Path) -> None:
    run([sys.executable, "-c", ""], tmp_path / "log").ended.wait(5)
    threads, descriptors = threading.active_count(), len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        run([sys.executable, "-c", ""], tmp_path / "log").ended.wait(5)
    assert within(2, lambda: threading.active_count() <= threads)
    assert len(list(Path("/dev/fd").iterdir())) <= descriptors


def test_a_log_is_kept_within_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.embedded.process.LOG_LIMIT_BYTES", 1000)
    log = LogFile(tmp_path / "x.log")
    descriptor = log.open_run(["x"])
    for number in range(100):
        os.write(descriptor, f"line {number:03d} of a talkative part\n".encode())
    log.limit()
    os.write(descriptor, b"the last one\n")
    os.close(descriptor)
    assert (tmp_path / "x.log").read_text() == "the last one\n"
    assert (tmp_path / "x.log.1").read_text().endswith("line 099 of a talkative part\n")
    assert log.tail() == ["the last one"]


def test_the_tail_is_of_the_present_run_and_without_stack_frames(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log")
    for text in ("of an earlier run\n", "java.io.IOException: No space left\n\tat a.b.C(C.java:1)\n\n"):
        descriptor = log.open_run(["x"])
        os.write(descriptor, text.encode())
        os.close(descriptor)
    assert log.tail() == ["java.io.IOException: No space left"]
