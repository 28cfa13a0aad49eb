"""Rows of delimited text (RFC 4180), each with the number of the line that it begins on.

Python's csv module alone would let one stray quote swallow the rest of the file into one field; here a record that
does not fit the header gives up its first line only, and reading goes on with the next.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from streams.adapters.base import AdapterError, Line, LineReader, RefusedLine, shown

_MAX_LINES = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One record: column name -> text."""

    line: int
    cells: dict[str, str]
    raw: str


def read_rows(lines: LineReader, delimiter: str = ",") -> Iterator[Row | RefusedLine]:
    """Records below a header line; blank lines are passed over.

    Raises:
        AdapterError: no header line, or one with an empty or repeated name.
    """
    csv.field_size_limit(max(csv.field_size_limit(), lines.max_bytes))
    source = iter(lines)
    columns = _header(source, lines, delimiter)
    waiting: deque[Line] = deque()
    while True:
        first = waiting.popleft() if waiting else next(source, None)
        if first is None:
            return
        if first.text is None:
            if first.refused is not None:
                yield first.refused
            continue
        if not first.text.strip():
            continue
        taken = [first]
        length = len(first.text)
        odd = first.text.count('"') % 2 == 1
        while odd and len(taken) < _MAX_LINES and length <= lines.max_bytes:
            following = waiting.popleft() if waiting else next(source, None)
            if following is None:
                break
            taken.append(following)
            if following.text is None:
                break
            length += len(following.text)
            odd ^= following.text.count('"') % 2 == 1
        row = None if odd else _parse("\n".join(line.text or "" for line in taken), columns, delimiter)
        if isinstance(row, dict):
            raw = "\n".join(line.text or "" for line in taken)
            yield Row(first.number, row, shown(raw))
            continue
        waiting.extendleft(reversed(taken[1:]))
        alone = _parse(first.text, columns, delimiter)
        if odd or alone is None:
            message = 'a quoted field does not end at the delimiter; quote whole fields and double each " inside'
            yield RefusedLine(first.number, "bad_quotes", message, shown(first.text))
        else:
            message = f"{len(alone)} columns; the header has {len(columns)}: quote fields that contain the delimiter"
            yield RefusedLine(first.number, "wrong_columns", message, shown(first.text))


def _header(source: Iterator[Line], lines: LineReader, delimiter: str) -> list[str]:
    line = next(source, None)
    if line is None or line.text is None or not line.text.strip():
        why = line.refused.message if line is not None and line.refused is not None else "it is empty"
        raise AdapterError(f"{lines.path}:1: no header line with the names of the columns: {why}")
    columns = [name.strip() for name in next(csv.reader([line.text], delimiter=delimiter))]
    for position, name in enumerate(columns, 1):
        if not name or columns.count(name) > 1:
            what = f"{name!r} is there twice" if name else "it is empty"
            raise AdapterError(f"{lines.path}:1: column {position} of the header needs a name of its own: {what}")
    return columns


def _parse(text: str, columns: list[str], delimiter: str) -> dict[str, str] | list[str] | None:
    """Cells by column; the bare list when their number is wrong; None when it is no delimited text."""
    try:
        (cells,) = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        return None
    return dict(zip(columns, cells, strict=True)) if len(cells) == len(columns) else cells
