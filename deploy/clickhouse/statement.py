"""Where the parts of a statement are: an INSERT's data, and the FORMAT that a query asks for.

Only conveniences rest on this scan (which format, where data begins); what a statement may do is decided by the
engine's parser, in ``access``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""(?P<space>\s+|--[^\n]*(?:\n|$)|\#(?:!|\ )[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))
       |(?P<quoted>'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
       |(?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
       |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
       |(?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Insert:
    """An INSERT that brings its data along.

    ``into`` and ``settings`` (empty, or from SETTINGS on) are the statement up to FORMAT or VALUES, without it; the
    data is what follows position ``data`` of the text. ``from_select`` marks INSERT ... SELECT with a FORMAT behind
    it, as used with the input() table function.
    """

    into: str
    settings: str
    format_name: str
    data: int
    from_select: bool = False

    @property
    def head(self) -> str:
        """The statement up to FORMAT or VALUES."""
        return self.into + self.settings

    def from_file(self, path: str) -> str:
        """The statement that reads its data from a file; the grammar has the file before SETTINGS."""
        # Lines of their own: a comment may stand at the end of each part.
        return f"{self.into}\nFROM INFILE '{path}' COMPRESSION 'none'\n{self.settings}\nFORMAT {self.format_name}"


def is_insert(text: bytes) -> bool:
    """Whether a text's first word is INSERT."""
    for found in _TOKEN.finditer(text):
        if found.lastgroup != "space":
            return found.lastgroup == "word" and found.group().upper() == b"INSERT"
    return False


def undecided(text: bytes) -> bool:
    """Whether a text holds nothing yet but space, comments, and the beginning of a word."""
    found = None
    for found in _TOKEN.finditer(text):
        if found.lastgroup != "space":
            break
    else:
        return True
    return found.end() == len(text) and b"INSERT".startswith(found.group().upper())


def find_insert(text: bytes) -> Insert | None:
    """The INSERT with data that a text begins with, or None when its data has not begun within the text.

    None also for INSERT ... SELECT without FORMAT, which has no data.
    """
    depth = 0
    words = 0
    named = False
    from_select = False
    dotted = False
    settings: int | None = None
    wanted: int | None = None
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind == "space":
            continue
        token = found.group()
        upper = token.upper()
        if wanted is not None:
            # The name behind FORMAT must be seen whole: more of it may come with the next piece of the body.
            if kind != "word" or found.end() == len(text):
                return None
            data = _skip_line(text, found.end())
            return Insert(*_head(text, settings, wanted), token.decode(), data, from_select)
        if kind == "other":
            depth += token in (b"(", b"[", b"{")
            depth -= token in (b")", b"]", b"}")
        if kind == "word" and depth == 0:
            words += 1
            if dotted:
                named = True
            elif named and upper == b"FORMAT":
                wanted = found.start()
            elif named and upper == b"VALUES" and not from_select:
                return Insert(*_head(text, settings, found.start()), "Values", found.end())
            elif named and upper == b"SETTINGS" and settings is None:
                settings = found.start()
            elif named and upper in (b"SELECT", b"WITH"):
                from_select = True
            elif words > 1 and upper not in (b"INTO", b"TABLE", b"FUNCTION"):
                named = True
        elif words and (token == b"{" or (kind == "quoted" and depth == 0)):
            named = True
        dotted = token == b"."
    return None


def _head(text: bytes, settings: int | None, end: int) -> tuple[str, str]:
    begun = text[:end].rstrip()
    cut = len(begun) if settings is None else settings
    return begun[:cut].decode("utf-8", "replace"), begun[cut:].decode("utf-8", "replace")


def _skip_line(text: bytes, at: int) -> int:
    """The data's position behind FORMAT's name: spaces and one line break do not belong to it."""
    while at < len(text) and text[at : at + 1] in (b" ", b"\t", b"\f"):
        at += 1
    if text[at : at + 1] == b"\r":
        at += 1
    if text[at : at + 1] == b"\n":
        at += 1
    return at


def format_clause(sql: str) -> str | None:
    """The format that a statement without data names in its last FORMAT clause, or None."""
    significant = [
        (found.lastgroup, found.group().decode("utf-8", "replace"))
        for found in _TOKEN.finditer(sql.encode())
        if found.lastgroup != "space"
    ]
    while significant and significant[-1][1] == ";":
        significant.pop()
    for at in range(len(significant) - 2, -1, -1):
        kind, word = significant[at]
        if kind == "word" and word.upper() == "FORMAT" and significant[at + 1][0] == "word":
            rest = significant[at + 2 :]
            if not rest or rest[0][1].upper() == "SETTINGS":
                return significant[at + 1][1]
    return None
