"""The access log: nothing is lost while ClickHouse is away, nobody waits, and the real store takes the rows."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dashboards.desk.auth.access_log import COLUMNS, AccessLog, Entry
from dashboards.desk.auth.roles import ROLE_PERMISSIONS, Person
from schemas.migrations import migrate_platform
from schemas.settings import Settings
from streams.store import connect
from tests.clickhouse.conftest import FULL, READER, launch
from tests.dashboards.desk.auth.site import Clock

WIM = Person("wim", "watch_officer", "Wim", ROLE_PERMISSIONS["watch_officer"])


class Store:
    """Takes rows, or is away."""

    def __init__(self) -> None:
        self.rows: list[Entry] = []
        self.away = False

    def __call__(self, entries: Sequence[Entry]) -> None:
        if self.away:
            raise ConnectionError("nobody answers")
        self.rows += entries

    def targets(self) -> list[str]:
        return [row.target for row in self.rows]


def opened(folder: Path, store: Store, **options: Any) -> AccessLog:
    options.setdefault("flush_every_s", 3600)
    return AccessLog(Settings(data_dir=folder), insert=store, now=Clock(), **options)


def test_rows_wait_while_the_store_is_away_and_come_in_order(tmp_path: Path) -> None:
    store = Store()
    access = opened(tmp_path, store, max_kept=10)
    store.away = True
    for number in range(25):
        access.write(WIM, "view", f"/{number}")
        if number % 7 == 0:
            assert not access.flush()
    assert not access.flush()
    spilled = list(tmp_path.glob("access-log*"))
    assert sum(len(file.read_text().splitlines()) for file in spilled) == 15
    assert {stat.S_IMODE(file.stat().st_mode) for file in spilled} == {0o600}
    store.away = False
    access.close()
    assert store.targets() == [f"/{number}" for number in range(25)]
    assert list(tmp_path.glob("access-log*")) == []


def test_rows_outlive_a_process_that_ends_while_the_store_is_away(tmp_path: Path) -> None:
    store = Store()
    store.away = True
    access = opened(tmp_path, store)
    access.write(WIM, "view", "/before")
    access.close()
    with (tmp_path / "access-log.jsonl").open("a") as file:
        file.write('{"at": "2026-03-01T12:00')
    store.away = False
    access = opened(tmp_path, store)
    access.write(None, "login", "/after", allowed=False)
    access.close()
    assert store.targets() == ["/before", "/after"]
    assert store.rows[0] == Entry(Clock().time, "wim", "watch_officer", "view", "/before", True, "desk", "", "")


def test_a_page_never_waits_for_the_store(tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def stuck(_: Sequence[Entry]) -> None:
        reached.set()
        assert go_on.wait(30)

    access = AccessLog(Settings(data_dir=tmp_path), insert=stuck, flush_every_s=0.01)
    access.write(WIM, "view", "/1")
    assert reached.wait(30)
    access.write(WIM, "view", "/2")
    go_on.set()
    access.close()


def test_what_is_wrong_with_the_file_does_not_stop_the_desk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    (tmp_path / "access-log.jsonl").mkdir()
    access = opened(tmp_path, store)
    access.write(WIM, "view", "/1")
    access.close()
    assert store.targets() == ["/1"]
    assert "kept rows of the access log cannot be read" in caplog.text
    (tmp_path / "file").touch()
    store.away = True
    access = opened(tmp_path / "file", store)
    access.write(WIM, "view", "/2")
    access.close()
    assert "rows of the access log are lost" in caplog.text


def test_the_real_store_takes_the_rows_and_the_reader_sees_them(tmp_path: Path) -> None:
    server = launch(tmp_path)
    try:
        settings = Settings(
            data_dir=tmp_path,
            clickhouse_url=server.url,
            clickhouse_user=FULL[0],
            clickhouse_password=FULL[1],
            clickhouse_reader_user=READER[0],
            clickhouse_reader_password=READER[1],
        )
        migrate_platform(settings)
        access = AccessLog(settings, now=Clock(), flush_every_s=0.05)
        access.write(WIM, "view", "/alerts/a-1", address="192.0.2.1", detail="GET 200 ?q='\"\\ü")
        access.write(None, "login", allowed=False, via="desk", address="192.0.2.9")
        access.close()
        found = connect(settings, reader=True).query(
            f"SELECT {', '.join(COLUMNS)} FROM access_log ORDER BY person DESC"
        )
        assert [list(row)[1:] for row in found.result_rows] == [
            ["wim", "watch_officer", "view", "/alerts/a-1", True, "desk", "192.0.2.1", "GET 200 ?q='\"\\ü", ""],
            ["", "", "login", "", False, "desk", "192.0.2.9", "", ""],
        ]
        assert found.result_rows[0][0].replace(tzinfo=None) == Clock().time.replace(tzinfo=None)
    finally:
        server.stop()


def test_lines_of_the_file_are_plain_json(tmp_path: Path) -> None:
    store = Store()
    store.away = True
    access = opened(tmp_path, store)
    access.write(WIM, "view", "x" * 5000)
    access.close()
    line = json.loads((tmp_path / "access-log.jsonl").read_text())
    assert (line["at"], len(line["target"])) == ("2026-03-01T12:00:00+00:00", 1000)
