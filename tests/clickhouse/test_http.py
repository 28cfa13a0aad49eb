"""The HTTP interface as ClickHouse documents it: where statements, data, settings and users may stand."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import uuid
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import brotli
import httpx
import lz4.frame
import pytest
import zstandard

from tests.clickhouse.conftest import FULL, READER, Server


def test_health_needs_no_user(server: Server) -> None:
    for path in ("/ping", "/replicas_status", "/"):
        answer = httpx.get(server.url + path)
        assert (answer.status_code, answer.text) == (200, "Ok.\n")
    assert httpx.head(f"{server.url}/ping").status_code == 200
    assert httpx.get(f"{server.url}/nowhere").status_code == 404
    assert "There is no handle /nowhere" in httpx.get(f"{server.url}/nowhere").text


def test_every_way_to_name_the_user(server: Server) -> None:
    user, password = FULL
    ways: list[dict[str, Any]] = [
        {"headers": {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}},
        {"auth": FULL},
        {"params": {"user": user, "password": password}},
    ]
    for way in ways:
        params = {"query": "SELECT currentDatabase()", **way.pop("params", {})}
        answer = httpx.get(server.url, params=params, **way)
        assert (answer.status_code, answer.text) == (200, "tocsin\n")


@pytest.mark.parametrize(
    ("way", "status"),
    [
        ({"auth": (FULL[0], "wrong")}, 403),
        ({"auth": ("nobody", "")}, 403),
        ({"headers": {"X-ClickHouse-User": READER[0], "X-ClickHouse-Key": FULL[1]}}, 403),
        ({"params": {"user": FULL[0], "password": "wrong"}}, 403),
        ({"params": {"user": FULL[0]}}, 403),
        ({}, 401),
        ({"headers": {"Authorization": "Bearer abc"}}, 403),
        ({"headers": {"Authorization": "Basic ???"}}, 403),
        ({"auth": FULL, "headers": {"X-ClickHouse-User": FULL[0], "X-ClickHouse-Key": FULL[1]}}, 403),
    ],
)
def test_wrong_users_get_code_516(server: Server, way: dict[str, Any], status: int) -> None:
    params = {"query": "SELECT 1", **way.get("params", {})}
    answer = httpx.get(server.url, **{**way, "params": params})
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, "516")
    assert "AUTHENTICATION_FAILED" in answer.text
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_statement_in_url_in_body_and_in_both(http: httpx.Client) -> None:
    assert http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert http.post("/", params={"query": "SELECT 2"}).text == "2\n"
    assert http.post("/", content=b"SELECT 3").text == "3\n"
    assert http.post("/", params={"query": "SELECT"}, content=b"4").text == "4\n"
    assert http.post("/", content=iter([b"SEL", b"ECT ", b"5"])).text == "5\n"
    assert http.post("/", content=b"").headers["X-ClickHouse-Exception-Code"] == "62"


def test_long_statements_in_url_and_body(http: httpx.Client) -> None:
    numbers = ",".join(str(number) for number in range(10_000))
    sql = f"SELECT count() FROM numbers(20000) WHERE number IN ({numbers})"
    assert http.post("/", content=sql.encode()).text == "10000\n"
    user, password = FULL
    url = f"{http.base_url}?" + urlencode({"query": sql, "user": user, "password": password})
    assert len(url) > 50_000
    with urlopen(url, timeout=30) as answer:
        assert answer.read() == b"10000\n"


def test_headers_of_an_answer(http: httpx.Client) -> None:
    answer = http.post("/", params={"query_id": "my-query"}, content=b"SELECT number FROM numbers(5) FORMAT JSON")
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-query"
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["X-ClickHouse-Timezone"] == "UTC"
    assert answer.headers["X-ClickHouse-Server-Display-Name"]
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("5", "5")
    assert answer.json()["rows"] == 5


@pytest.mark.parametrize(
    ("params", "headers", "sql", "name", "content_type"),
    [
        ({}, {}, "SELECT 1", "TabSeparated", "text/tab-separated-values; charset=UTF-8"),
        ({"default_format": "CSV"}, {}, "SELECT 1", "CSV", "text/csv; charset=UTF-8"),
        ({}, {"X-ClickHouse-Format": "JSONEachRow"}, "SELECT 1", "JSONEachRow", "application/x-ndjson; charset=UTF-8"),
        ({"default_format": "CSV"}, {}, "SELECT 1 FORMAT Native", "Native", "application/octet-stream"),
        ({}, {}, "SELECT 1 AS format FORMAT XML SETTINGS max_threads = 1", "XML", "application/xml; charset=UTF-8"),
        ({"default_format": "Parquet"}, {}, "SHOW TABLES", "Parquet", "application/octet-stream"),
    ],
)
def test_format_of_an_answer(
    http: httpx.Client, params: dict[str, str], headers: dict[str, str], sql: str, name: str, content_type: str
) -> None:
    answer = http.post("/", params=params, headers=headers, content=sql.encode())
    assert answer.status_code == 200, answer.text
    assert (answer.headers["X-ClickHouse-Format"], answer.headers["Content-Type"]) == (name, content_type)


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM nosuch", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT nosuch FROM system.one", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT nosuch(1)", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT 1 FORMAT Nosuch", 404, 73, "UNKNOWN_FORMAT"),
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("SELECT toInt8('x')", 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("INSERT INTO nosuch FORMAT TSV\n1", 404, 60, "UNKNOWN_TABLE"),
        ("SELECT 1 SETTINGS nosuch = 1", 404, 115, "UNKNOWN_SETTING"),
    ],
)
def test_errors_have_code_status_and_text(http: httpx.Client, sql: str, status: int, code: int, name: str) -> None:
    answer = http.post("/", content=sql.encode())
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code)), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version 26." in answer.text


def test_syntax_errors_name_the_position_in_the_clients_text(http: httpx.Client) -> None:
    assert "failed at position 14 (x)" in http.post("/", content=b"SELECT 1 FRO x y").text


def test_parts_of_several_statements_are_not_run(http: httpx.Client, table: str) -> None:
    answer = http.post("/", content=f"INSERT INTO {table} SELECT 1, 'x'; nonsense".encode())
    assert answer.status_code == 400
    answer = http.post("/", content=f"TRUNCATE TABLE {table}; DROP TABLE {table}".encode())
    assert answer.status_code == 400
    assert http.post("/", content=f"SELECT count() FROM {table}".encode()).text == "0\n"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("String", "it's", "it\\'s"),
        ("String", "tab\\tand\\nline", "tab\\tand\\nline"),
        ("Int32", "-5", "-5"),
        ("Array(String)", "['a','b\\'c']", "['a','b\\'c']"),
        ("Nullable(String)", "\\N", "\\N"),
        ("DateTime64(3, 'UTC')", "2024-05-01 12:00:00.5", "2024-05-01 12:00:00.500"),
        ("Identifier", "dummy", "0"),
        ("Map(String, Int8)", "{'k':1}", "{'k':1}"),
    ],
)
def test_parameters_are_bound_by_the_engine(http: httpx.Client, kind: str, value: str, text: str) -> None:
    answer = http.post("/", params={"param_v": value}, content=f"SELECT {{v:{kind}}} FROM system.one".encode())
    assert answer.text == text + "\n"


def test_settings_and_database_hold_for_one_request_only(http: httpx.Client) -> None:
    sql = b"SELECT getSetting('max_block_size'), currentDatabase()"
    before = http.post("/", content=sql).text
    changed = http.post("/", params={"max_block_size": "77", "database": "system"}, content=sql).text
    assert changed == "77\tsystem\n"
    assert http.post("/", headers={"X-ClickHouse-Database": "default"}, content=sql).text.endswith("\tdefault\n")
    assert http.post("/", content=sql).text == before
    assert http.post("/", params={"nosuch": "1"}, content=sql).headers["X-ClickHouse-Exception-Code"] == "115"
    assert http.post("/", params={"database": "nosuch"}, content=sql).headers["X-ClickHouse-Exception-Code"] == "81"
    assert http.post("/", params={"max_threads": "many"}, content=sql).status_code == 400


def test_readonly_can_be_asked_for(http: httpx.Client, table: str) -> None:
    answer = http.post("/", params={"readonly": "1"}, content=f"INSERT INTO {table} VALUES (1, 'x')".encode())
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"


@pytest.mark.parametrize("rows", [10, 300_000])
@pytest.mark.parametrize(
    ("coding", "decompress"),
    [
        ("gzip", gzip.decompress),
        ("deflate", zlib.decompress),
        ("br", brotli.decompress),
        ("zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        ("lz4", lz4.frame.decompress),
    ],
)
def test_compressed_answers(server: Server, coding: str, decompress: Callable[[bytes], bytes], rows: int) -> None:
    expected = b"".join(b"%d\n" % number for number in range(rows))
    request = httpx.Request(
        "POST",
        server.url,
        params={"enable_http_compression": "1"},
        headers={"Accept-Encoding": coding, "X-ClickHouse-User": FULL[0], "X-ClickHouse-Key": FULL[1]},
        content=f"SELECT number FROM numbers({rows})".encode(),
    )
    with httpx.Client(timeout=30) as client:
        answer = client.send(request, stream=True)
        raw = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == coding
    assert decompress(raw) == expected


def test_no_compression_unless_accepted_and_enabled(server: Server) -> None:
    for params, accept in (({"enable_http_compression": "0"}, "gzip"), ({"enable_http_compression": "1"}, "identity")):
        with server.http() as http:
            answer = http.post("/", params=params, headers={"Accept-Encoding": accept}, content=b"SELECT 1")
            assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    "name",
    [
        "TSV", "TSVWithNames", "TSVWithNamesAndTypes", "CSV", "CSVWithNames", "CSVWithNamesAndTypes", "JSONEachRow",
        "JSONCompactEachRowWithNamesAndTypes", "JSON", "JSONCompact", "RowBinary", "MsgPack", "Pretty", "Vertical",
    ],
)  # fmt: skip
def test_results_in_pieces_equal_results_in_one(http: httpx.Client, name: str) -> None:
    """200,000 rows leave the engine in four pieces."""
    sql = "SELECT number AS n, 'a \"b\"\nc' AS `text\nof two lines` FROM numbers(200000)"
    answer = http.post("/", content=f"{sql} FORMAT {name}".encode())
    assert answer.status_code == 200
    if name in ("Pretty", "Vertical"):
        assert "of two lines" in answer.text
        return
    assert _row_count(name, answer.content) == 200_000


def _row_count(name: str, data: bytes) -> int:
    if name in ("JSON", "JSONCompact"):
        return int(json.loads(data)["rows"])
    if name in ("RowBinary", "MsgPack"):
        marker = b'a "b"\nc'
        return data.count(marker)
    if name.startswith("CSV"):
        rows = list(csv.reader(io.StringIO(data.decode())))
        return len(rows) - name.count("With") - name.count("AndTypes")
    return data.count(b"\n") - name.count("With") - name.count("AndTypes")


def test_error_within_a_result_is_marked(server: Server) -> None:
    with server.http() as http:
        sql = b"SELECT throwIf(number = 900000), repeat('x', 20) FROM numbers(1000000)"
        answer = http.post("/", headers={"Accept-Encoding": "identity"}, content=sql)
        assert answer.status_code == 200
        tag = answer.headers["X-ClickHouse-Exception-Tag"]
        end = answer.text[-2000:]
        assert f"\r\n__exception__\r\n{tag}\r\nCode: 395. DB::Exception: " in end
        assert end.endswith(f" {tag}\r\n__exception__\r\n")
        whole = http.post("/", params={"wait_end_of_query": "1"}, content=sql)
        assert (whole.status_code, whole.headers["X-ClickHouse-Exception-Code"]) == (500, "395")


def test_external_tables_and_form_fields(http: httpx.Client) -> None:
    answer = http.post(
        "/",
        params={"query": "SELECT sum(n), any(s) FROM ext", "ext_format": "CSV", "ext_structure": "n Int64, s String"},
        files={"ext": b"1,x\n2,x\n"},
    )
    assert answer.text == "3\tx\n"
    answer = http.post(
        "/",
        params={"ext_types": "Int64"},
        files={"ext": b"5\n", "query": (None, "SELECT _1, {p:String} FROM ext"), "param_p": (None, "form")},
    )
    assert answer.text == "5\tform\n"


def test_sessions_keep_settings_and_temporary_tables(http: httpx.Client) -> None:
    session = {"session_id": uuid.uuid4().hex}
    assert http.post("/", params=session, content=b"CREATE TEMPORARY TABLE tt (a Int8)").status_code == 200
    assert http.post("/", params=session, content=b"INSERT INTO tt VALUES (1)").status_code == 200
    assert http.post("/", params=session, content=b"SET max_block_size = 55").status_code == 200
    assert http.post("/", params=session, content=b"SELECT a, getSetting('max_block_size') FROM tt").text == "1\t55\n"
    once = {**session, "max_threads": "3"}
    assert http.post("/", params=once, content=b"SELECT getSetting('max_threads')").text == "3\n"
    assert http.post("/", params=session, content=b"SELECT getSetting('max_threads')").text != "3\n"
    assert http.post("/", content=b"SELECT a FROM tt").headers["X-ClickHouse-Exception-Code"] == "60"
    missing = {"session_id": uuid.uuid4().hex, "session_check": "1"}
    assert http.post("/", params=missing, content=b"SELECT 1").headers["X-ClickHouse-Exception-Code"] == "372"


def test_native_with_a_protocol_version(http: httpx.Client) -> None:
    sql = b"SELECT number, toString(number) AS s FROM numbers(2) FORMAT Native"
    plain = http.post("/", content=sql).content
    info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    assert http.post("/", params={"client_protocol_version": "54405"}, content=sql).content == info + plain
    custom = http.post("/", params={"client_protocol_version": "54460"}, content=sql).content
    columns = b"\x06number\x06UInt64\x00" + struct.pack("<QQ", 0, 1) + b"\x01s\x06String\x00" + b"\x010\x011"
    assert custom == info + b"\x02\x02" + columns
    refused = http.post("/", params={"client_protocol_version": "54460"}, content=b"SELECT uniqState(1) FORMAT Native")
    assert refused.headers["X-ClickHouse-Exception-Code"] == "48"


def test_connections_are_kept_alive(http: httpx.Client) -> None:
    for _ in range(3):
        answer = http.get("/", params={"query": "SELECT 1"})
        assert answer.headers.get("Connection", "keep-alive").lower() != "close"


def test_the_log_names_no_statement_and_no_value(server: Server) -> None:
    with server.http() as http:
        http.get("/", params={"query": "SELECT 'confidential-text'", "param_p": "confidential-value"})
        http.get("/", params={"query": "SELECT 1", "user": "x", "password": "confidential-password"})
    assert "confidential" not in server.errors()
    assert "user=tocsin" in server.errors()
