"""Parts that die, stall, hang at start or will not stop; on real processes, without the infrastructure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import (
    AlreadyRunningError,
    Part,
    PartFailedError,
    Platform,
    PlatformError,
    State,
    running,
    supervisor,
)
from deploy.embedded.errors import advise
from schemas.settings import PACKAGE_ROOT, Settings
from tests.embedded.test_launcher import gone, within

SLEEP = "import time; time.sleep(600)"


def python(name: str, code: str = SLEEP, **options: object) -> Part:
    return Part(name, [sys.executable, "-c", code], **options)  # type: ignore[arg-type]


class Told:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def download(self, title: str, total_bytes: int) -> object:
        raise AssertionError("nothing to download here")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def platform(tmp_path: Path, told: Told) -> Iterator[Platform]:
    with Platform(tmp_path / "data", reporter=told, infrastructure=()) as started:  # type: ignore[arg-type]
        started.start()
        yield started


def test_a_part_that_is_killed_is_started_again(platform: Platform, told: Told) -> None:
    (worker,) = platform.add_parts([python("worker")])
    first = worker.pid
    worker.kill()
    assert within(5, lambda: worker.restarts == 1 and worker.state is State.READY)
    assert worker.pid not in (None, first)
    assert worker.last_end == "it was ended by SIGKILL"
    assert any("worker: it was ended by SIGKILL; starting it again (restart 1)" in line for line in told.lines)


def test_five_kills_in_a_row_are_survived(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PAUSES_S", (0.01,))
    (worker,) = platform.add_parts([python("worker")])
    for expected in range(1, 6):
        worker.kill()
        assert within(8, lambda expected=expected: worker.restarts == expected and worker.state is State.READY)
    assert not platform.wait(0)


def test_a_part_that_dies_at_once_is_given_up_with_its_last_lines(platform: Platform) -> None:
    code = "print('loading'); raise OSError(28, 'No space left on device')"
    with pytest.raises(PartFailedError) as caught:
        platform.add_parts([python("worker", code)])
    text = str(caught.value)
    assert "worker failed: it ended with exit code 1, 2 times in a row" in text
    assert str(platform.data_dir / "logs" / "worker.log") in text
    assert "| OSError: [Errno 28] No space left on device" in text
    assert "the disk is full" in text
    assert platform.part("worker").state is State.FAILED
    with pytest.raises(PartFailedError):
        platform.wait(1)


def test_a_part_that_served_and_keeps_dying_is_given_up(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PAUSES_S", (0.01,))
    monkeypatch.setattr(supervisor, "QUICK_ENDS", 3)
    (worker,) = platform.add_parts([python("worker", "import time; time.sleep(0.5)", settle_s=0.1)])
    with pytest.raises(PartFailedError, match="it ended with exit code 0, 3 times in a row"):
        platform.wait(20)
    assert worker.restarts == 2


def test_a_command_that_does_not_exist_fails_at_once(platform: Platform) -> None:
    began = time.monotonic()
    with pytest.raises(PartFailedError, match="cannot run no-such-command: No such file or directory"):
        platform.add_parts([Part("worker", ["no-such-command"])])
    assert time.monotonic() - began < 5
    assert platform.part("worker").restarts == 0


def test_a_part_that_never_gets_ready_says_what_was_missing(platform: Platform) -> None:
    part = python("worker", ready=lambda: "port 1 is closed", ready_timeout_s=0.5)
    with pytest.raises(PartFailedError, match=r"not ready after 0 s \(port 1 is closed\)"):
        platform.add_parts([part])
    assert platform.part("worker").pid is None


def test_a_part_that_stalls_is_killed_and_started_again(platform: Platform, told: Told) -> None:
    answers = [True, "nothing committed for 45 s", True]

    def alive() -> bool | str:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    (worker,) = platform.add_parts([python("worker", alive=alive, alive_every_s=0.1)])
    first = worker.pid
    assert within(5, lambda: worker.restarts == 1 and worker.state is State.READY)
    assert worker.pid != first
    assert worker.last_end == "it stalled: nothing committed for 45 s"
    time.sleep(0.5)
    assert worker.restarts == 1


def test_a_liveness_check_that_raises_does_no_harm_and_is_reset_before_each_start(platform: Platform) -> None:
    class Broken:
        resets = calls = 0

        def reset(self) -> None:
            self.resets += 1

        def __call__(self) -> bool | str:
            self.calls += 1
            raise RuntimeError("cannot ask")

    alive = Broken()
    (worker,) = platform.add_parts([python("worker", alive=alive, alive_every_s=0.05)])
    assert within(5, lambda: alive.calls >= 3)
    assert (worker.restarts, alive.resets) == (0, 1)
    worker.kill()
    assert within(5, lambda: worker.restarts == 1 and worker.state is State.READY)
    assert alive.resets == 2


def test_a_task_runs_to_its_end_once(platform: Platform) -> None:
    (task,) = platform.add_parts([python("task", "print('done')", restart=False)])
    assert within(5, lambda: task.state is State.ENDED)
    assert (task.exit_code, task.restarts, task.log.tail()) == (0, 0, ["done"])
    with pytest.raises(PartFailedError, match="exit code 3"):
        platform.add_parts([python("broken", "raise SystemExit(3)", restart=False)])


def test_order_of_start_and_stop_follows_needs(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    code = (
        "import signal, sys, time\n"
        "def mark(text): open(sys.argv[1], 'a').write(text + sys.argv[2] + '\\n')\n"
        "def end(*_): time.sleep(0.2); mark('-'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "mark('+'); time.sleep(600)\n"
    )

    def part(name: str, *needs: str) -> Part:
        argv = [sys.executable, "-c", code, str(marks), name]
        return Part(name, argv, needs=needs, ready=lambda: marks.exists() and f"+{name}" in marks.read_text())

    with Platform(tmp_path / "data", infrastructure=()) as platform:
        platform.start()
        platform.add_parts([part("store"), part("worker", "store"), part("view", "worker")])
    assert marks.read_text().split() == ["+store", "+worker", "+view", "-view", "-worker", "-store"]


def test_names_and_needs_are_checked(platform: Platform) -> None:
    platform.add_parts([python("worker")])
    with pytest.raises(ValueError, match="a part named worker already"):
        platform.add_parts([python("worker")])
    with pytest.raises(ValueError, match="needs kafka, which is not there"):
        platform.add_parts([python("other", needs=("kafka",))])
    with pytest.raises(ValueError, match="plain name"):
        python("a/b")


def test_stop_and_start_by_hand(platform: Platform) -> None:
    (worker,) = platform.add_parts([python("worker")])
    pid = worker.pid
    assert pid is not None
    worker.stop()
    assert (worker.state, worker.pid, gone(pid)) == (State.STOPPED, None, True)
    worker.start(5)
    assert (worker.state, worker.restarts) == (State.READY, 0)


def test_a_part_that_ignores_the_stop_signal_is_killed(platform: Platform) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    (worker,) = platform.add_parts([python("worker", code, stop_timeout_s=0.5)])
    assert within(5, lambda: worker.log.tail() == ["up"])
    began = time.monotonic()
    worker.stop()
    assert 0.4 < time.monotonic() - began < 5
    assert worker.exit_code == -signal.SIGKILL


def test_parts_get_the_settings_in_their_environment(platform: Platform) -> None:
    assert platform.settings is not None
    code = "from schemas.settings import Settings; print(Settings().model_dump_json())"
    (task,) = platform.add_parts([python("task", code, restart=False, env={"TOCSIN_TOPIC_PARTITIONS": "7"})])
    assert within(10, lambda: task.state is State.ENDED)
    seen = Settings.model_validate_json(task.log.path.read_text().splitlines()[-1])
    assert seen.topic_partitions == 7
    assert seen.kafka_bootstrap == platform.settings.kafka_bootstrap
    assert seen.clickhouse_password == platform.settings.clickhouse_password != ""
    assert seen.data_dir == platform.data_dir


def test_the_endpoints_file_is_private_complete_and_gone_afterwards(tmp_path: Path) -> None:
    with Platform(tmp_path / "data", infrastructure=()) as platform:
        settings = platform.start()
        platform.update_endpoints(desk_url="http://127.0.0.1:1234")
        file = tmp_path / "data" / "endpoints.json"
        assert file.stat().st_mode & 0o777 == 0o600
        loaded = Settings.load(tmp_path / "data")
        for name in (
            "kafka_bootstrap",
            "registry_url",
            "clickhouse_url",
            "clickhouse_password",
            "clickhouse_reader_password",
        ):
            assert getattr(loaded, name) == getattr(settings, name)
        assert loaded.desk_url == "http://127.0.0.1:1234"
        assert settings.clickhouse_password != settings.clickhouse_reader_password
    assert not file.exists()
    with Platform(tmp_path / "data", infrastructure=()) as again:
        assert again.start().clickhouse_password == settings.clickhouse_password, "kept between runs"


UP = """
import sys
from pathlib import Path
from deploy.embedded import Part, Platform, PlatformError
try:
    with Platform(Path(sys.argv[1]), infrastructure=()) as platform, platform.signals():
        platform.start()
        platform.add_parts([Part("worker", [sys.executable, "-c", sys.argv[2]], stop_timeout_s=20)])
        print("up", platform.part("worker").pid, flush=True)
        platform.wait(600)
    print("stopped", flush=True)
