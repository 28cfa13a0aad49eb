"""A read-only user reads what dashboards need and nothing can make it do more. A table of attacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clickhouse.attacks import ALLOWED, FILES_AND_NETWORK, SYSTEM_SECRETS, TRICKS, WRITES
from tests.clickhouse.conftest import READER, Server

SECRET = "the secret of the file"


@pytest.fixture(scope="module")
def secret(server: Server) -> Path:
    """A file that the server's process can read."""
    file = server.path.parent / "secret.txt"
    file.write_text(SECRET)
    server.query("CREATE TABLE IF NOT EXISTS guarded (id Int64, name String) ENGINE = ReplacingMergeTree ORDER BY id")
    server.query("INSERT INTO guarded VALUES (1, 'one'), (2, 'two')")
    return file


@pytest.fixture(scope="module")
def reader(server: Server) -> Iterator[httpx.Client]:
    with server.http(READER) as http:
        yield http


def _refused(answer: httpx.Response) -> bool:
    return answer.status_code in (400, 403, 404, 500, 501) and bool(answer.headers.get("X-ClickHouse-Exception-Code"))


@pytest.mark.parametrize("attack", WRITES + FILES_AND_NETWORK + SYSTEM_SECRETS + TRICKS)
def test_attack_is_refused_without_effect(server: Server, reader: httpx.Client, secret: Path, attack: str) -> None:
    sql = attack.replace("PATH", str(secret))
    if sql.endswith("-- hidden"):
        sql += f"\n('{secret}', 'LineAsString')"
    names = {"param_d": "system", "param_t": "processes", "param_f": "file", "param_g": "`file`"}
    in_body = reader.post("/", params=names, content=sql.encode())
    in_url = reader.get("/", params={**names, "query": sql})
    for answer in (in_body, in_url):
        assert _refused(answer), f"{answer.status_code} {answer.text[:200]}"
        assert SECRET not in answer.text
    assert not list(secret.parent.glob("secret.txt?*"))


def test_nothing_changed_after_all_attacks(server: Server, secret: Path) -> None:
    assert server.query("SELECT id, name FROM guarded ORDER BY id") == "1\tone\n2\ttwo\n"
    tables = server.query("SELECT count() FROM system.tables WHERE name LIKE '%evil%'")
    assert tables == "0\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format_schema", "/etc/passwd"),
        ("format_template_resultset", "/etc/passwd"),
        ("output_format_schema", "/var/out"),
        ("allow_introspection_functions", "1"),
        ("allow_ddl", "1"),
        ("max_memory_usage", "0"),
        ("additional_result_filter", "file('/etc/passwd') = ''"),
        ("additional_table_filters", "{'tocsin.guarded': 'file(''/etc/passwd'') = ''''}"),
        ("into_outfile_create_parent_directories", "1"),
        ("no_such_setting", "1"),
    ],
)
def test_settings_that_reach_outside_are_refused(reader: httpx.Client, name: str, value: str) -> None:
    answer = reader.post("/", params={name: value}, content=b"SELECT 1")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164", answer.text


def test_readonly_in_the_url_changes_nothing(reader: httpx.Client, secret: Path) -> None:
    answer = reader.post("/", params={"readonly": "0"}, content=b"INSERT INTO guarded VALUES (9, 'nine')")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    setting = reader.post("/", params={"readonly": "0"}, content=b"SELECT getSetting('readonly')")
    assert setting.text == "1\n"


def test_limits_cannot_be_lifted(reader: httpx.Client) -> None:
    for wanted, got in (("0", "120"), ("100000", "120"), ("7", "7"), ("nonsense", "120")):
        answer = reader.post(
            "/", params={"max_execution_time": wanted}, content=b"SELECT getSetting('max_execution_time')"
        )
        assert answer.text.strip() == got
    assert reader.post("/", content=b"SELECT getSetting('max_execution_time')").text == "60\n"


def test_sessions_and_external_tables_give_no_temporary_table(reader: httpx.Client) -> None:
    answer = reader.post("/", params={"session_id": "s"}, content=b"CREATE TEMPORARY TABLE evil (a Int8)")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    answer = reader.post(
        "/",
        params={"query": "SELECT * FROM ext", "ext_structure": "a String DEFAULT file('/etc/passwd')"},
        files={"ext": b"1"},
    )
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"


@pytest.mark.parametrize("database", ["system", "SYSTEM", "nowhere", "tocsin`; DROP TABLE guarded; --"])
def test_database_cannot_be_moved_to_system(reader: httpx.Client, database: str) -> None:
    answer = reader.post("/", params={"database": database}, content=b"SELECT * FROM processes")
    assert _refused(answer)


@pytest.mark.parametrize("sql", ALLOWED)
def test_reading_works(reader: httpx.Client, secret: Path, sql: str) -> None:
    params = {"param_one": "one", "param_table": "guarded", "param_any": "file(system.users)\\\\"}
    answer = reader.post("/", params=params, content=sql.replace("|", "\n").encode())
    assert answer.status_code == 200, answer.text


def test_get_is_readonly_for_the_full_user_too(server: Server, secret: Path) -> None:
    with server.http() as http:
        for sql in (
            "INSERT INTO guarded VALUES (5, 'five')",
            "DROP TABLE guarded",
            "SET max_threads = 1",
            "KILL QUERY WHERE 0",
        ):
            answer = http.get("/", params={"query": sql})
            assert answer.headers["X-ClickHouse-Exception-Code"] == "164", sql
        assert http.get("/", params={"query": "SELECT count() FROM guarded"}).text == "2\n"


@pytest.mark.parametrize("sql", ["SELECT 1 INTO OUTFILE 'x.tsv'", "INSERT INTO guarded FROM INFILE 'x.tsv' FORMAT TSV"])
def test_files_of_the_server_cannot_be_named_over_http_by_anyone(server: Server, secret: Path, sql: str) -> None:
    with server.http() as http:
        assert http.post("/", content=sql.encode()).headers["X-ClickHouse-Exception-Code"] == "164"
