"""Running one request's statement: checks, then a result in encoded pieces or an INSERT fed with the body.

Everything here blocks and runs in worker threads; ``server`` does the waiting.
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field

from deploy.clickhouse import access, output
from deploy.clickhouse.access import Vocabulary
from deploy.clickhouse.compression import BlockEncoder, Coder, choose_coding, encoder
from deploy.clickhouse.engine import Engine, Link, Stats, quote_name
from deploy.clickhouse.errors import (
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    READONLY,
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    SYNTAX_ERROR,
    QueryError,
)
from deploy.clickhouse.native import for_revision
from deploy.clickhouse.protocol import Call
from deploy.clickhouse.statement import Insert, format_clause

_TAG_ALPHABET = string.ascii_lowercase
# What a read-only user's statement may use at most unless the request says less.
_READER_DEFAULTS = {"max_execution_time": "60", "max_memory_usage": str(2 << 30), "max_threads": "2"}


@dataclass(frozen=True)
class User:
    """A user of the server."""

    name: str
    password: str = field(repr=False)
    readonly: bool


@dataclass
class Result:
    """A statement's outcome. ``pieces`` gives the encoded body piece by piece and None at its end."""

    format_name: str | None
    coding: str | None
    pieces: Callable[[], bytes | None]
    stats: Stats
    exception_tag: str
    close: Callable[[], None]


class Executor:
    """Runs statements of users on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with closing(engine.link()) as link:
            self.vocabulary = Vocabulary.read(link)
            compression = link.text("SELECT value FROM system.settings WHERE name = 'enable_http_compression'")
        self._compression_default = compression.strip() == "1"

    def open(self, call: Call, user: User, sql: str) -> tuple[Link, str, Callable[[], None]]:
        """A prepared handle for a checked statement, the statement's class, and what to call when done with it.

        Raises:
            QueryError: the statement is refused or cannot be parsed, a setting or database is wrong.
        """
        if not sql.strip():
            raise QueryError.of(SYNTAX_ERROR, "Empty query: send it in the URL parameter query or in the body.")
        session = bool(call.session_id) and not user.readonly and not call.read_method
        link, close = self._session(call, user, sql) if session else self._fresh(call, user)
        try:
            kind = self._check(link, call, user, sql)
        except BaseException:
            close()
            raise
        return link, kind, close

    def _fresh(self, call: Call, user: User) -> tuple[Link, Callable[[], None]]:
        settings: Mapping[str, str] = call.settings
        if user.readonly:
            settings = {**_READER_DEFAULTS, **access.reader_settings(settings)}
            if call.external:
                raise QueryError.of(READONLY, "Cannot create external tables in readonly mode. Use values() instead.")
        link = self.engine.link()
        try:
            # External tables have to be created first.
            readonly = 0 if call.external else _readonly(call, user)
            link.prepare(call.database, settings, readonly, call.tag)
        except BaseException:
            link.close()
            raise
        return link, link.close

    def _session(self, call: Call, user: User, sql: str) -> tuple[Link, Callable[[], None]]:
        held = self.engine.session(user.name, call.session_id)
        if held is None and call.session_check:
            raise QueryError.of(SESSION_NOT_FOUND, f"Session {call.session_id!r} not found or expired.", 404)
        if held is None:
            with closing(self.engine.link()) as link:
                kind, _ = link.classify(sql)
            # Only SET, USE and temporary tables leave something for the next request of a session.
            if kind != access.CONTROL:
                return self._fresh(call, user)
            held = self.engine.open_session(user.name, call.session_id, call.session_timeout)
        if not held.lock.acquire(blocking=False):
            raise QueryError.of(
                SESSION_IS_LOCKED,
                f"Session {call.session_id!r} is locked by a concurrent request. Use one session for each thread.",
            )
        link = held.link
        link.stats = Stats()

        def done() -> None:
            try:
                link.stop()
                link.reset({name: value for name, value in call.settings.items() if name != "readonly"})
            finally:
                held.expires = time.monotonic() + call.session_timeout
                held.lock.release()

        try:
            link.prepare(call.database if call.database_given else None, call.settings, 0, call.tag)
        except BaseException:
            done()
            raise
        return link, done

    def _check(self, link: Link, call: Call, user: User, sql: str) -> str:
        if user.readonly:
            access.check_reader(link, self.vocabulary, sql, call.params, call.database, self.engine.database)
            return access.READ_ONLY
        kind = access.single_statement(link, sql, call.params)
        low = sql.lower()
        if "outfile" in low or "infile" in low:
            access.forbid_files(access.tokens(link, sql))
        if call.read_method and kind != access.READ_ONLY:
            raise QueryError.of(
                READONLY,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
                "You should use method POST for modifying queries.",
            )
        return kind

    def run(self, call: Call, user: User, sql: str, accept: str, tables: Mapping[str, bytes]) -> Result:
        """Run a statement that brings no data for an INSERT; the first rows are there when this returns.

        ``tables`` is the data of external tables by name; ``accept`` the request's Accept-Encoding.

        Raises:
            QueryError: refused, wrong, or failed before its first rows.
        """
        link, kind, close = self.open(call, user, sql)
        try:
            for name, data in tables.items():
                _load_external(link, name, call.external.get(name, {}), data)
            if call.external and _readonly(call, user):
                link.restrict(_readonly(call, user))
            default = call.default_format or output.DEFAULT_FORMAT
            format_name = format_clause(sql) or default
            first, pieces = self._pieces(link, call, sql, kind, format_name, default)
            shows = kind == access.READ_ONLY or bool(first)
            coding, encode = self._coding(call, accept) if shows else (None, None)
            return Result(
                format_name if shows else None,
                coding,
                _encoded(first, pieces, encode),
                link.stats,
                exception_tag(),
                close,
            )
        except BaseException:
            close()
            raise

    def _pieces(
        self, link: Link, call: Call, sql: str, kind: str, format_name: str, default: str
    ) -> tuple[bytes, Callable[[], bytes | None]]:
        """The first piece, so that errors still have a status of their own, and a function for the others."""
        native = call.revision if format_name.lower() == "native" else 0
        if kind == access.READ_ONLY and output.streams(format_name) and link.start_stream(sql, default, call.params):
            join = output.joiner(format_name)

            def following() -> bytes | None:
                piece = link.fetch()
                return None if piece is None else for_revision(join(piece), native)

            return following() or b"", following
        with nullcontext() if kind in (access.READ_ONLY, access.CONTROL) else self.engine.disk.written():
            whole = link.query(sql, default, call.params)
        return for_revision(whole, native), lambda: None

    def _coding(self, call: Call, accept: str) -> tuple[str | None, Coder | None]:
        level = _number(call.settings.get("http_zlib_compression_level", "3"))
        if call.blocks_out:
            method = call.settings.get("network_compression_method", "LZ4")
            return None, BlockEncoder(method, _number(call.settings.get("network_zstd_compression_level", "1")))
        wanted = call.settings.get("enable_http_compression")
        if wanted in ("1", "true") or (wanted is None and self._compression_default):
            coding = choose_coding(accept)
            if coding is not None:
                return coding, encoder(coding, level)
        return None, None

    def start_insert(self, call: Call, user: User, insert: Insert) -> tuple[Link, Callable[[], None]]:
        """A handle with an INSERT begun on it.

        Raises:
            QueryError: refused, or the statement has a SELECT.
        """
        link, _, close = self.open(call, user, f"{insert.head}\nFORMAT {insert.format_name}")
        try:
            if insert.from_select:
                raise QueryError.of(
                    NOT_IMPLEMENTED,
                    "INSERT ... SELECT with data in the body (the input() table function) is not supported here. "
                    "Insert the data into a temporary table first.",
                )
            link.start_insert(insert)
        except BaseException:
            close()
            raise
        return link, close

    def finish_insert(self, link: Link, rest: bytes) -> None:
        """Run an INSERT with the last of its data. When this returns, all rows are stored.

        Raises:
            QueryError: whatever the engine says of the data, the table, its views and the disk.
        """
        link.append(rest)
        with self.engine.disk.written():
            link.finish_insert()


def _readonly(call: Call, user: User) -> int:
    """The engine's ``readonly`` of a request: 1 nothing but reading, 2 reading with settings, 0 everything."""
    if user.readonly:
        return 1
    wanted = call.settings.get("readonly", "0")
    return int(wanted) if wanted in ("1", "2") else 2 if call.read_method else 0


