"""Parts without a server: statements cut from data, Native blocks, pieces joined, compression."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.clickhouse import output, protocol
from deploy.clickhouse.compression import BlockDecoder, BlockEncoder, choose_coding, decoder, encoder
from deploy.clickhouse.errors import QueryError
from deploy.clickhouse.native import BLOCK_INFO, for_revision
from deploy.clickhouse.statement import find_insert, format_clause, is_insert, undecided


@pytest.mark.parametrize(
    ("text", "head", "format_name", "data"),
    [
        ("INSERT INTO t FORMAT CSV\n1", "INSERT INTO t", "CSV", "1"),
        ("INSERT INTO t FORMAT CSV   \n 1", "INSERT INTO t", "CSV", " 1"),
        ("INSERT INTO t FORMAT CSV\r\n1", "INSERT INTO t", "CSV", "1"),
        ("INSERT INTO t FORMAT JSONEachRow {}", "INSERT INTO t", "JSONEachRow", "{}"),
        ("INSERT INTO t (a, format) VALUES (1)", "INSERT INTO t (a, format)", "Values", " (1)"),
        ("insert into db.format format TSV\n1", "insert into db.format", "TSV", "1"),
        ("INSERT INTO `format csv` FORMAT TSV\n1", "INSERT INTO `format csv`", "TSV", "1"),
        ('INSERT INTO "values" VALUES (1)', 'INSERT INTO "values"', "Values", " (1)"),
        (
            "INSERT /* FORMAT X */ INTO t -- VALUES\n FORMAT TSV\n1",
            "INSERT /* FORMAT X */ INTO t -- VALUES",
            "TSV",
            "1",
        ),
        (
            "INSERT INTO t SETTINGS a = 'FORMAT TSV' FORMAT CSV\n1",
            "INSERT INTO t SETTINGS a = 'FORMAT TSV'",
            "CSV",
            "1",
        ),
        ("INSERT INTO {t:Identifier} FORMAT CSV\n1", "INSERT INTO {t:Identifier}", "CSV", "1"),
    ],
)
def test_where_the_data_of_an_insert_begins(text: str, head: str, format_name: str, data: str) -> None:
    found = find_insert(text.encode())
    assert found is not None
    assert (found.head, found.format_name, text[found.data :]) == (head, format_name, data)


@pytest.mark.parametrize(
    ("text", "into", "settings"),
    [
        ("INSERT INTO t (a, settings) FORMAT TSV\n", "INSERT INTO t (a, settings)", ""),
        ("INSERT INTO db.settings VALUES", "INSERT INTO db.settings", ""),
        (
            "INSERT INTO settings settings a = 1, b = 'x' FORMAT CSV\n",
            "INSERT INTO settings ",
            "settings a = 1, b = 'x'",
        ),
        ("INSERT INTO täbelle -- c\nSETTINGS a = 1 -- d\n VALUES", "INSERT INTO täbelle -- c\n", "SETTINGS a = 1 -- d"),
    ],
)
def test_an_insert_with_its_data_in_a_file(text: str, into: str, settings: str) -> None:
    found = find_insert(text.encode())
    assert found is not None
    assert (found.into, found.settings) == (into, settings)
    sql = found.from_file("/dev/fd/3")
    assert sql == f"{into}\nFROM INFILE '/dev/fd/3' COMPRESSION 'none'\n{settings}\nFORMAT {found.format_name}"


@pytest.mark.parametrize(
    "text", ["INSERT INTO t SELECT 1", "INSERT INTO t", "INSERT INTO t FORMAT", "INSERT INTO t FORMAT CS"]
)
def test_no_data_has_begun(text: str) -> None:
    assert find_insert(text.encode()) is None


def test_first_word() -> None:
    assert is_insert(b" -- c\n /* c */ insert into t")
    assert not is_insert(b"SELECT 'INSERT'")
    assert undecided(b"  -- c\n INS")
    assert not undecided(b"SEL")


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1 FORMAT JSON;", "JSON"),
        ("SELECT 1 FORMAT JSON SETTINGS a = 1 -- c", "JSON"),
        ("SELECT 1 AS format", None),
        ("SELECT 'FORMAT JSON'", None),
        ("SELECT format FROM t", None),
        ("SELECT 1 /* FORMAT JSON */", None),
    ],
)
def test_format_clause(sql: str, name: str | None) -> None:
    assert format_clause(sql) == name


TYPES = {
    "UInt8": "toUInt8(number)",
    "Bool": "number % 2 = 0",
    "Int256": "toInt256(number)",
    "String": "repeat('é', number * 50)",
    "FixedString(3)": "toFixedString('ab', 3)",
    "Nullable(String)": "if(number % 2, NULL, toString(number))",
    "LowCardinality(String)": "toLowCardinality(toString(number % 3))",
    "LowCardinality(Nullable(String))": "toLowCardinality(if(number % 2, NULL, 'x'))",
    "Array(LowCardinality(String))": "arrayMap(x -> toLowCardinality(toString(x)), range(number % 4))",
    "Array(LowCardinality(String)) empty": "CAST([], 'Array(LowCardinality(String))')",
    "Array(Array(Nullable(Int64)))": "[[toNullable(toInt64(number))], []]",
    "Map(String, Array(String))": "map('k', [toString(number)], 'l', [])",
    "Map(LowCardinality(String), UInt8)": "map(toLowCardinality('k'), toUInt8(1))",
    "Tuple(a UInt64, `b c` String)": "CAST((number, 'x'), 'Tuple(a UInt64, `b c` String)')",
    "Nested(a Int8, b LowCardinality(String))": "CAST([(1, 'n')], 'Nested(a Int8, b LowCardinality(String))')",
    "Decimal(38, 4)": "toDecimal128(number, 4)",
    "DateTime64(3, 'UTC')": "toDateTime64(number, 3, 'UTC')",
    "Enum8('a' = 0, 'b,(' = 1)": "CAST(number % 2, 'Enum8(''a'' = 0, ''b,('' = 1)')",
    "UUID": "generateUUIDv4()",
    "IPv6": "toIPv6('::1')",
    "IntervalDay": "toIntervalDay(number)",
    "Point": "(toFloat64(number), 1.)::Point",
    "Nothing": "NULL",
    "SimpleAggregateFunction(max, Int64)": "CAST(number, 'SimpleAggregateFunction(max, Int64)')",
}


@pytest.fixture(scope="module")
def engine() -> Any:
    link = importlib.import_module("chdb._chdb").connect(":memory:")
    yield link
    link.close()


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("rows", [1, 300])
def test_native_blocks_gain_one_byte_for_each_column(engine: Any, name: str, rows: int) -> None:
    """The column behind the one of interest starts where the walk says, or its header would not be found."""
    sql = f"SELECT {TYPES[name]} AS x, number AS last FROM numbers({rows})"
    plain = bytes(engine.query(sql, "Native").bytes())
    old = for_revision(plain, 54405)
    new = for_revision(plain, 54460)
    assert old == BLOCK_INFO + plain
    header = b"\x04last\x06UInt64"
    numbers = b"".join(number.to_bytes(8, "little") for number in range(rows))
    assert new.endswith(header + b"\x00" + numbers)
    assert len(new) == len(old) + 2
    assert for_revision(plain + plain, 54460) == new + new
    assert for_revision(plain, 0) == plain


def test_native_types_of_unknown_length_are_named(engine: Any) -> None:
    plain = bytes(engine.query("SELECT uniqState(1) AS x", "Native").bytes())
    with pytest.raises(QueryError, match="AggregateFunction"):
        for_revision(plain, 54460)


def test_pieces_with_names_are_joined() -> None:
    join = output.joiner("CSVWithNames")
    pieces = [b'"a ""x\ny"\n1\n', b'"a ""x\ny"\n2\n', b""]
    assert b"".join(map(join, pieces)) == b'"a ""x\ny"\n1\n2\n'
    join = output.joiner("TSVWithNamesAndTypes")
    assert b"".join(map(join, [b"a\nInt8\n1\n", b"a\nInt8\n2\n"])) == b"a\nInt8\n1\n2\n"


@given(st.lists(st.binary(max_size=5000), max_size=5), st.sampled_from(["LZ4", "ZSTD", "NONE"]), st.integers(1, 97))
def test_blocks_come_back_however_they_are_cut(parts: list[bytes], method: str, step: int) -> None:
    packed = b"".join(BlockEncoder(method).feed(part) for part in parts)
    decode = BlockDecoder()
    out = [decode.feed(packed[at : at + step]) for at in range(0, len(packed), step)]
    assert b"".join(out) + decode.finish() == b"".join(parts)


@given(st.lists(st.binary(max_size=5000), max_size=5), st.sampled_from(["gzip", "deflate", "zstd", "lz4", "br"]))
def test_codings_come_back(parts: list[bytes], coding: str) -> None:
    encode, decode = encoder(coding), decoder(coding)
    assert decode is not None
    packed = b"".join([*(encode.feed(part) for part in parts), encode.finish()])
    out = [decode.feed(packed[at : at + 7]) for at in range(0, len(packed), 7)]
    assert b"".join(out) + decode.finish() == b"".join(parts)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("lz4,zstd,br,gzip,deflate", "lz4"),
        ("gzip;q=0.5", "gzip"),
        ("gzip;q=0, br", "br"),
        ("identity", None),
        ("", None),
        ("snappy", None),
    ],
)
def test_choice_of_a_coding(accept: str, coding: str | None) -> None:
    assert choose_coding(accept) == coding


def test_url_parameters_that_are_no_settings() -> None:
    url = {
        "query": "SELECT 1",
        "max_threads": "2",
        "param_a": "x",
        "ext_structure": "a Int8",
        "output_format_schema": "s",
    }
    call = protocol.parse("POST", {}, url, "home", "user")
    assert call.settings == {"max_threads": "2", "output_format_schema": "s"}
    assert (call.params, call.external, call.database) == ({"a": "x"}, {"ext": {"structure": "a Int8"}}, "home")
    with pytest.raises(QueryError, match="not the name of a setting"):
        protocol.parse("POST", {}, {"max_threads = 1, readonly": "0"}, "home", "user")
    with pytest.raises(QueryError, match="query_id"):
        protocol.parse("POST", {}, {"query_id": "a\nb"}, "home", "user")
