"""Errors as ClickHouse reports them: a code, its name, a text, and the HTTP status that goes with it."""

from __future__ import annotations

import re

BAD_ARGUMENTS = 36
TOO_LARGE_SIZE_COMPRESSED = 39
CHECKSUM_DOESNT_MATCH = 40
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
CANNOT_WRITE_TO_FILE_DESCRIPTOR = 75
UNKNOWN_COMPRESSION_METHOD = 89
READONLY = 164
QUERY_IS_TOO_LARGE = 229
NOT_ENOUGH_SPACE = 243
CANNOT_DECOMPRESS = 271
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
QUERY_WAS_CANCELLED = 394
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
UNKNOWN_EXCEPTION = 1002

NAMES = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    TOO_LARGE_SIZE_COMPRESSED: "TOO_LARGE_SIZE_COMPRESSED",
    CHECKSUM_DOESNT_MATCH: "CHECKSUM_DOESNT_MATCH",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    CANNOT_WRITE_TO_FILE_DESCRIPTOR: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    READONLY: "READONLY",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    QUERY_WAS_CANCELLED: "QUERY_WAS_CANCELLED",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

# Error code to HTTP status, as ClickHouse's HTTP interface assigns them; everything else is 500.
_STATUS_CODES = {
    401: (194,),
    403: (192, 193, 497, 512, 516),
    400: (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676),
    404: (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511),
    408: (159,),
    411: (381,),
    413: (229,),
    415: (779,),
    501: (48,),
    503: (76, 209, 439),
}
_STATUS = {code: status for status, codes in _STATUS_CODES.items() for code in codes}

_CODE = re.compile(r"Code: (\d+)\. ")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")
# An error while reading an INSERT's data comes wrapped in one of the same code, and tells of the file that holds it.
_WRAPPED = re.compile(r"^(Code: \d+\. DB::Exception: )\1(.*) \(version [\d.]+\)\. \([A-Z0-9_]+\)$", re.DOTALL)
_FILE = re.compile(r"\(in file/uri /dev/fd/\d+\)(: )?|: While executing File(?=: data for INSERT)")


class QueryError(Exception):
    """A request that cannot be carried out, with ClickHouse's error code.

    ``text`` is what the client sees, ``Code: N. DB::Exception: ... (NAME)``, without the version.
    """

    def __init__(self, code: int, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status or _STATUS.get(code, 500)

    @classmethod
    def of(cls, code: int, message: str, status: int | None = None) -> QueryError:
        """An error raised by this server itself; ``message`` is a sentence without the code."""
        return cls(code, f"Code: {code}. DB::Exception: {message} ({NAMES[code]})", status)

    @classmethod
    def from_engine(cls, message: str) -> QueryError:
        """The engine's message as an error; messages without a code become UNKNOWN_EXCEPTION."""
        text = message.strip()
        found = _CODE.search(text)
        if found is None:
            return cls.of(UNKNOWN_EXCEPTION, text)
        return cls(int(found.group(1)), _FILE.sub("", _WRAPPED.sub(r"\1\2", text[found.start() :])))

    @property
    def name(self) -> str:
        """The symbolic name at the end of the text, such as UNKNOWN_TABLE."""
        names = _NAME.findall(self.text)
        return names[-1] if names else "UNKNOWN_EXCEPTION"

    def body(self, version: str) -> bytes:
        """The response body: the text with the engine's version, as a ClickHouse server writes it."""
        return f"{self.text} (version {version} (embedded build))\n".encode()
