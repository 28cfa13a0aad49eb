"""What a statement may do. The engine's own parser and lexer decide, never a pattern over the text.

chDB has one user with every right, so a read-only user is made of layers, each of which holds alone against most
attacks: the engine's ``readonly = 1`` (no writes, no DDL, no changed settings, no table function with a source),
the engine's classification of the statement, its syntax tree, and its tokens. The last two are both needed: some
nodes print their parts only partly (SHOW ... WHERE, APPLY), and tokens know nothing of query parameters.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from deploy.clickhouse.errors import ACCESS_DENIED, READONLY, SYNTAX_ERROR, QueryError

READ_ONLY = "READ_ONLY"
CONTROL = "CONTROL"
UNKNOWN = "UNKNOWN"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Table functions that only compute; all others of the engine, also those of later versions, are refused.
SAFE_TABLE_FUNCTIONS = _words(
    "numbers numbers_mt zeros zeros_mt null values sqlstandardvalues view generaterandom generateseries "
    "generate_series primes format"
)
# Scalar functions that read files, open connections or tell of the server's inside. Those of the engine's
# categories AI (network) and Introspection are added at start.
FORBIDDEN_FUNCTIONS = _words(
    "file hascolumnintable getserversetting getmacro showcertificate getclienthttpheader currentrequesturl "
    "catboostevaluate evalmlmethod reversednsquery dictget joinget joingetornull generateserialid "
    "zookeepersessionuptime filesystemavailable filesystemcapacity filesystemunreserved fuzzquery"
)
FORBIDDEN_CATEGORIES = ("AI", "Introspection", "Machine Learning", "Machine learning", "Dictionary")
# What clients and dashboards read to describe a server. Users, grants, running queries of others, logs, disks,
# server settings, stacks and named collections are not among them.
SYSTEM_TABLES = _words(
    "aggregate_function_combinators asynchronous_metrics build_options clusters codecs collations columns completions "
    "constraints contributors dashboards data_skipping_indices data_type_families database_engines databases "
    "dictionaries documentation events formats functions keywords licenses merge_tree_settings merges metrics "
    "mutations numbers numbers_mt one parts parts_columns primes projection_parts projections settings table_engines "
    "table_functions tables time_zones tokenizers unicode warnings zeros zeros_mt"
)
READABLE_DATABASES = frozenset({"default", "system", "information_schema"})

_SHOW_ROOTS = _words(
    "ShowTables ShowColumns ShowIndexes ShowFunctions ShowSetting ShowEngineQuery ShowCreateTableQuery "
    "ShowCreateViewQuery ShowCreateDatabaseQuery ExistsTableQuery ExistsViewQuery ExistsDatabaseQuery "
    "DescribeQuery"
)
_EXPLAINS = ("", "AST", "SYNTAX", "QUERY TREE", "PLAN", "PIPELINE", "ESTIMATE")
_NODE = re.compile(r"^ *(\S+)(?: (.*?))?(?: \(alias .*?\))?(?: \(children \d+\))?$")
_QUOTES = {"`": "`", '"': '"', "\u201c": "\u201d"}
_PLAIN_NAME = re.compile(r"^[\w.$-]*$")


class Engine(Protocol):
    """What the checks ask of the engine; a prepared handle of ``engine.Link``."""

    def classify(self, sql: str) -> tuple[str, int]: ...

    def text(self, sql: str, params: Mapping[str, str] | None = None) -> str: ...


@dataclass(frozen=True)
class Vocabulary:
    """Names of the engine at hand, in lower case."""

    table_functions: frozenset[str]
    forbidden_functions: frozenset[str]

    @classmethod
    def read(cls, engine: Engine) -> Vocabulary:
        """Ask the engine for its functions."""
        tables = engine.text("SELECT name FROM system.table_functions FORMAT TSVRaw").split("\n")
        categories = ", ".join(f"'{name}'" for name in FORBIDDEN_CATEGORIES)
        scalar = engine.text(
            f"WITH (SELECT groupArray(name) FROM system.functions WHERE hasAny(splitByChar(',', categories), "
            f"[{categories}])) AS risky SELECT name FROM system.functions "
            "WHERE has(risky, name) OR has(risky, alias_to) OR startsWith(lower(name), 'dictget') FORMAT TSVRaw"
        ).split("\n")
        return cls(
            frozenset(name.lower() for name in tables if name),
            FORBIDDEN_FUNCTIONS | frozenset(name.lower() for name in scalar if name),
        )

    def refuses(self, name: str, called: bool) -> bool:
        """Whether a read-only user may not use a name, as a function in any place or ``called`` with brackets."""
        low = name.lower()
        if low in self.forbidden_functions:
            return True
        return called and low in self.table_functions and low not in SAFE_TABLE_FUNCTIONS


@dataclass(frozen=True)
class Token:
    """One token of the engine's lexer, ``kind`` by the engine's naming."""

    kind: str
    text: str


def syntax_error(engine: Engine, sql: str, params: Mapping[str, str]) -> QueryError:
    """The engine's complaint about a statement that it cannot parse, without running anything of it."""
    prefix = "EXPLAIN AST "
    try:
        engine.text(prefix + sql, params)
    except QueryError as error:
        if error.code == SYNTAX_ERROR:
            moved = re.sub(
                r"failed at position (\d+)",
                lambda found: f"failed at position {max(1, int(found.group(1)) - len(prefix))}",
                error.text,
            )
            return QueryError(error.code, moved)
        return error
    return QueryError.of(SYNTAX_ERROR, "Syntax error: the statement is empty or cannot be parsed.")


