"""Ports, liveness over time, and what the doctor says."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import CommittedProgress, Platform, Silent, Unresponsive, doctor
from deploy.embedded.cache import Cache
from deploy.embedded.doctor import Finding, Level, examine
from deploy.embedded.errors import PlatformError
from deploy.embedded.ports import Ports, is_free
from schemas.settings import Settings
from tests.embedded.repository import Repository


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_not_chosen(taken: int) -> None:
    ports = Ports({"kafka": taken})
    chosen = ports.choose("kafka", taken)
    assert chosen != taken
    assert 15000 <= chosen < 32000, "outside the range of outgoing connections"
    assert ports.choose("kafka", taken) == chosen
    ports.release()


def test_a_port_taken_on_all_addresses_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])


def test_the_port_of_the_last_run_comes_first(taken: int) -> None:
    first = Ports({})
    chosen = first.choose("kafka", taken)
    first.release()
    again = Ports({"kafka": chosen})
    assert again.choose("kafka", taken) == chosen
    again.release()


def test_platforms_that_start_at_once_do_not_take_the_same_port(taken: int) -> None:
    usual = Ports({}).choose("any", taken)
    first, second = Ports({}), Ports({})
    a = first.choose("kafka", usual)
    assert second.choose("kafka", a) != a
    first.release()
    second.release()


def test_no_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.embedded.ports.is_free", lambda _: False)
    with pytest.raises(PlatformError, match=r"no free port for kafka on 127\.0\.0\.1"):
        Ports({}).choose("kafka", 9092)


class Group:
    """Judges a consumer group on a clock of its own; partitions are numbers of one topic."""

    def __init__(self) -> None:
        self.now = 0.0
        self.check = CommittedProgress(
            Settings(kafka_bootstrap="nowhere:1"), "g", ["t"], stall_s=45, clock=lambda: self.now
        )

    def at(self, seconds: float, **offsets: tuple[int, int]) -> bool | str:
        self.now = seconds
        return self.check.judge({("t", int(name[1:])): pair for name, pair in offsets.items()})


def test_a_group_that_commits_nothing_for_45_seconds_has_stalled() -> None:
    group = Group()
    assert group.at(0, p0=(5, 10)) is True
    assert group.at(44, p0=(5, 90)) is True
    assert group.at(45, p0=(5, 99)) == "group g is 94 events behind and has committed nothing for 45 s"


def test_time_without_lag_does_not_count() -> None:
    group = Group()
    assert group.at(0, p0=(10, 10)) is True
    assert group.at(1000, p0=(10, 10)) is True
    assert group.at(1005, p0=(10, 11)) is True
    assert group.at(1044, p0=(10, 11)) is True
    assert group.at(1046, p0=(10, 11)) is not True


def test_slow_progress_is_progress() -> None:
    group = Group()
    for step in range(20):
        assert group.at(step * 40, p0=(step, 1000)) is True


def test_one_stuck_partition_counts_after_four_times_as_long() -> None:
    group = Group()
    for step in range(5):
        assert group.at(step * 40, p0=(step, 1000), p1=(3, 10)) is True
    assert group.at(185, p0=(6, 1000), p1=(3, 10)) == "group g has not moved on t[1] for 185 s"


def test_a_broker_that_cannot_be_asked_is_not_the_workers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group()
    assert group.at(0, p0=(5, 10)) is True
    monkeypatch.setattr(group.check, "read", lambda: (_ for _ in ()).throw(RuntimeError("down")))
    group.now = 100
    assert group.check() is True
    assert group.at(101, p0=(5, 10)) is True, "the time starts anew"
    assert group.at(146, p0=(5, 10)) is not True


def test_a_part_is_unresponsive_only_after_its_time() -> None:
    now, answer = 0.0, True
    check = Unresponsive(lambda: answer or "closed", 60, clock=lambda: now)
    assert check() is True
    answer = False
    assert check() is True
    now = 59
    assert check() is True
    now = 60
    assert check() == "no answer for 60 s (closed)"
    check.reset()
    assert check() is True
    answer, now = True, 200
    assert check() is True


def find(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository({"alpha": b"a", "beta": b"bb"}, {"quarkus-run.jar": b"r"}).serving() as served:
        yield served


@pytest.fixture
def pinned(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr("deploy.embedded.cache.pinned", lambda: repository.table)
    return repository


def test_the_doctor_finds_a_sound_machine_sound(pinned: Repository, tmp_path: Path) -> None:
    Cache(tmp_path / "cache", Silent(), mirror=pinned.url).ensure()
    findings = examine(tmp_path / "data", tmp_path / "cache")
    names = [finding.name for finding in findings]
    assert names == ["python", "codecs", "data directory", "memory", "open files", "java", "downloads", "ports"]
    for name in ("python", "codecs", "java", "downloads", "ports"):
        assert find(findings, name).level is Level.OK, find(findings, name)
    assert 'version "25' in find(findings, "java").found
    assert not (tmp_path / "data").exists(), "looking changes nothing"


def test_the_doctor_tries_the_network_only_if_files_are_missing(pinned: Repository, tmp_path: Path) -> None:
    findings = examine(tmp_path / "data", tmp_path / "cache", pinned.url)
    assert "3 files" in find(findings, "downloads").found
    assert find(findings, "network").level is Level.OK
    assert dict(pinned.requests) == {"alpha-1.0.jar": 1}
    findings = examine(tmp_path / "data", tmp_path / "cache", "http://127.0.0.1:9")
    assert find(findings, "network").level is Level.FAIL
    assert "HTTPS_PROXY" in find(findings, "network").advice


def test_the_doctor_says_who_runs_and_what_is_wrong(
    pinned: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    Cache(tmp_path / "cache", Silent(), mirror=pinned.url).ensure()
    with Platform(tmp_path / "data", infrastructure=()) as platform:
        platform.start()
        findings = examine(tmp_path / "data", tmp_path / "cache")
        assert "in use by process" in find(findings, "data directory").found
        assert "running platform" in find(findings, "ports").found
    monkeypatch.setattr(doctor, "MIN_MEMORY_BYTES", 10**15)
    monkeypatch.setattr(doctor, "MIN_DATA_BYTES", 10**18)
    monkeypatch.setattr(doctor, "USUAL_PORTS", {"kafka": taken})
    monkeypatch.setattr(doctor, "java", lambda: sys.executable)  # ends with an error for -Xmx64m
    findings = examine(tmp_path / "data", tmp_path / "cache")
    assert find(findings, "memory").level is Level.WARN
    assert find(findings, "data directory").level is Level.FAIL
    assert find(findings, "java").level is Level.FAIL
    assert f"taken: {taken} (kafka); others are chosen" in find(findings, "ports").found
    for name in ("memory", "data directory", "java"):
        assert find(findings, name).advice


def test_the_launcher_needs_nothing_but_the_standard_library() -> None:
    launcher = Path(doctor.__file__).with_name("launcher.py")
    code = f"import runpy; runpy.run_path({str(launcher)!r}, run_name='imported')"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
