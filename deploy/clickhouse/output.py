"""Output formats: content types, and which results may leave the server in pieces.

The engine encodes each piece of a streamed result as a whole document of its format. For row formats the pieces
joined are the result; formats with names on top need them removed from all pieces but the first; formats with a
frame around the rows (JSON, Arrow, Parquet, Pretty) are made in one piece.
"""

from __future__ import annotations

from collections.abc import Callable

DEFAULT_FORMAT = "TabSeparated"

_TSV = "text/tab-separated-values; charset=UTF-8"
_CSV = "text/csv; charset=UTF-8"
_JSON = "application/json; charset=UTF-8"
_NDJSON = "application/x-ndjson; charset=UTF-8"
_TEXT = "text/plain; charset=UTF-8"
_BINARY = "application/octet-stream"

# Rows only: pieces can be joined. The value is the number of header lines that repeat in each piece.
_HEADER_LINES = {
    "native": 0, "rowbinary": 0, "jsoneachrow": 0, "jsonlines": 0, "ndjson": 0, "jsoncompacteachrow": 0,
    "jsonstringseachrow": 0, "jsoncompactstringseachrow": 0, "msgpack": 0, "lineasstring": 0,
    "tabseparated": 0, "tsv": 0, "tabseparatedraw": 0, "tsvraw": 0, "raw": 0, "csv": 0,
    "tabseparatedwithnames": 1, "tsvwithnames": 1, "tabseparatedrawwithnames": 1, "tsvrawwithnames": 1,
    "tabseparatedwithnamesandtypes": 2, "tsvwithnamesandtypes": 2, "csvwithnames": 1, "csvwithnamesandtypes": 2,
    "jsoncompacteachrowwithnames": 1, "jsoncompacteachrowwithnamesandtypes": 2,
}  # fmt: skip


def content_type(format_name: str) -> str:
    """The Content-Type header of a result in a format."""
    name = format_name.lower()
    if name.startswith(("tabseparated", "tsv")) or name == "raw":
        return _TSV
    if name.startswith("csv"):
        return _CSV
    if name.startswith(("json", "ndjson")):
        return _NDJSON if "eachrow" in name or name in ("jsonlines", "ndjson") else _JSON
    if name.startswith(("pretty", "vertical", "values", "markdown", "sql", "lineasstring")):
        return _TEXT
    if name == "xml":
        return "application/xml; charset=UTF-8"
    return _BINARY


def streams(format_name: str) -> bool:
    """Whether the pieces of a result in this format can be joined."""
    return format_name.lower() in _HEADER_LINES


def joiner(format_name: str) -> Callable[[bytes], bytes]:
    """A function to call with each piece in turn; it returns what of the piece belongs into the joined result."""
    lines = _HEADER_LINES[format_name.lower()]
    quoted = format_name.lower().startswith("csv")
    header: list[bytes] = []

    def join(piece: bytes) -> bytes:
        if lines == 0 or not piece:
            return piece
        if not header:
            header.append(_header(piece, lines, quoted))
            return piece
        return piece.removeprefix(header[0])

    return join


def _header(piece: bytes, lines: int, quoted: bool) -> bytes:
    end = 0
    for _ in range(lines):
        end = piece.find(b"\n", end) + 1
        # A CSV name may hold line breaks within its quotes.
        while quoted and piece.count(b'"', 0, end) % 2 and 0 < end < len(piece):
            end = piece.find(b"\n", end) + 1
        if end == 0:
            return piece
    return piece[:end]
