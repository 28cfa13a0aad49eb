"""Downloads: fetched once, checked always, repaired when damaged, and safe to fetch by several processes at once."""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from deploy.embedded import cache as cache_module
from deploy.embedded.artifacts import pinned
from deploy.embedded.cache import Cache, cache_dir
from deploy.embedded.errors import DownloadError
from deploy.embedded.report import ConsoleReporter, Silent
from tests.embedded.repository import Repository

JARS = {"alpha": b"a" * 5000, "beta": b"b" * 70000, "gamma": b"c" * 10}
TREE = {"quarkus-run.jar": b"runner", "lib/main/x.jar": b"x" * 3000}


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository(JARS, TREE).serving() as served:
        yield served


def make_cache(repository: Repository, folder: Path) -> Cache:
    return Cache(folder, Silent(), repository.table, repository.url)


def test_files_are_fetched_once_and_in_the_order_of_the_table(repository: Repository, tmp_path: Path) -> None:
    first = make_cache(repository, tmp_path).ensure()
    assert [jar.name for jar in first.kafka_jars] == ["alpha-1.0.jar", "beta-1.0.jar", "gamma-1.0.jar"]
    assert [jar.read_bytes() for jar in first.kafka_jars] == list(JARS.values())
    assert (first.registry_home / "lib/main/x.jar").read_bytes() == TREE["lib/main/x.jar"]
    assert make_cache(repository, tmp_path).ensure() == first
    assert set(repository.requests.values()) == {1}
    assert not list(tmp_path.glob("aside-*"))


@pytest.mark.parametrize("damage", [b"", b"a" * 4999, b"a" * 4999 + b"x"], ids=["empty", "cut", "one byte changed"])
def test_a_damaged_jar_is_fetched_again_and_no_other(repository: Repository, tmp_path: Path, damage: bytes) -> None:
    jar = make_cache(repository, tmp_path).ensure().kafka_jars[0]
    jar.write_bytes(damage)
    make_cache(repository, tmp_path).ensure()
    assert jar.read_bytes() == JARS["alpha"]
    assert repository.requests["alpha-1.0.jar"] == 2
    assert repository.requests["beta-1.0.jar"] == 1


def test_a_damaged_file_of_the_unpacked_registry_is_repaired(repository: Repository, tmp_path: Path) -> None:
    home = make_cache(repository, tmp_path).ensure().registry_home
    (home / "lib/main/x.jar").write_bytes(b"x" * 2999 + b"y")
    (home / "lib/main/added.jar").write_bytes(b"not ours")
    make_cache(repository, tmp_path).ensure()
    assert (home / "lib/main/x.jar").read_bytes() == TREE["lib/main/x.jar"]
    assert not (home / "lib/main/added.jar").exists()


def test_a_hiccup_is_tried_again(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "FIRST_PAUSE_S", 0.01)
    repository.faults = {"alpha-1.0.jar": [503, b"a" * 4999 + b"x"], repository.registry.filename: [b"short"]}
    jars = make_cache(repository, tmp_path).ensure().kafka_jars
    assert jars[0].read_bytes() == JARS["alpha"]
    assert repository.requests["alpha-1.0.jar"] == 3
    assert repository.requests[repository.registry.filename] == 2


def test_a_file_that_is_never_the_pinned_one_is_refused(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "FIRST_PAUSE_S", 0.01)
    repository.content["beta-1.0.jar"] = b"B" * 70000
    with pytest.raises(
        DownloadError, match=r"org.example:beta-1.0.jar in 4 attempts.*not the pinned file.*TOCSIN_MAVEN"
    ):
        make_cache(repository, tmp_path).ensure()
    assert not (tmp_path / "jars" / "beta-1.0.jar").exists()
    assert not list(tmp_path.glob("aside-*"))


def test_no_network_says_what_to_do(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "FIRST_PAUSE_S", 0.01)
    with pytest.raises(DownloadError, match=r"ConnectionError.*HTTPS_PROXY.*copy the folder"):
        Cache(tmp_path, Silent(), repository.table, "http://127.0.0.1:9").ensure()


