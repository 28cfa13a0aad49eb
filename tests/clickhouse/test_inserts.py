"""Data on its way in: every place and form that an INSERT's data may have."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator

import brotli
import httpx
import lz4.frame
import pytest
import zstandard

from deploy.clickhouse.compression import BlockDecoder, BlockEncoder


@pytest.mark.parametrize(
    ("in_url", "in_body"),
    [
        ("", "INSERT INTO {t} FORMAT TSV\n1\tone\n2\ttwo\n"),
        ("", "INSERT INTO {t} FORMAT TSV\r\n1\tone\n2\ttwo"),
        ("", 'insert into {t} (s, a) format CSV \n"one",1\n"two",2'),
        ("", "INSERT INTO {t} VALUES (1, 'one'), (2, 'two')"),
        ("", "INSERT INTO {t} VALUES (1, 'one'), (2, 'two');"),
        ("", "/* c */ INSERT -- c\nINTO `{t}` (`a`, s) VALUES\n(1, 'one')\n,(2, concat('t', 'wo'))"),
        ("", 'INSERT INTO {t} FORMAT JSONEachRow {"a":1,"s":"one"} {"a":2,"s":"two"}'),
        ("", "INSERT INTO tocsin.{t} SETTINGS async_insert = 0 FORMAT CSVWithNames\na,s\n1,one\n2,two\n"),
        ("", "INSERT INTO {t} SELECT number + 1, if(number = 0, 'one', 'two') FROM numbers(2)"),
        ("", "INSERT INTO {t} WITH 1 AS x SELECT number + x, if(number = 0, 'one', 'two') FROM numbers(2)"),
        ("INSERT INTO {t} FORMAT TSV", "1\tone\n2\ttwo\n"),
        ("INSERT INTO {t} VALUES", "(1, 'one'), (2, 'two')"),
        ("INSERT INTO {t} FORMAT CSV\n1,one", "2,two\n"),
        ("INSERT INTO {t} (a, s) SETTINGS max_insert_threads = 1 FORMAT JSONCompactEachRow", '[1,"one"]\n[2,"two"]'),
        ("INSERT INTO {t} SELECT number + 1, if(number = 0, 'one', 'two') FROM numbers(2)", ""),
        ("INSERT INTO {t} -- c\nSETTINGS format_csv_delimiter = ';' -- c\nFORMAT CSV", "1;one\n2;two\n"),
    ],
)
def test_inserts(http: httpx.Client, table: str, in_url: str, in_body: str) -> None:
    params = {"query": in_url.replace("{t}", table)} if in_url else {}
    answer = http.post("/", params=params, content=in_body.replace("{t}", table).encode())
    assert answer.status_code == 200, answer.text
    assert (answer.text, json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"]) == ("", "2")
    assert http.post("/", content=f"SELECT * FROM {table} ORDER BY a".encode()).text == "1\tone\n2\ttwo\n"


def test_insert_in_the_format_of_the_request(http: httpx.Client, table: str) -> None:
    params = {"query": f"INSERT INTO {table}", "default_format": "CSV"}
    assert http.post("/", params=params, content=b"1,one\n").status_code == 200
    assert http.post("/", content=f"SELECT s FROM {table}".encode()).text == "one\n"


def test_insert_values_with_parameters(http: httpx.Client, table: str) -> None:
    params = {"param_a": "7", "param_s": "it's (1); x"}
    sql = f"INSERT INTO {table} VALUES ({{a:Int64}}, {{s:String}})"
    assert http.post("/", params=params, content=sql.encode()).status_code == 200
    assert http.post("/", content=f"SELECT * FROM {table}".encode()).text == "7\tit\\'s (1); x\n"


def test_insert_of_nothing(http: httpx.Client, table: str) -> None:
    assert http.post("/", content=f"INSERT INTO {table} FORMAT TSV".encode()).status_code == 200
    assert http.post("/", params={"query": f"INSERT INTO {table} FORMAT Native"}).status_code == 200
    assert http.post("/", content=f"SELECT count() FROM {table}".encode()).text == "0\n"


def test_refused_rows_store_nothing_and_the_connection_lives_on(http: httpx.Client, table: str) -> None:
    rows = b"".join(b"%d\tgood\n" % number for number in range(200_000)) + b"bad\trow\n"
    answer = http.post("/", params={"query": f"INSERT INTO {table} FORMAT TSV"}, content=rows)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "27"), answer.text
    assert http.post("/", content=f"SELECT count() FROM {table}".encode()).text == "0\n"


def test_large_insert_is_streamed_in_pieces(http: httpx.Client, table: str) -> None:
    def pieces() -> Iterator[bytes]:
        for block in range(100):
            yield b"".join(b"%d\t%s\n" % (block * 5000 + row, b"x" * 100) for row in range(5000))

    answer = http.post("/", params={"query": f"INSERT INTO {table} FORMAT TSV"}, content=pieces())
    assert answer.status_code == 200, answer.text
    assert http.post("/", content=f"SELECT count(), uniqExact(a) FROM {table}".encode()).text == "500000\t500000\n"


def _multi_gzip(data: bytes) -> bytes:
    return gzip.compress(data[:10]) + gzip.compress(data[10:])


def _multi_lz4(data: bytes) -> bytes:
    return bytes(lz4.frame.compress(data[:10]) + lz4.frame.compress(data[10:]))


CODINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("gzip", _multi_gzip),
    ("deflate", zlib.compress),
    ("zstd", zstandard.compress),
    ("zstd", lambda data: zstandard.compress(data[:10]) + zstandard.compress(data[10:])),
    ("lz4", lz4.frame.compress),
    ("lz4", _multi_lz4),
    ("br", brotli.compress),
]


@pytest.mark.parametrize(("coding", "compress"), CODINGS)
def test_compressed_requests(http: httpx.Client, table: str, coding: str, compress: Callable[[bytes], bytes]) -> None:
    headers = {"Content-Encoding": coding}
    rows = compress(b"".join(b"%d\tx\n" % number for number in range(100_000)))
    answer = http.post("/", params={"query": f"INSERT INTO {table} FORMAT TSV"}, headers=headers, content=rows)
    assert answer.status_code == 200, answer.text
    whole = compress(f"INSERT INTO {table} FORMAT TSV\n1\ty\n".encode())
    assert http.post("/", headers=headers, content=whole).status_code == 200
    counted = http.post("/", headers=headers, content=compress(f"SELECT count() FROM {table}".encode()))
    assert counted.text == "100001\n"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "lz4", "br"])
def test_damaged_requests_are_refused(http: httpx.Client, table: str, coding: str) -> None:
    compress = dict(CODINGS)[coding] if coding != "lz4" else lz4.frame.compress
    params = {"query": f"INSERT INTO {table} FORMAT TSV"}
    good = compress(b"1\tx\n" * 1000)
    for damaged in (b"no such data at all", good[: len(good) // 2]):
        answer = http.post("/", params=params, headers={"Content-Encoding": coding}, content=damaged)
        assert answer.headers["X-ClickHouse-Exception-Code"] == "271", answer.text
    unknown = http.post("/", params=params, headers={"Content-Encoding": "rot13"}, content=good)
    assert unknown.headers["X-ClickHouse-Exception-Code"] == "89"
    assert http.post("/", content=f"SELECT count() FROM {table}".encode()).text == "0\n"


@pytest.mark.parametrize("method", ["LZ4", "ZSTD", "NONE"])
def test_clickhouse_blocks_both_ways(http: httpx.Client, table: str, method: str) -> None:
    rows = b"".join(b"%d\tx\n" % number for number in range(300_000))
    params = {"query": f"INSERT INTO {table} FORMAT TSV", "decompress": "1"}
    answer = http.post("/", params=params, content=BlockEncoder(method).feed(rows))
    assert answer.status_code == 200, answer.text
    params = {"compress": "1", "network_compression_method": method}
    answer = http.post("/", params=params, content=f"SELECT * FROM {table} ORDER BY a".encode())
    assert BlockDecoder().feed(answer.content) == rows
    damaged = bytearray(BlockEncoder(method).feed(rows))
    damaged[len(damaged) // 2] ^= 1
    answer = http.post(
        "/", params={"query": f"INSERT INTO {table} FORMAT TSV", "decompress": "1"}, content=bytes(damaged)
    )
    assert answer.headers["X-ClickHouse-Exception-Code"] == "40"
