"""HTTP content codings and ClickHouse's own compressed blocks.

A ClickHouse block is: CityHash128 (v1.0.2) of what follows (16 bytes), method (0x82 LZ4, 0x90 ZSTD, 0x02 none), size of
method, sizes and data together (UInt32), size of the data once decompressed (UInt32), data. All little-endian.
Source: ClickHouse documentation, "Native protocol", compression.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import brotli
import lz4.block
import lz4.frame
import zstandard
from clickhouse_cityhash.cityhash import CityHash128

from deploy.clickhouse.errors import (
    CANNOT_DECOMPRESS,
    CHECKSUM_DOESNT_MATCH,
    TOO_LARGE_SIZE_COMPRESSED,
    UNKNOWN_COMPRESSION_METHOD,
    QueryError,
)

MAX_BLOCK = 256 * 1024 * 1024
OUT_BLOCK = 1024 * 1024
_CHECKSUM = 16
_HEADER = 9
_METHODS = {0x82: "LZ4", 0x90: "ZSTD", 0x02: "NONE"}
# Our order when a client accepts several: the codings that cost the least CPU first.
_PREFERRED = ("lz4", "zstd", "gzip", "deflate", "br")


class Coder(Protocol):
    """One direction of one coding; ``finish`` ends the stream and may return a tail."""

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


class _Framed:
    """Decodes a coding whose stream may hold several frames, one behind the other."""

    def __init__(self, coding: str, factory: Callable[[], Any]) -> None:
        self._coding = coding
        self._factory = factory
        self._frame: Any = None

    def feed(self, data: bytes) -> bytes:
        out = []
        while data:
            if self._frame is None:
                self._frame = self._factory()
            try:
                out.append(self._frame.decompress(data))
            except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
                raise QueryError.of(
                    CANNOT_DECOMPRESS,
                    f"The request body is not valid {self._coding} data: {error}. "
                    "Send the coding that Content-Encoding names.",
                ) from error
            if not self._frame.eof:
                break
            data = self._frame.unused_data or b""
            self._frame = None
        return b"".join(out)

    def finish(self) -> bytes:
        if self._frame is not None:
            raise QueryError.of(
                CANNOT_DECOMPRESS, f"The request body ends within a {self._coding} frame. Send the whole body."
            )
        return b""


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> bytes:
        try:
            return bytes(self._stream.process(data))
        except brotli.error as error:
            raise QueryError.of(CANNOT_DECOMPRESS, f"The request body is not valid br data: {error}.") from error

    def finish(self) -> bytes:
        if not self._stream.is_finished():
            raise QueryError.of(CANNOT_DECOMPRESS, "The request body ends within a br stream. Send the whole body.")
        return b""


class BlockDecoder:
    """Decodes ClickHouse's compressed blocks (``decompress=1``)."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._held += data
        out = []
        while len(self._held) >= _CHECKSUM + _HEADER:
            method, packed, plain = struct.unpack_from("<BII", self._held, _CHECKSUM)
            if packed < _HEADER or packed > MAX_BLOCK or plain > MAX_BLOCK:
                raise QueryError.of(
                    TOO_LARGE_SIZE_COMPRESSED,
                    f"A compressed block says {packed} bytes packed and {plain} unpacked; {MAX_BLOCK} are allowed. "
                    "Is the body really made of ClickHouse blocks, as decompress=1 says?",
                )
            if len(self._held) < _CHECKSUM + packed:
                break
            checksum = bytes(self._held[:_CHECKSUM])
            block = bytes(self._held[_CHECKSUM : _CHECKSUM + packed])
            del self._held[: _CHECKSUM + packed]
            if _checksum(block) != checksum:
                raise QueryError.of(CHECKSUM_DOESNT_MATCH, "Checksum doesn't match: a compressed block is corrupted.")
            out.append(_unpack(method, block[_HEADER:], plain))
        return b"".join(out)

    def finish(self) -> bytes:
        if self._held:
            raise QueryError.of(CANNOT_DECOMPRESS, "The request body ends within a compressed block.")
        return b""