def single_statement(engine: Engine, sql: str, params: Mapping[str, str]) -> str:
    """The class of a statement: READ_ONLY, MUTATING, MUTATING_GLOBAL or CONTROL.

    Raises:
        QueryError: SYNTAX_ERROR for none or several statements, and for what cannot be parsed.
    """
    kind, count = engine.classify(sql)
    if count > 1:
        raise QueryError.of(
            SYNTAX_ERROR,
            "Syntax error (Multi-statements are not allowed): send each statement in a request of its own.",
        )
    if kind == UNKNOWN or count == 0:
        raise syntax_error(engine, sql, params)
    return kind


def tokens(engine: Engine, sql: str) -> list[Token]:
    """The significant tokens of a statement by the engine's lexer."""
    data = sql.encode()
    listed = engine.text("SELECT tokenizeQuery({sql:String}) FORMAT TSVRaw", {"sql": escape_parameter(sql)})
    parts: list[tuple[int, int, str]] = ast.literal_eval(listed.strip())
    return [
        Token(kind, data[begin:end].decode(errors="replace"))
        for begin, end, kind in parts
        if kind not in ("Whitespace", "Comment")
    ]


def escape_parameter(value: str) -> str:
    """A value in the escaped form that query parameters are sent in."""
    out = value.replace("\\", "\\\\")
    for plain, escaped in (("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"), ("'", "\\'")):
        out = out.replace(plain, escaped)
    return out


def forbid_files(parts: list[Token]) -> None:
    """Refuse INTO OUTFILE and FROM INFILE, which a server leaves to its clients.

    Raises:
        QueryError: READONLY.
    """
    for part in parts:
        if part.kind == "BareWord" and part.text.lower() in ("outfile", "infile"):
            raise QueryError.of(
                READONLY,
                f"{part.text.upper()} is not allowed over HTTP: it would name a file of the server. "
                "Read or send the data in the body.",
            )


def check_reader(
    engine: Engine, vocabulary: Vocabulary, sql: str, params: Mapping[str, str], database: str, home: str
) -> None:
    """Let a read-only user's statement pass, or refuse it.

    ``database`` is the one that unqualified names resolve in, ``home`` the server's own.

    Raises:
        QueryError: READONLY or ACCESS_DENIED with what was refused, SYNTAX_ERROR.
    """
    readable = READABLE_DATABASES | {home.lower()}
    if database.lower() == "system" or database.lower() not in readable:
        raise _denied(f"the database {database!r}; a read-only user reads {home!r} and can name system tables in full")
    if single_statement(engine, sql, params) != READ_ONLY:
        raise QueryError.of(READONLY, "Cannot execute query in readonly mode: this user may only read.")
    parts = tokens(engine, sql)
    forbid_files(parts)
    _check_tokens(parts, vocabulary)
    _check_parameters(parts, params, vocabulary)
    _check_tree(engine.text("EXPLAIN AST " + sql, params), vocabulary, readable)


def _denied(what: str) -> QueryError:
    return QueryError.of(ACCESS_DENIED, f"Not enough privileges: this user may not use {what}.")


def _name(part: Token) -> str | None:
    """The identifier that a token is, or None for another token.

    Raises:
        QueryError: for a quoted name with escapes, which could spell any other name.
    """
    if part.kind == "BareWord":
        return part.text
    if part.kind != "QuotedIdentifier":
        return None
    inner = part.text[1:-1]
    if "\\" in inner or _QUOTES.get(part.text[:1], "`") in inner:
        raise _denied(f"the quoted name {part.text}; write names without escapes")
    return inner


def _check_tokens(parts: list[Token], vocabulary: Vocabulary) -> None:
    names = [_name(part) for part in parts]
    for at, name in enumerate(names):
        if name is None:
            continue
        following = parts[at + 1].kind if at + 1 < len(parts) else ""
        if vocabulary.refuses(name, called=following == "OpeningRoundBracket"):
            raise _denied(f"the function {name}")
        if name.lower() == "system" and following == "Dot":
            table = names[at + 2] if at + 2 < len(names) else None
            # {name:Identifier} behind the dot is resolved in the syntax tree.
            if table is not None and table.lower() not in SYSTEM_TABLES:
                raise _denied(f"the table system.{table}")


