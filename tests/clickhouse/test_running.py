"""Many clients at once, clients that leave, limits, restarts and crashes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.clickhouse.conftest import FULL, READER, USERS, Server, command

PLAIN = {"Accept-Encoding": "identity"}
SLOW = b"SELECT count() FROM numbers(100000000000) WHERE sin(number) > 2"


def _running(server: Server, text: str) -> int:
    return int(
        server.query(f"SELECT count() FROM system.processes WHERE query LIKE '%{text}%' AND query NOT LIKE '%LIKE%'")
    )


def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def test_slow_statements_do_not_hold_up_others(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool, server.http() as http:
        slow = [pool.submit(server.query, "SELECT sleep(3)") for _ in range(4)]
        _until(lambda: _running(server, "sleep(3)") == 4)
        for _ in range(5):
            assert http.get("/ping").text == "Ok.\n"
            assert http.post("/", content=b"SELECT 1").text == "1\n"
        assert not any(one.done() for one in slow)
        assert [one.result() for one in slow] == ["0\n"] * 4


def test_readers_beside_inserts_see_whole_blocks(server: Server) -> None:
    server.query("CREATE TABLE beside (writer Int64, n Int64) ENGINE = MergeTree ORDER BY n")
    batch = 2000

    def insert(writer: int) -> None:
        with server.http() as http:
            for block in range(20):
                rows = b"".join(b"%d\t%d\n" % (writer, block * batch + row) for row in range(batch))
                answer = http.post("/", params={"query": "INSERT INTO beside FORMAT TSV"}, content=rows)
                assert answer.status_code == 200, answer.text

    def read(stop: threading.Event) -> list[int]:
        seen = []
        with server.http(READER) as http:
            while not stop.is_set():
                seen.append(int(http.post("/", content=b"SELECT count() FROM beside").text))
        return seen

    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read, stop) for _ in range(3)]
        for writer in [pool.submit(insert, number) for number in range(3)]:
            writer.result()
        stop.set()
        counts = [reader.result() for reader in readers]
    for seen in counts:
        assert seen == sorted(seen)
        assert all(count % batch == 0 for count in seen)
    assert server.query("SELECT count(), uniqExact(writer, n) FROM beside") == f"{60 * batch}\t{60 * batch}\n"


def test_a_reading_client_that_leaves_ends_its_statement(server: Server) -> None:
    with server.http() as http, pytest.raises(httpx.ReadTimeout):
        http.post("/", content=SLOW, timeout=0.5)
    _until(lambda: _running(server, "sin(number)") == 0)


def test_a_client_that_leaves_within_a_result_ends_its_statement(server: Server) -> None:
    sql = b"SELECT number, repeat('left early', 20) FROM numbers(100000000)"
    with server.http() as http, http.stream("POST", "/", headers=PLAIN, content=sql) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        assert _running(server, "left early") == 1
    _until(lambda: _running(server, "left early") == 0)


def test_a_client_that_leaves_within_an_insert_stores_nothing(server: Server) -> None:
    server.query("CREATE TABLE torn (a Int64) ENGINE = MergeTree ORDER BY a")
    head = f"POST /?user={FULL[0]}&password={FULL[1].replace(' ', '%20')}&query=INSERT%20INTO%20torn%20FORMAT%20TSV"
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(f"{head} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n".encode())
        raw.sendall(b"1\n" * 1_500_000)
        time.sleep(0.5)
    _until(lambda: _running(server, "INSERT INTO torn") == 0)
    assert server.query("SELECT count() FROM torn") == "0\n"


def test_kill_query_by_its_id(server: Server) -> None:
    with ThreadPoolExecutor(1) as pool, server.http() as http:
        slow = pool.submit(http.post, "/", params={"query_id": "to-be-killed"}, content=SLOW)
        _until(lambda: _running(server, "sin(number)") == 1)
        server.query("KILL QUERY WHERE query_id = 'to-be-killed' SYNC")
        assert slow.result().headers["X-ClickHouse-Exception-Code"] == "394"


def test_one_user_cannot_end_the_statement_of_another(server: Server) -> None:
    same = {"query_id": "of-both"}
    with ThreadPoolExecutor(1) as pool, server.http() as http, server.http(READER) as reader:
        slow = pool.submit(http.post, "/", params=same, content=b"SELECT sleep(2)")
        _until(lambda: _running(server, "sleep(2)") == 1)
        with pytest.raises(httpx.ReadTimeout):
            reader.post("/", params=same, content=SLOW, timeout=0.5)
        _until(lambda: _running(server, "sin(number)") == 0)
        assert slow.result().text == "0\n"


def test_max_execution_time(server: Server) -> None:
    with server.http() as http:
        started = time.monotonic()
        answer = http.post("/", params={"max_execution_time": "1"}, content=SLOW)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (408, "159")
        assert time.monotonic() - started < 10


def test_large_results_are_streamed(server: Server) -> None:
    """800 MB pass through while the process grows by less than half of that."""
    server.query("CREATE TABLE wide (n Int64, s String) ENGINE = MergeTree ORDER BY n")
    server.query(
        "INSERT INTO wide SELECT number, repeat(toString(number % 10), 1000) FROM numbers(800000)",
        max_block_size="8192",
        min_insert_block_size_bytes="16000000",
    )
    process = psutil.Process(server.process.pid)
    before, most, size = process.memory_info().rss, 0, 0
    with server.http() as http, http.stream("POST", "/", headers=PLAIN, content=b"SELECT s FROM wide") as answer:
        for chunk in answer.iter_raw(1 << 20):
            size += len(chunk)
            most = max(most, process.memory_info().rss)
    assert size == 800_000 * 1001
    assert most - before < 400 << 20


def test_acknowledged_rows_survive_sigterm_and_a_running_insert_is_finished(start: Callable[..., Server]) -> None:
    server = start()
    server.query("CREATE TABLE kept (a Int64) ENGINE = MergeTree ORDER BY a")
    server.query("INSERT INTO kept SELECT number FROM numbers(1000)")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(server.query, "INSERT INTO kept SELECT 1000 + number + sleepEachRow(0.1) FROM numbers(10)")
        _until(lambda: _running(server, "INSERT INTO kept") == 1)
        assert server.stop(signal.SIGTERM) == 0
        assert late.result() == ""
    assert "stopped, all data written" in server.errors()
    again = start()
    assert again.query("SELECT count() FROM kept") == "1010\n"
    assert again.stop(signal.SIGINT) == 0


def test_acknowledged_rows_survive_kill(start: Callable[..., Server]) -> None:
    server = start("--fsync")
    assert server.query("SELECT value FROM system.merge_tree_settings WHERE name = 'fsync_after_insert'") == "1\n"
    server.query("CREATE TABLE kept (a Int64) ENGINE = MergeTree ORDER BY a")
    acknowledged: list[int] = []

    def insert(writer: int) -> None:
        with server.http() as http:
            for block in range(1000):
                value = writer * 1_000_000 + block
                try:
                    answer = http.post("/", content=f"INSERT INTO kept SELECT {value} FROM numbers(10)".encode())
                except httpx.TransportError:
                    return
                assert answer.status_code == 200, answer.text
                acknowledged.append(value)

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(insert, number) for number in range(3)]
        _until(lambda: len(acknowledged) > 60)
        server.stop(signal.SIGKILL)
        for writer in writers:
            writer.result()
    again = start()
    stored = dict(line.split("\t") for line in again.query("SELECT a, count() FROM kept GROUP BY a").splitlines())
    assert {str(value) for value in acknowledged} <= set(stored)
    assert set(stored.values()) == {"10"}
    assert again.stop() == 0


def test_a_statement_that_does_not_end_is_ended_at_shutdown(start: Callable[..., Server]) -> None:
    server = start("--grace", "1")
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool, server.http() as http:
        slow = pool.submit(http.post, "/", content=SLOW, timeout=60)
        _until(lambda: _running(server, "sin(number)") == 1)
        assert server.stop(signal.SIGTERM) == 0
        assert slow.exception() is not None or slow.result().status_code >= 400
    assert time.monotonic() - started < 20


def _failed(arguments: list[str]) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_what_cannot_start_says_why(server: Server, tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    users.write_text(json.dumps(USERS))
    assert f"another server (process {server.process.pid}) has this directory open" in _failed(
        command(server.path, users)
    )
    assert "cannot listen" in _failed(command(tmp_path / "a", users, server.port))
    assert "cannot read the users" in _failed(command(tmp_path / "b", tmp_path / "missing.json"))
    assert "the engine reads options behind ? and &" in _failed(command(tmp_path / "a&b", users))
    assert f"{users}/tocsin-engine.xml: cannot be written: " in _failed(command(users, users))
    users.write_text('{"tocsin": {"password": ""}}')
    assert "cannot read the users" in _failed(command(tmp_path / "c", users))
    users.write_text('{"tocsin": {"password": "", "readonly": false}}')
    assert "each needs a password" in _failed(command(tmp_path / "d", users))


def test_the_data_directory_and_the_port_are_private(server: Server) -> None:
    assert server.path.stat().st_mode & 0o077 == 0
    listening = [c.laddr.ip for c in psutil.Process(server.process.pid).net_connections("tcp") if c.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_merges_stand_back_behind_statements(server: Server) -> None:
    server.query("CREATE TABLE merged (a UInt64, b String) ENGINE = MergeTree ORDER BY b")
    for seed in range(3):
        server.query(f"INSERT INTO merged SELECT number, toString(cityHash64(number + {seed})) FROM numbers(500000)")
    with ThreadPoolExecutor(1) as pool:
        merging = pool.submit(server.query, "OPTIMIZE TABLE merged FINAL")
        seen: set[int] = set()
        while not merging.done():
            seen |= _nice_of(server.process.pid, "MergeMutate")
            time.sleep(0.005)
        merging.result()
    server.query("DROP TABLE merged")
    assert seen
    if _may_set_priorities():
        assert 15 in seen


def _nice_of(pid: int, thread: str) -> set[int]:
    """Nice values of a process's threads of that name."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            if (task / "comm").read_text() == f"{thread}\n":
                found.add(os.getpriority(os.PRIO_PROCESS, int(task.name)))
    return found


def _may_set_priorities() -> bool:
    """Whether this process, and so the server, has CAP_SYS_NICE (capabilities(7))."""
    effective = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.M)
    return effective is not None and bool(int(effective[1], 16) >> 23 & 1)
