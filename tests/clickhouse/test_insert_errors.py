"""An INSERT whose rows can be read but not stored is answered with the engine's error, never with Ok."""

from __future__ import annotations

import resource
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.clickhouse.conftest import Server

# What to create (%s stands for a name), good rows, rows that cannot be stored, the error, rows that are stored anyway.
CASES = {
    "constraint": (
        ["CREATE TABLE %s (a UInt32, CONSTRAINT small CHECK a < 5) ENGINE = MergeTree ORDER BY a"],
        "1\n2\n", "1\n9\n", 469, "VIOLATED_CONSTRAINT", "Constraint `small` for table", 0,
    ),
    "nested": (
        ["CREATE TABLE %s (n Nested(x String, y String)) ENGINE = MergeTree ORDER BY tuple()"],
        "['a','b']\t['c','d']\n[]\t[]\n", "['a','b']\t['c']\n[]\t[]\n",
        190, "SIZES_OF_ARRAYS_DONT_MATCH", "have different array sizes", 0,
    ),
    "materialized column": (
        ["CREATE TABLE %s (a UInt32, b UInt8 MATERIALIZED throwIf(a > 5, 'too big')) ENGINE = MergeTree ORDER BY a"],
        "1\n2\n", "1\n9\n", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", "too big", 0,
    ),
    "partitions": (
        ["CREATE TABLE %s (a UInt32) ENGINE = MergeTree PARTITION BY a ORDER BY a"],
        "1\n2\n", "".join(f"{number}\n" for number in range(200)),
        252, "TOO_MANY_PARTS", "Too many partitions for single INSERT block", 0,
    ),
    "view": (
        [
            "CREATE TABLE %s (a UInt32) ENGINE = MergeTree ORDER BY a",
            "CREATE MATERIALIZED VIEW %s_view ENGINE = MergeTree ORDER BY b AS SELECT throwIf(a > 5, 'too big') AS b "
            "FROM %s",
        ],
        "1\n2\n", "1\n9\n", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", "too big", 2,
    ),
}  # fmt: skip
CONSTRAINT = CASES["constraint"][0]


@pytest.fixture
def create(server: Server) -> Iterator[Callable[[list[str]], str]]:
    made: list[str] = []

    def new(statements: list[str]) -> str:
        name = f"e_{uuid.uuid4().hex}"
        for sql in statements:
            server.query(sql.replace("%s", name))
        made.append(name)
        return name

    yield new
    for name in made:
        server.query(f"DROP VIEW IF EXISTS {name}_view")
        server.query(f"DROP TABLE {name}")


def insert(http: httpx.Client, table: str, rows: str, **params: str) -> httpx.Response:
    return http.post("/", params={"query": f"INSERT INTO {table} FORMAT TSV", **params}, content=rows.encode())


def refused(answer: httpx.Response, code: int, name: str, text: str) -> None:
    """The answer is an error as a server gives it: code, name and text once."""
    assert (answer.status_code, answer.headers.get("X-ClickHouse-Exception-Code")) == (500, str(code)), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert text in answer.text
    assert answer.text.count(f"({name})") == answer.text.count(f"Code: {code}.") == 1


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("settings", [{}, {"async_insert": "1", "wait_for_async_insert": "1"}], ids=["sync", "async"])
def test_rows_that_cannot_be_stored_are_an_error(
    server: Server, http: httpx.Client, create: Callable[[list[str]], str], case: str, settings: dict[str, str]
) -> None:
    statements, good, bad, code, name, text, kept = CASES[case]
    table = create(statements)
    refused(insert(http, table, bad, **settings), code, name, text)
    assert server.query(f"SELECT count() FROM {table}") == f"{kept}\n"
    answer = insert(http, table, good, **settings)
    assert answer.status_code == 200, answer.text
    assert server.query(f"SELECT count() FROM {table}") == f"{kept + 2}\n"


def test_too_many_parts_are_an_error(server: Server, http: httpx.Client, create: Callable[[list[str]], str]) -> None:
    table = create(
        ["CREATE TABLE %s (a UInt32) ENGINE = MergeTree ORDER BY a SETTINGS parts_to_throw_insert = 1",
         "SYSTEM STOP MERGES %s"]
    )  # fmt: skip
    assert insert(http, table, "1\n").status_code == 200
    refused(insert(http, table, "2\n"), 252, "TOO_MANY_PARTS", "Too many parts")
    assert server.query(f"SELECT count() FROM {table}") == "1\n"


def test_a_session_forgets_an_error(server: Server, http: httpx.Client, create: Callable[[list[str]], str]) -> None:
    table = create(CONSTRAINT)
    session = {"session_id": uuid.uuid4().hex, "database": "tocsin"}
    assert http.post("/", params=session, content=b"SET max_threads = 1").status_code == 200
    for attempt in range(3):
        refused(insert(http, table, "9\n", **session), 469, "VIOLATED_CONSTRAINT", "violated at row 1")
        answer = insert(http, table, "1\n", **session)
        assert answer.status_code == 200, answer.text
        assert server.query(f"SELECT count() FROM {table}") == f"{attempt + 1}\n"


def test_inserts_at_once_each_get_their_own_answer(server: Server, create: Callable[[list[str]], str]) -> None:
    table = create(CONSTRAINT)

    def writer(number: int) -> None:
        with server.http() as http:
            for attempt in range(20):
                if (number + attempt) % 3:
                    answer = insert(http, table, "1\n2\n")
                    assert answer.status_code == 200, answer.text
                else:
                    value = 1000 * number + attempt + 10
                    refused(insert(http, table, f"1\n{value}\n"), 469, "VIOLATED_CONSTRAINT", f"a = {value}.")

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(writer, number) for number in range(6)]:
            done.result()
    good = sum(1 for number in range(6) for attempt in range(20) if (number + attempt) % 3)
    assert server.query(f"SELECT count(), sum(a) FROM {table}") == f"{2 * good}\t{3 * good}\n"


@contextmanager
def room_for(server: Server, size: int) -> Iterator[None]:
    """No file of the server may grow beyond ``size`` bytes: a write fails as it does on a full disk."""
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)


def test_rows_that_the_disk_does_not_take_are_an_error(start: Callable[..., Server]) -> None:
    server = start()
    server.query(
        "CREATE TABLE big (a UInt32, s String MATERIALIZED randomString(100000)) ENGINE = MergeTree ORDER BY a"
    )
    rows = "".join(f"{number}\n" for number in range(100))
    with server.http() as http:
        with room_for(server, 2 << 20):
            refused(insert(http, "big", rows), 75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", "disk did not take")
            answer = http.post("/", content=b"INSERT INTO big SELECT number FROM numbers(100)")
            refused(answer, 75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", "disk did not take")
            # Here the disk has no room even for the data as it was sent.
            refused(insert(http, "big", "1\n" * (2 << 20)), 243, "NOT_ENOUGH_SPACE", "Make room on this disk")
        answer = insert(http, "big", rows)
        assert answer.status_code == 200, answer.text
    assert server.stop() == 0
    assert start().query("SELECT count(), sum(length(s)) FROM big") == "100\t10000000\n"


def test_some_of_the_disk_is_left_free(start: Callable[..., Server]) -> None:
    server = start("--keep-free", str(1 << 60))
    server.query("CREATE TABLE kept (a UInt32) ENGINE = MergeTree ORDER BY a")
    with server.http() as http:
        refused(insert(http, "kept", "1\n"), 243, "NOT_ENOUGH_SPACE", "Cannot reserve 1.00 MiB, not enough space")
    assert server.query("SELECT count() FROM kept") == "0\n"