def _check_parameters(parts: list[Token], params: Mapping[str, str], vocabulary: Vocabulary) -> None:
    """Values of ``{name:Identifier}`` become names; those of other types stay values, whatever they hold."""
    for at, part in enumerate(parts):
        if part.kind != "BareWord" or part.text.lower() != "identifier" or at < 2 or parts[at - 1].kind != "Colon":
            continue
        value = params.get(parts[at - 2].text, "")
        if not _PLAIN_NAME.match(value):
            raise _denied(f"the name {value!r} as a parameter; letters, digits, _, $, - and . can be used in it")
        for piece in value.split("."):
            if vocabulary.refuses(piece, called=True):
                raise _denied(f"the function {piece} as a parameter")


def _check_tree(tree: str, vocabulary: Vocabulary, readable: frozenset[str]) -> None:
    nodes = [found.groups(default="") for found in map(_NODE.match, tree.splitlines()) if found]
    _check_root(nodes)
    for kind, text in nodes:
        if kind == "Function" and vocabulary.refuses(text, called=True):
            raise _denied(f"the function {text}")
        if kind not in ("TableIdentifier", "Identifier"):
            continue
        if vocabulary.refuses(text, called=False):
            raise _denied(f"the function {text}")
        database, dot, table = text.partition(".")
        if database.lower() == "system" and dot and table.split(".")[0].lower() not in SYSTEM_TABLES:
            raise _denied(f"the table {text}")
        if kind == "TableIdentifier" and ("/" in text or (dot and database.lower() not in readable)):
            raise _denied(f"the table {text}")


def _check_root(nodes: list[tuple[str, ...]]) -> None:
    kind, text = nodes[0] if nodes else ("", "")
    if kind == "Explain":
        if text.removeprefix("EXPLAIN").strip() not in _EXPLAINS:
            raise _denied(text)
        kind = nodes[1][0] if len(nodes) > 1 else ""
        if kind not in ("SelectWithUnionQuery", "SelectIntersectExceptQuery"):
            raise _denied("EXPLAIN of anything but a SELECT")
    elif kind not in _SHOW_ROOTS and kind not in ("SelectWithUnionQuery", "SelectIntersectExceptQuery"):
        raise _denied(f"this kind of statement ({kind or 'unknown'})")


# Settings that shape a result or bound a query. Everything else, above all what names files, schemas, users or
# other servers, stays as the server set it.
_READER_SETTINGS = _words(
    "max_execution_time max_result_rows max_result_bytes result_overflow_mode max_rows_to_read max_bytes_to_read "
    "read_overflow_mode timeout_overflow_mode max_threads max_block_size max_rows_to_group_by group_by_overflow_mode "
    "max_bytes_before_external_group_by max_bytes_before_external_sort extremes limit offset final join_use_nulls "
    "joined_subquery_requires_alias prefer_column_name_to_alias group_by_use_nulls date_time_output_format "
    "date_time_input_format session_timezone use_query_cache enable_http_compression http_zlib_compression_level "
    "network_compression_method network_zstd_compression_level send_progress_in_http_headers "
    "http_headers_progress_interval_ms add_http_cors_header cancel_http_readonly_queries_on_client_close readonly "
    "log_queries log_comment wait_end_of_query allow_experimental_analyzer enable_analyzer "
    "allow_suspicious_low_cardinality_types input_format_null_as_default cast_keep_nullable "
    "connect_timeout receive_timeout send_timeout http_max_chunk_size optimize_read_in_order "
    "do_not_merge_across_partitions_select_final describe_compact_output low_cardinality_allow_in_native_format "
    "http_write_exception_in_output_format http_wait_end_of_query"
)
# Caps of the numeric ones; 0 means no bound and is lifted to the cap.
READER_CAPS = {"max_execution_time": 120, "max_threads": 4}


def reader_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """A read-only user's settings, capped.

    Raises:
        QueryError: READONLY for a setting that the user may not change.
    """
    out = {}
    for name, value in settings.items():
        shapes_output = name.startswith(("output_format_", "format_csv_", "format_tsv_", "format_binary_"))
        if name not in _READER_SETTINGS and (not shapes_output or "schema" in name):
            raise QueryError.of(READONLY, f"Cannot modify '{name}' setting in readonly mode")
        cap = READER_CAPS.get(name)
        if cap is not None:
            try:
                wanted = float(value)
            except ValueError:
                wanted = 0
            value = value if 0 < wanted <= cap else str(cap)
        out[name] = value
    return out
