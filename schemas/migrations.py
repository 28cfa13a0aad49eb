"""Numbered ClickHouse migrations: ``schemas/clickhouse/NNNN_name.sql``, applied in order, once each.

A runner of our own, because the maintained ones (clickhouse-migrations, py-clickhouse-migrator) open a connection
of their own and want locks, roll-backs or marked statements; this takes the client that is there, embedded or not.

There is no lock. Instead every statement must be repeatable (``IF NOT EXISTS`` and the like, which is checked), so
two runs at once, or a run again after a failure half-way, end in the same state.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from schemas.settings import Settings
from schemas.store_access import client_arguments

MIGRATIONS_DIR: Final = Path(__file__).resolve().parent / "clickhouse"
_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_TOKEN: Final = re.compile(
    r"""
      (?P<line>--[^\n]*|\#[!\ ][^\n]*)
    | (?P<block>/\*.*?\*/)
    | (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
    | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<end>;)
    | (?P<open>/\*|['"`])
    | (?P<space>\s+)
    | (?P<text>[^\s;'"`/$\-\#]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_REPEATABLE: Final = re.compile(
    r"(CREATE\s+OR\s+REPLACE\b|CREATE\s+(?:MATERIALIZED\s+|TEMPORARY\s+)?"
    r"(?:DATABASE|TABLE|VIEW|DICTIONARY|FUNCTION|USER|ROLE|ROW\s+POLICY|SETTINGS\s+PROFILE|QUOTA)\s+IF\s+NOT\s+EXISTS\b"
    r"|DROP\s+(?:DATABASE|TABLE|VIEW|DICTIONARY|FUNCTION|USER|ROLE|ROW\s+POLICY|SETTINGS\s+PROFILE|QUOTA)\s+IF\s+EXISTS\b"
    r"|GRANT\b|REVOKE\b)",
    re.IGNORECASE,
)
_ALTER: Final = re.compile(r"ALTER\s+TABLE\b", re.IGNORECASE)
_ALTER_ONCE: Final = re.compile(
    r"\b(?:ADD\s+(?:COLUMN|INDEX|PROJECTION|CONSTRAINT)\s+(?!IF\s+NOT\s+EXISTS\b)"
    r"|(?:DROP|RENAME|CLEAR|MATERIALIZE|MODIFY|COMMENT)\s+(?:COLUMN|INDEX|PROJECTION|CONSTRAINT)\s+(?!IF\s+EXISTS\b)"
    r"|(?:UPDATE|DELETE|ATTACH|DETACH|REPLACE|MOVE|FREEZE|FETCH)\b)",
    re.IGNORECASE,
)
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version    UInt32,
    name       String,
    sha256     FixedString(64),
    applied_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY version
"""


class MigrationError(RuntimeError):
    """A migration that cannot be applied; the message names the file, the line, and what to do."""


class Rows(Protocol):
    """Result of a query."""

    @property
    def result_rows(self) -> Sequence[Sequence[Any]]:
        """Rows as sequences of Python values."""


class ClickHouse(Protocol):
    """The part of a clickhouse-connect client that is used; its database is where the tables go."""

    def command(self, cmd: str) -> Any:
        """Run one statement without rows."""

    def query(self, query: str) -> Rows:
        """Run one query."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement without its semicolon, and the line (from 1) that it begins on."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; ``sha256`` is over its text with Unix line ends, so that a checkout's setting does not change it."""

    version: int
    name: str
    path: Path
    sha256: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that this run applied."""

    version: int
    name: str
    sha256: str


def split_statements(sql: str, source: str = "sql") -> list[Statement]:
    """Split at semicolons outside of quotes, comments and heredocs; what has only comments is left out.

    Raises:
        MigrationError: a quote or a comment that is never closed.
    """
    found: list[Statement] = []
    begin: int | None = None
    for token in _TOKEN.finditer(sql):
        kind = token.lastgroup if token.lastgroup != "tag" else "heredoc"
        if kind == "open":
            line = sql.count("\n", 0, token.start()) + 1
            raise MigrationError(f"{source}:{line}: {token.group()} is never closed; close it")
        if kind == "end":
            if begin is not None:
                found.append(_statement(sql, begin, token.start()))
            begin = None
        elif kind not in ("space", "line", "block") and begin is None:
            begin = token.start()
    if begin is not None:
        found.append(_statement(sql, begin, len(sql)))
    return found


def _statement(sql: str, begin: int, end: int) -> Statement:
    return Statement(sql[begin:end].strip(), sql.count("\n", 0, begin) + 1)


def load_migrations(folder: Path = MIGRATIONS_DIR) -> list[Migration]:
    """All migrations of a folder in order.

    Raises:
        MigrationError: a name that is no ``NNNN_name.sql``, a number missing or given twice, no UTF-8, an unclosed
            quote, or a statement that cannot be repeated.
    """
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path}: expected a name such as 0001_base.sql")
        expected = len(migrations) + 1
        if int(match[1]) != expected:
            raise MigrationError(f"{path}: expected number {expected:04d}; numbers go up by one and occur once")
        migrations.append(_load(path, int(match[1]), match[2]))
    return migrations


def _load(path: Path, version: int, name: str) -> Migration:
    try:
        sql = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise MigrationError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    statements = tuple(split_statements(sql, str(path)))
    for statement in statements:
        _require_repeatable(path, statement)
    return Migration(version, name, path, hashlib.sha256(sql.encode()).hexdigest(), statements)


def _require_repeatable(path: Path, statement: Statement) -> None:
    bare = " ".join(
        token.group() for token in _TOKEN.finditer(statement.text) if token.lastgroup in ("text", "quoted", "end")
    )
    if _ALTER.match(bare):
        repeatable = _ALTER_ONCE.search(re.sub(r"'(?:[^'\\]|\\.|'')*'", "''", bare)) is None
    else:
        repeatable = _REPEATABLE.match(bare) is not None
    if not repeatable:
        shown = statement.text.partition("\n")[0][:80]
        raise MigrationError(
            f"{path}:{statement.line}: a second run of {shown!r} could fail or change data; "
            "write it with IF NOT EXISTS, IF EXISTS or OR REPLACE"
        )


def migrate(client: ClickHouse, folder: Path = MIGRATIONS_DIR) -> list[Applied]:
    """Apply what is not applied yet, in order, in the client's database; blocks. Returns what this run applied.

    Raises:
        MigrationError: a bad file, an applied file that was changed or is gone (before anything is applied), or a
            statement that the server refused (the files before it stay applied; a later run repeats this one).
    """
    migrations = load_migrations(folder)
    client.command(_TABLE)
    rows = client.query(
        "SELECT version, name, toString(sha256) FROM schema_migrations FINAL ORDER BY version"
    ).result_rows
    applied = {int(version): (str(name), str(sha256)) for version, name, sha256 in rows}
    _require_unchanged(migrations, applied, folder)
    done: list[Applied] = []
    for migration in migrations:
        if migration.version in applied:
            continue
        for statement in migration.statements:
            _run(client, migration, statement)
        # Name and hash are checked above to be [a-z0-9_] and hexadecimal: nothing to escape.
        client.command(
            "INSERT INTO schema_migrations (version, name, sha256, applied_at) "
            f"SELECT {migration.version}, '{migration.name}', '{migration.sha256}', now64(3)"
        )
        done.append(Applied(migration.version, migration.name, migration.sha256))
    return done


def _run(client: ClickHouse, migration: Migration, statement: Statement) -> None:
    try:
        client.command(statement.text)
    except Exception as error:  # every client has its own errors; the place in the file is what helps
        raise MigrationError(
            f"{migration.path}:{statement.line}: the server refused the statement: {error}. "
            "Correct the file and run again; statements before it are repeated safely."
        ) from error


def _require_unchanged(migrations: list[Migration], applied: dict[int, tuple[str, str]], folder: Path) -> None:
    known = {migration.version: migration for migration in migrations}
    for version, (name, sha256) in applied.items():
        if version not in known:
            raise MigrationError(
                f"{folder}: the database has migration {version:04d}_{name}, which this version of Tocsin does not; "
                "use the version that made the database, or a newer one"
            )
        if known[version].sha256 != sha256:
            raise MigrationError(
                f"{known[version].path}: was changed after it was applied (sha256 {known[version].sha256[:12]}, "
                f"applied {sha256[:12]}); restore it and put the change into a new {len(migrations) + 1:04d}_*.sql"
            )


def migrate_platform(settings: Settings) -> list[Applied]:
    """Create the database if need be and apply all migrations over HTTP; blocks.

    Raises:
        MigrationError: see ``migrate``; also when ClickHouse does not answer.
    """
    import clickhouse_connect

    try:
        with clickhouse_connect.get_client(**client_arguments(settings)) as client:
            client.command(f"CREATE DATABASE IF NOT EXISTS `{settings.clickhouse_database}`")
            client.database = settings.clickhouse_database
            return migrate(client)
    except MigrationError:
        raise
    except Exception as error:
        raise MigrationError(
            f"ClickHouse at {settings.clickhouse_url} did not take the migrations: {error}. "
            "Is the platform up ('tocsin up'), and TOCSIN_CLICKHOUSE_URL right?"
        ) from error
