"""Migrations: statements are split where SQL says so, applied once, and repeatable."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.migrations import MigrationError, load_migrations, migrate, split_statements
from tests.schemas.engine_process import report_of

CREATE = "CREATE TABLE IF NOT EXISTS t (a UInt8) ENGINE = Memory"


@dataclass
class Rows:
    result_rows: list[tuple[Any, ...]]


@dataclass
class FakeClickHouse:
    """Keeps schema_migrations and a list of everything else; refuses what is told."""

    ran: list[str] = field(default_factory=list)
    applied: dict[int, tuple[str, str]] = field(default_factory=dict)
    refuse: str = "\0"

    def command(self, cmd: str) -> None:
        if self.refuse in cmd:
            raise RuntimeError("Code: 62. DB::Exception: Syntax error")
        insert = re.search(r"SELECT (\d+), '(\w+)', '(\w+)'", cmd)
        if insert and "schema_migrations" in cmd:
            self.applied[int(insert[1])] = (insert[2], insert[3])
        elif "schema_migrations" not in cmd:
            self.ran.append(cmd)

    def query(self, query: str) -> Rows:
        assert "FINAL" in query
        return Rows([(version, *row) for version, row in sorted(self.applied.items())])


def folder_with(tmp_path: Path, *texts: str) -> Path:
    for number, text in enumerate(texts, 1):
        (tmp_path / f"{number:04d}_step.sql").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a; b", [("a", 1), ("b", 1)]),
        ("-- only; a comment\n/* and; another */ ;;\n", []),
        ("-- first;\nSELECT ';' ;\n\nSELECT \"a;b\", `c;d`;", [("SELECT ';'", 2), ('SELECT "a;b", `c;d`', 4)]),
        (r"SELECT '\';', 'it''s;'; x", [(r"SELECT '\';', 'it''s;'", 1), ("x", 1)]),
        ("SELECT 1 -- why; because\n + 2; y", [("SELECT 1 -- why; because\n + 2", 1), ("y", 2)]),
        ("SELECT /* ; */ 1;", [("SELECT /* ; */ 1", 1)]),
        ("SELECT $$ a;b $$; SELECT $x$ $$; $x$", [("SELECT $$ a;b $$", 1), ("SELECT $x$ $$; $x$", 1)]),
        ("SELECT 1 - 2 / 3;", [("SELECT 1 - 2 / 3", 1)]),
        ("#!shebang; x\nSELECT 1", [("SELECT 1", 2)]),
    ],
)
def test_split(sql: str, expected: list[tuple[str, int]]) -> None:
    assert [(statement.text, statement.line) for statement in split_statements(sql)] == expected


@pytest.mark.parametrize(
    ("sql", "says"), [("x;\nSELECT 'a", "f.sql:2: '"), ("/* x", "f.sql:1: /*"), ('"', 'f.sql:1: "')]
)
def test_an_open_quote_or_comment_is_named_with_its_line(sql: str, says: str) -> None:
    with pytest.raises(MigrationError) as caught:
        split_statements(sql, "f.sql")
    assert str(caught.value).startswith(says)


PARTS = st.sampled_from(["SELECT 1", "'a;b'", '"x;"', "`;`", "/* ; */", "-- ;\n", "$$;$$", " ", "\n", "'\\';'", "a-b"])


@given(st.lists(st.lists(PARTS, min_size=1).map(lambda parts: "x " + " ".join(parts)), min_size=1))
def test_split_gives_back_what_was_joined(statements: list[str]) -> None:
    joined = ";".join(f"{statement}\n" for statement in statements)
    assert [found.text for found in split_statements(joined)] == [statement.strip() for statement in statements]


def test_applied_in_order_once(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, f"{CREATE}; {CREATE} ", "DROP TABLE IF EXISTS u")
    client = FakeClickHouse()
    assert [(done.version, done.name) for done in migrate(client, folder)] == [(1, "step"), (2, "step")]
    assert client.ran == [CREATE, CREATE, "DROP TABLE IF EXISTS u"]
    assert migrate(client, folder) == []
    assert len(client.ran) == 3


def test_a_refused_statement_is_named_and_a_later_run_goes_on(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, CREATE, f"{CREATE};\n\nDROP TABLE IF EXISTS broken;")
    client = FakeClickHouse(refuse="broken")
    with pytest.raises(MigrationError, match=r"0002_step\.sql:3: the server refused the statement: Code: 62"):
        migrate(client, folder)
    assert set(client.applied) == {1}
    client.refuse = "\0"
    assert [done.version for done in migrate(client, folder)] == [2]


def test_a_changed_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, CREATE)
    client = FakeClickHouse()
    migrate(client, folder)
    (folder / "0001_step.sql").write_text(CREATE.replace("UInt8", "UInt16"))
    (folder / "0002_step.sql").write_text(CREATE)
    with pytest.raises(MigrationError, match=r"0001_step\.sql: was changed after it was applied.*0003_\*\.sql"):
        migrate(client, folder)
    assert client.ran == [CREATE]


def test_windows_line_ends_are_no_change(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, f"{CREATE};\n{CREATE};\n")
    client = FakeClickHouse()
    migrate(client, folder)
    (folder / "0001_step.sql").write_bytes(f"{CREATE};\r\n{CREATE};\r\n".encode())
    assert migrate(client, folder) == []


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    client = FakeClickHouse(applied={1: ("later", "0" * 64)})
    with pytest.raises(MigrationError, match="0001_later, which this version of Tocsin does not"):
        migrate(client, tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (a UInt8) ENGINE = Memory",
        "DROP TABLE t",
        "INSERT INTO t VALUES (1)",
        "ALTER TABLE t ADD COLUMN a UInt8",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS a UInt8, DROP COLUMN b",
        "ALTER TABLE t /* IF EXISTS */ DROP COLUMN b",
        "ALTER TABLE t UPDATE a = a + 1 WHERE 1",
        "RENAME TABLE t TO u",
    ],
)
def test_statements_that_cannot_be_repeated_are_refused(tmp_path: Path, statement: str) -> None:
    with pytest.raises(MigrationError, match=r"0001_step\.sql:2: a second run of"):
        load_migrations(folder_with(tmp_path, f"-- why\n{statement};"))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE MATERIALIZED VIEW IF NOT EXISTS v TO t AS SELECT 1",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "ALTER TABLE t ADD COLUMN IF NOT EXISTS a UInt8 COMMENT 'DROP COLUMN b', DROP INDEX IF EXISTS i",
        "ALTER TABLE t MODIFY TTL d + toIntervalDay(2)",
        "GRANT SELECT ON tocsin.* TO reader",
    ],
)
def test_repeatable_statements_are_accepted(tmp_path: Path, statement: str) -> None:
    assert [m.statements[0].text for m in load_migrations(folder_with(tmp_path, statement))] == [statement]


@pytest.mark.parametrize("names", [["0002_a.sql"], ["0001_a.sql", "0001_b.sql"], ["1_a.sql"], ["0001_A.sql"]])
def test_names_and_numbers_are_checked(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text(CREATE)
    with pytest.raises(MigrationError, match="expected"):
        load_migrations(tmp_path)


ENGINE_RUN = """
import json
from schemas.migrations import migrate
from tests.schemas.memory_engine import client

client.command("CREATE DATABASE tocsin")
client.command("USE tocsin")
first = [done.version for done in migrate(client)]
client.command("TRUNCATE TABLE schema_migrations")
again = [done.version for done in migrate(client)]
third = [done.version for done in migrate(client)]
tables = [row[0] for row in client.query("SHOW TABLES").result_rows]
print(json.dumps({"first": first, "again": again, "third": third, "tables": tables}))
"""


def test_the_real_files_run_on_the_engine_and_again_as_if_two_ran_at_once() -> None:
    report = report_of(ENGINE_RUN)
    every = [migration.version for migration in load_migrations()]
    assert every
    assert (report["first"], report["again"], report["third"]) == (every, every, [])
    assert {"events", "quarantine", "signals", "alerts", "alert_evidence", "feed_minutes"} <= set(report["tables"])