def _unpack(method: int, data: bytes, plain: int) -> bytes:
    try:
        match _METHODS.get(method):
            case "LZ4":
                return bytes(lz4.block.decompress(data, uncompressed_size=plain))
            case "ZSTD":
                return zstandard.ZstdDecompressor().decompress(data, max_output_size=plain)
            case "NONE":
                return data
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise QueryError.of(CANNOT_DECOMPRESS, f"A compressed block cannot be decompressed: {error}.") from error
    raise QueryError.of(
        UNKNOWN_COMPRESSION_METHOD, f"A compressed block names method 0x{method:02x}; LZ4, ZSTD and NONE are known."
    )


def _checksum(block: bytes) -> bytes:
    value: int = CityHash128(block)
    return struct.pack("<QQ", value >> 64, value & 0xFFFFFFFFFFFFFFFF)


class BlockEncoder:
    """Encodes a response as ClickHouse's compressed blocks (``compress=1``) of at most 1 MiB each."""

    def __init__(self, method: str = "LZ4", level: int = 1) -> None:
        if method.upper() not in ("LZ4", "LZ4HC", "ZSTD", "NONE"):
            raise QueryError.of(
                UNKNOWN_COMPRESSION_METHOD, f"network_compression_method is {method!r}; LZ4, ZSTD and NONE are known."
            )
        self._method = method.upper().removesuffix("HC")
        self._level = level

    def feed(self, data: bytes) -> bytes:
        pieces = (data[at : at + OUT_BLOCK] for at in range(0, len(data), OUT_BLOCK))
        return b"".join(self._block(piece) for piece in pieces)

    def _block(self, data: bytes) -> bytes:
        packed: bytes
        if self._method == "LZ4":
            method, packed = 0x82, lz4.block.compress(data, store_size=False)
        elif self._method == "ZSTD":
            method, packed = 0x90, zstandard.ZstdCompressor(level=self._level).compress(data)
        else:
            method, packed = 0x02, data
        block = struct.pack("<BII", method, len(packed) + _HEADER, len(data)) + packed
        return _checksum(block) + block

    def finish(self) -> bytes:
        return b""


class _Lz4Encoder:
    def __init__(self) -> None:
        self._stream = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        head = b"" if self._begun else self._stream.begin()
        self._begun = True
        return bytes(head + self._stream.compress(data))

    def finish(self) -> bytes:
        head = b"" if self._begun else self._stream.begin()
        return bytes(head + self._stream.flush())


class _FlushEncoder:
    """zlib, zstd and brotli objects: the same two steps under other method names."""

    def __init__(self, compress: Callable[[bytes], bytes], flush: Callable[[], bytes]) -> None:
        self._compress = compress
        self._flush = flush

    def feed(self, data: bytes) -> bytes:
        return self._compress(data)

    def finish(self) -> bytes:
        return self._flush()


def decoder(content_encoding: str) -> Coder | None:
    """The decoder of a request body, or None for none.

    Raises:
        QueryError: UNKNOWN_COMPRESSION_METHOD for a coding that is not known.
    """
    match content_encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Framed("gzip", lambda: zlib.decompressobj(wbits=31))
        case "deflate":
            return _Framed("deflate", zlib.decompressobj)
        case "zstd":
            return _Framed("zstd", lambda: zstandard.ZstdDecompressor().decompressobj())
        case "lz4":
            return _Framed("lz4", lz4.frame.LZ4FrameDecompressor)
        case "br":
            return _Brotli()
    raise QueryError.of(
        UNKNOWN_COMPRESSION_METHOD,
        f"Content-Encoding {content_encoding!r} is not known. Use one of: {', '.join(_PREFERRED)}.",
    )


def choose_coding(accept_encoding: str) -> str | None:
    """The coding for a response, or None when the client accepts none that we have."""
    offered = set()
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.strip().partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0"):
            offered.add(coding.strip())
    return next((coding for coding in _PREFERRED if coding in offered), None)


def encoder(coding: str, level: int = 3) -> Coder:
    """The encoder of a response body for a coding that ``choose_coding`` returned."""
    if coding == "lz4":
        return _Lz4Encoder()
    if coding == "zstd":
        zstd = zstandard.ZstdCompressor(level=max(1, level)).compressobj()
        return _FlushEncoder(zstd.compress, zstd.flush)
    if coding == "br":
        stream = brotli.Compressor(quality=max(0, min(level, 11)))
        return _FlushEncoder(stream.process, stream.finish)
    plain = zlib.compressobj(max(0, min(level, 9)), zlib.DEFLATED, 31 if coding == "gzip" else 15)
    return _FlushEncoder(plain.compress, plain.flush)