def test_too_little_space_is_said_before_fetching(repository: Repository, tmp_path: Path) -> None:
    huge = replace(repository.jars[0], size=10**15)
    table = replace(repository.table, kafka=(huge,))
    with pytest.raises(DownloadError, match=r"not enough space in .* MB free, .* MB needed"):
        Cache(tmp_path, Silent(), table, repository.url).ensure()
    assert not repository.requests


def test_a_folder_that_cannot_be_made_is_said(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"cannot store downloads in .*TOCSIN_CACHE_DIR"):
        make_cache(repository, tmp_path / "file" / "below").ensure()


def _ensure(repository_table: object, url: str, folder: Path, answers: multiprocessing.Queue[list[bytes]]) -> None:
    found = Cache(folder, Silent(), repository_table, url).ensure()  # type: ignore[arg-type]
    answers.put([jar.read_bytes() for jar in found.kafka_jars])


def test_two_processes_at_once_fetch_each_file_once(repository: Repository, tmp_path: Path) -> None:
    repository.delay_s = 0.2
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[list[bytes]] = context.Queue()
    arguments = (repository.table, repository.url, tmp_path, answers)
    processes = [context.Process(target=_ensure, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=30) for _ in processes] == [list(JARS.values())] * 2
    for process in processes:
        process.join(10)
        assert process.exitcode == 0
    assert set(repository.requests.values()) == {1}


def test_leftovers_of_a_killed_download_are_removed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "aside-killed" / "x").mkdir(parents=True)
    make_cache(repository, tmp_path).ensure()
    assert not list(tmp_path.glob("aside-*"))


def test_progress_is_plain_lines_where_nobody_watches(repository: Repository, tmp_path: Path) -> None:
    output = io.StringIO()
    reporter = ConsoleReporter(Console(file=output, force_terminal=False, width=200))
    Cache(tmp_path, reporter, repository.table, repository.url).ensure()
    lines = output.getvalue().splitlines()
    assert lines[0].startswith("tocsin: downloading Kafka 1.0 and the registry 1.0")
    assert "\x1b" not in output.getvalue()
    assert any("unpacking" in line for line in lines)


def test_progress_is_a_bar_on_a_terminal(repository: Repository, tmp_path: Path) -> None:
    output = io.StringIO()
    repository.delay_s = 0.3
    reporter = ConsoleReporter(Console(file=output, force_terminal=True, width=200))
    Cache(tmp_path, reporter, repository.table, repository.url).ensure()
    assert "\x1b[" in output.getvalue()
    assert "downloading Kafka" in output.getvalue()


def test_a_proxys_certificate_is_looked_for_in_the_system(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    fetch, seen = cache_module.download, []

    def refused_at_first(*arguments: object) -> Path:
        seen.append(os.environ.get("REQUESTS_CA_BUNDLE"))
        if seen[-1] is None:
            raise OSError("certificate verify failed: [SSL: CERTIFICATE_VERIFY_FAILED]")
        return fetch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_module, "download", refused_at_first)
    monkeypatch.setattr(cache_module, "FETCHERS", 1)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    make_cache(repository, tmp_path).ensure()
    assert seen == [None, __file__, __file__, __file__, __file__]


def test_where_downloads_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    for name in ("TOCSIN_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_dir(data) == data / "cache", "no home"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert cache_dir(data) == data / "cache", "a home that cannot be written"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir(data) == tmp_path / "home/.cache/tocsin"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir(data) == tmp_path / "home/.cache/tocsin", "XDG: relative paths are invalid"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir(data) == tmp_path / "xdg/tocsin"
    monkeypatch.setenv("TOCSIN_CACHE_DIR", str(tmp_path / "named"))
    assert cache_dir(data) == tmp_path / "named"


def test_the_table_pins_every_file_of_the_versions_we_name() -> None:
    table = pinned()
    assert (table.kafka_version, table.registry_version) == ("4.3.1", "3.3.3")
    names = {item.name: item for item in table.kafka}
    assert len(names) == len(table.kafka), "two versions of one library on the class path"
    assert names["kafka-clients"].version == "4.3.1", "a foreign dependency management changed Kafka's own versions"
    assert "log4j-slf4j-impl" in names, "without it Kafka has no logs"
    assert names["log4j-slf4j-impl"].version == names["log4j-core"].version
    assert all(len(item.sha256) == 64 and item.size > 0 for item in (*table.kafka, table.registry))
