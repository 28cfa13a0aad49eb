"""The official Python client uses the server as any ClickHouse server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import clickhouse_connect
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from tests.clickhouse.conftest import FULL, READER, Server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def table(client: Any) -> Iterator[str]:
    name = f"cc_{uuid.uuid4().hex}"
    client.command(
        f"CREATE TABLE {name} (id Int64, name String, score Nullable(Float64), at DateTime64(3, 'UTC'), "
        "kind LowCardinality(String), tags Array(LowCardinality(String))) ENGINE = MergeTree ORDER BY id"
    )
    yield name
    client.command(f"DROP TABLE {name}")


COLUMNS = ["id", "name", "score", "at", "kind", "tags"]


def _rows(count: int) -> list[list[Any]]:
    at = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    return [[n, f"name {n}", None if n % 3 else n / 2, at, f"k{n % 5}", ["a", f"t{n % 7}"]] for n in range(count)]


def test_version_and_protocol(client: Any) -> None:
    assert client.server_version.startswith("26.")
    assert client.protocol_version == 54405
    assert client.ping()


def test_parameters_are_sent_to_the_server(client: Any) -> None:
    nasty = "it's a\ttab, a \\ and\na line {x}"
    answer = client.query(
        "SELECT {i:Int32} + 1, {s:String}, {a:Array(String)}, {d:Date}, {n:Nullable(String)}, {f:Float64}",
        parameters={"i": 41, "s": nasty, "a": [nasty, "b"], "d": datetime(2026, 5, 1).date(), "n": None, "f": 0.5},
    )
    assert answer.first_row == (42, nasty, [nasty, "b"], datetime(2026, 5, 1).date(), None, 0.5)


def test_parameters_in_a_form(server: Server) -> None:
    client = server.client(form_encode_query_params=True)
    assert client.query("SELECT {s:String}", parameters={"s": "x" * 100_000}).first_row == ("x" * 100_000,)


def test_settings_of_a_query_and_of_a_client(server: Server, client: Any) -> None:
    sql = "SELECT getSetting('max_block_size')"
    assert client.query(sql, settings={"max_block_size": 123}).first_row == (123,)
    assert client.query(sql).first_row != (123,)
    assert server.client(settings={"max_block_size": 124}).query(sql).first_row == (124,)


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", "br", False])
def test_insert_and_query_with_every_compression(server: Server, table: str, compress: str | bool) -> None:
    client = server.client(compress=compress)
    rows = _rows(20_000)
    summary = client.insert(table, rows, column_names=COLUMNS)
    assert summary.written_rows == 20_000
    back = client.query(f"SELECT * FROM {table} ORDER BY id").result_rows
    assert back == [(n, name, score, at.replace(tzinfo=None), kind, tags) for n, name, score, at, kind, tags in rows]


@pytest.mark.parametrize("compress", ["lz4", "zstd", False])
def test_insert_arrow(server: Server, table: str, compress: str | bool) -> None:
    rows = _rows(1000)
    columns = [list(column) for column in zip(*rows, strict=True)]
    batch = pa.table(
        {
            "id": pa.array(columns[0]),
            "name": pa.array(columns[1]),
            "score": pa.array(columns[2], pa.float64()),
            "at": pa.array(columns[3], pa.timestamp("us", "UTC")),
            "kind": pa.array(columns[4]).dictionary_encode(),
            "tags": pa.array(columns[5], pa.list_(pa.string())),
        }
    )
    client = server.client(compress=compress)
    assert client.insert_arrow(table, batch).written_rows == 1000
    back = client.query_arrow(f"SELECT id, name, score, kind, tags FROM {table} ORDER BY id", use_strings=True)
    assert back.column("id").to_pylist() == columns[0]
    assert back.column("score").to_pylist() == columns[2]
    assert back.column("tags").to_pylist() == columns[5]


def test_insert_df_and_query_df(client: Any, table: str) -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2],
            "name": ["a", "b"],
            "score": [None, 1.5],
            "at": pd.to_datetime(["2026-05-01T00:00:00.5Z", "2026-05-02T00:00:00.0Z"]),
            "kind": ["x", "y"],
            "tags": [["p"], []],
        }
    )
    client.insert_df(table, frame)
    back = client.query_df(f"SELECT * FROM {table} ORDER BY id")
    assert list(back["name"]) == ["a", "b"]
    assert back["at"][0] == pd.Timestamp("2026-05-01T00:00:00.5")
    assert pd.isna(back["score"][0])


def test_streaming_reads(client: Any) -> None:
    sql = "SELECT number, toString(number) FROM numbers(300000)"
    with client.query_row_block_stream(sql) as stream:
        blocks = [len(block) for block in stream]
    assert (sum(blocks), len(blocks) > 2) == (300_000, True)
    with client.query_df_stream(sql) as frames:
        assert sum(len(frame) for frame in frames) == 300_000
    with client.query_arrow_stream(sql) as batches:
        assert sum(batch.num_rows for batch in batches) == 300_000
    assert len(client.raw_query(sql, fmt="CSV").splitlines()) == 300_000


def test_a_stream_left_early_does_not_disturb_the_next_query(client: Any) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(50000000)") as stream:
        next(stream)
    assert client.command("SELECT 1") == 1


def test_commands(client: Any, table: str) -> None:
    assert client.command("SELECT 1") == 1
    assert client.command("SELECT 1, 'a'") == ["1", "a"]
    assert client.command("SELECT 1 WHERE 0") == ""
    assert client.command(f"OPTIMIZE TABLE {table} FINAL").written_rows == 0
    inserted = client.command(
        f"INSERT INTO {table} (id, name) VALUES ({{id:Int64}}, {{name:String}})", parameters={"id": 5, "name": "it's"}
    )
    assert inserted.written_rows == 1
    assert client.command(f"INSERT INTO {table} (id, name) FORMAT CSV", data="6,six\n7,seven\n").written_rows == 2
    assert client.query(f"SELECT id, name FROM {table} ORDER BY id").result_rows == [
        (5, "it's"),
        (6, "six"),
        (7, "seven"),
    ]


def test_raw_insert(client: Any, table: str) -> None:
    client.raw_insert(table, column_names=["id", "name"], insert_block=b'{"id": 1, "name": "x"}\n', fmt="JSONEachRow")
    assert client.query(f"SELECT name FROM {table}").first_row == ("x",)


def test_types(client: Any) -> None:
    row = client.query(
        "SELECT map('a', 1), (1, 'x'), [toLowCardinality('z'), ''], toLowCardinality(toNullable('v')), NULL, "
        "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0'), toDecimal64(1.5, 2), CAST('a', 'Enum8(''a'' = 1)'), "
        "emptyArrayString(), toDateTime64('2026-05-01 00:00:00.125', 3, 'UTC'), [[1], []], true, toInt256(-1), "
        "toNullable(toDate('2026-05-01')), CAST([(1, 'n')], 'Nested(a Int8, b String)')"
    ).first_row
    assert row == (
        {"a": 1}, (1, "x"), ["z", ""], "v", None, uuid.UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0"), Decimal("1.50"),
        "a", [], datetime(2026, 5, 1, 0, 0, 0, 125_000), [[1], []], True, -1, datetime(2026, 5, 1).date(),
        [{"a": 1, "b": "n"}],
    )  # fmt: skip


def test_columns_of_an_empty_result(client: Any) -> None:
    assert client.query("SELECT 1 AS a, 'x' AS b LIMIT 0").column_names == ("a", "b")
    assert client.query("SELECT number FROM numbers(0)").result_rows == []


def test_errors_have_codes(client: Any, table: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT * FROM nosuch")
    assert (caught.value.code, caught.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(DatabaseError, match="395"):
        client.query("SELECT throwIf(number = 900000), number FROM numbers(1000000)")
    with pytest.raises(DatabaseError) as caught:
        client.insert_arrow(table, pa.table({"nosuch": [1]}))
    assert caught.value.code == 16
    with pytest.raises(DatabaseError) as caught:
        client.insert_arrow(table, pa.table({"id": ["no number"]}))
    assert caught.value.code is not None
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_wrong_password(server: Server) -> None:
    with pytest.raises(DatabaseError) as caught:
        server.client((FULL[0], "wrong"))
    assert caught.value.code == 516


def test_sessions(server: Server) -> None:
    client = server.client(autogenerate_session_id=True)
    client.command("CREATE TEMPORARY TABLE scratch (a Int8)")
    client.insert("scratch", [[1], [2]], column_names=["a"])
    assert client.query("SELECT sum(a) FROM scratch").first_row == (3,)


def test_external_data(client: Any, table: str) -> None:
    client.insert(table, _rows(10), column_names=COLUMNS)
    wanted = ExternalData(file_name="wanted", data=b"3\n5\n", fmt="CSV", structure="id Int64")
    answer = client.query(f"SELECT name FROM {table} JOIN wanted USING id ORDER BY id", external_data=wanted)
    assert answer.result_rows == [("name 3",), ("name 5",)]


def test_reader(server: Server, table: str) -> None:
    reader = server.client(READER)
    assert reader.query(f"SELECT count() FROM {table}").first_row == (0,)
    with pytest.raises(DatabaseError) as caught:
        reader.insert(table, _rows(1), column_names=COLUMNS)
    assert caught.value.code == 164
    with pytest.raises(DatabaseError) as caught:
        reader.query("SELECT * FROM url('http://127.0.0.1:1/', 'CSV')")
    assert caught.value.code == 497


async def test_async_client(server: Server) -> None:
    client = await clickhouse_connect.get_async_client(
        host="127.0.0.1", port=server.port, username=FULL[0], password=FULL[1], database="tocsin"
    )
    assert (await client.query("SELECT sum(number) FROM numbers(100000)")).first_row == (4_999_950_000,)
    await client.close()
