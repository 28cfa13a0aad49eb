"""What adapters give and get, and reading lines of any content within bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

BOM: Final = b"\xef\xbb\xbf"
RAW_KEPT: Final = 4096


class AdapterError(ValueError):
    """The file as a whole cannot be read: header line, mapping or options are wrong."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An event of one line (from 1), not validated yet; ``key`` is the natural key when the source has one."""

    line: int
    event: dict[str, Any]
    raw: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that gives no event: a stable reason code, the field if there is one, and what to do."""

    line: int
    reason: str
    message: str
    raw: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What the command line adds: who publishes what, and a TLP label for lines that have none."""

    partner: str
    family: str
    tlp: str | None = None
    mapping: Path | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end; ``text`` is None when it cannot be used, ``refused`` says why."""

    number: int
    text: str | None
    refused: RefusedLine | None = None


Outcome = Candidate | RefusedLine
Adapter = Callable[["LineReader", Context], Iterator[Outcome]]


@dataclass
class LineReader:
    """Lines of a file as text; a line that is too long or no UTF-8 is given as refused, and reading goes on.

    ``bytes_read`` of ``size`` shows progress. Never holds more than ``max_bytes`` of a line.
    """

    path: Path
    max_bytes: int = 1_048_576
    encoding: str = "utf-8"
    bytes_read: int = field(default=0, init=False)
    size: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        """Raises OSError when the file cannot be read."""
        self._file = self.path.open("rb")
        self.size = self.path.stat().st_size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Line]:
        number = 0
        while chunk := self._file.readline(self.max_bytes + 2):
            number += 1
            self.bytes_read += len(chunk)
            if number == 1:
                chunk = chunk.removeprefix(BOM)
            if not chunk.endswith(b"\n") and len(chunk) > self.max_bytes:
                yield self._overlong(number, chunk)
            else:
                yield self._decoded(number, chunk.rstrip(b"\r\n"))

    def _overlong(self, number: int, begin: bytes) -> Line:
        length = len(begin)
        while rest := self._file.readline(65_536):
            length += len(rest)
            self.bytes_read += len(rest)
            if rest.endswith(b"\n"):
                length -= 1
                break
        message = f"{length} bytes; must be at most {self.max_bytes}: shorten its texts or split it"
        return Line(number, None, RefusedLine(number, "line_too_long", message, shown(begin)))

    def _decoded(self, number: int, raw: bytes) -> Line:
        try:
            return Line(number, raw.decode(self.encoding))
        except UnicodeDecodeError as error:
            found = raw[error.start : error.start + 4].hex(" ")
            message = f"not {self.encoding} at byte {error.start + 1} ({found}); save the file as UTF-8"
            return Line(number, None, RefusedLine(number, "invalid_encoding", message, shown(raw)))


def shown(raw: bytes | str) -> str:
    """The beginning of a line as text that any file or terminal takes."""
    if isinstance(raw, bytes):
        return raw[:RAW_KEPT].decode("utf-8", "backslashreplace")
    return raw[:RAW_KEPT].encode("utf-8", "backslashreplace").decode("utf-8")