def _number(value: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise QueryError.of(BAD_ARGUMENTS, f"A compression level must be a whole number, not {value!r}.") from error


def _encoded(first: bytes, pieces: Callable[[], bytes | None], encode: Coder | None) -> Callable[[], bytes | None]:
    waiting: list[bytes] = [first]
    ended = False

    def following() -> bytes | None:
        nonlocal ended
        if ended:
            return None
        piece = waiting.pop() if waiting else pieces()
        if piece is not None:
            return encode.feed(piece) if encode else piece
        ended = True
        return (encode.finish() or None) if encode else None

    return following


def _load_external(link: Link, name: str, described: Mapping[str, str], data: bytes) -> None:
    structure = described.get("structure")
    if structure is None:
        types = described.get("types", "")
        structure = ", ".join(f"_{number} {kind}" for number, kind in enumerate(types.split(","), start=1) if kind)
    if not structure:
        raise QueryError.of(
            BAD_ARGUMENTS, f"External table {name!r} needs {name}_structure or {name}_types in the URL."
        )
    link.text(f"CREATE TEMPORARY TABLE {quote_name(name)} ({structure}) ENGINE = Memory")
    link.start_insert(
        Insert(f"INSERT INTO {quote_name(name)}", "", described.get("format", output.DEFAULT_FORMAT), data=0)
    )
    link.append(data)
    link.finish_insert()
    link.stats = Stats()


def exception_tag() -> str:
    """A random word that marks an error within a result, so that no data can be mistaken for one."""
    return "".join(secrets.choice(_TAG_ALPHABET) for _ in range(16))


def exception_block(error: QueryError, version: str, tag: str) -> bytes:
    """An error for the end of a body whose status is sent already, in ClickHouse's framing."""
    message = error.body(version).rstrip(b"\n")
    marked = tag.encode()
    return (
        b"\r\n__exception__\r\n" + marked + b"\r\n" + message + b"\n"
        + f"{len(message) + 1} ".encode() + marked + b"\r\n__exception__\r\n"
    )  # fmt: skip