except PlatformError as problem:
    sys.exit(f"{type(problem).__name__}: {problem}")
"""


def up(data_dir: Path, code: str = SLEEP) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UP, str(data_dir), code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)},
    )


def worker_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline().split()[1])


def test_a_second_up_on_the_same_directory_says_who_runs(tmp_path: Path) -> None:
    assert running(tmp_path / "data") is None
    with Platform(tmp_path / "data", infrastructure=()) as platform:
        settings = platform.start()
        second = up(tmp_path / "data")
        _, error = second.communicate(timeout=30)
        assert second.returncode == 1
        assert error.startswith(
            f"AlreadyRunningError: Tocsin already runs on {tmp_path / 'data'}: process {os.getpid()}"
        )
        assert f"since {platform.started_at:%Y-%m-%d %H:%M}" in error
        assert settings.kafka_bootstrap in error
        assert "--data-dir" in error
        who = running(tmp_path / "data")
        assert who is not None
        assert (who.pid, who.addresses["kafka_bootstrap"]) == (os.getpid(), settings.kafka_bootstrap)
        with pytest.raises(AlreadyRunningError):
            Platform(tmp_path / "data", infrastructure=()).start()
        assert (tmp_path / "data" / "endpoints.json").exists(), "the first one's file is left alone"
    assert running(tmp_path / "data") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_order(tmp_path: Path, number: signal.Signals) -> None:
    process = up(tmp_path / "data")
    worker = worker_of(process)
    process.send_signal(number)
    output, error = process.communicate(timeout=15)
    assert (process.returncode, output, error) == (0, "stopped\n", "")
    assert gone(worker)


def test_a_second_signal_kills_at_once(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    process = up(tmp_path / "data", code)
    worker = worker_of(process)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    assert not gone(worker), "it has 20 s to stop by itself"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert gone(worker)


def test_a_start_after_kill_9_waits_for_the_parts_and_finds_its_way(tmp_path: Path, told: Told) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    process = up(tmp_path / "data", code)
    worker = worker_of(process)
    assert within(5, lambda: "\nup\n" in (tmp_path / "data/logs/worker.log").read_text())
    process.kill()
    process.wait()
    assert (tmp_path / "data" / "endpoints.json").exists()
    assert running(tmp_path / "data") is None
    with Platform(tmp_path / "data", reporter=told, infrastructure=()) as platform:  # type: ignore[arg-type]
        platform.start()
        assert gone(worker)
        assert "waiting for the parts of an earlier run to end" in told.lines


def test_a_directory_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match=r"cannot use the data directory .*--data-dir"):
        Platform(tmp_path / "file" / "data", infrastructure=()).start()
    with pytest.raises(PlatformError, match="must not have"):
        Platform(tmp_path / "a:b", infrastructure=()).start()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state.json").write_text("{")
    with pytest.raises(PlatformError, match=r"state.json is damaged"):
        Platform(tmp_path / "data", infrastructure=()).start()


@pytest.mark.parametrize(
    ("line", "code", "advice"),
    [
        ("java.io.IOException: No space left on device", 1, "disk is full"),
        ("Port 8081 seems to be in use by another process.", 1, "another program took the port"),
        ("java.lang.OutOfMemoryError: Java heap space", 3, "not enough memory"),
        ("Failed to acquire lock on file .lock in data", 1, "another process still uses this data"),
        ("Error: Unable to access jarfile /x/quarkus-run.jar", 1, "missing or damaged"),
        ("ModuleNotFoundError: No module named 'faust'", 1, "make install"),
        ("java.nio.file.AccessDeniedException: data", 1, "owner and rights"),
        ("", -9, "want of memory"),
        ("something else", 1, "tocsin doctor"),
    ],
)
def test_advice_fits_the_log(line: str, code: int, advice: str) -> None:
    assert advice in advise([line], code)
