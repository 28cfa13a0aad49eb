"""Patterns on text: how it folds, Sigma's wildcards, and regular expressions with what they need to hold.

Regular expressions run on RE2, in time linear in the text. Public Sigma rules are written for PCRE; what RE2 has no
place for (look-around, back-references, atomic groups) runs on Python's ``re``, which can take longer than linear:
:func:`is_linear` tells. Patterns on which ``re`` can take exponential time are refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import re2

_FLAGS = re.compile(r"\(\?([ims]+)\)")
_WILDCARDS = re.compile(r"\\[*?\\]|[*?]|[^*?\\]+|\\")
_SHORTEST = 3
LONG_S = "\u017f"
"""Ignoring case it equals ``s`` for a regular expression and not for lower case; the only such letter."""


class PatternError(ValueError):
    """A regular expression that cannot be used; the text says why."""


def fold(text: str) -> str:
    """Text as it compares when case does not count: each character by its simple lower case, as Arrow has it."""
    return text.lower() if text.isascii() else pc.utf8_lower(text).as_py()


def with_flags(pattern: str, flags: str) -> str:
    """The pattern under flags (of i, m, s), besides those it begins with."""
    found = _FLAGS.match(pattern)
    given = "".join(sorted({*flags, *(found[1] if found else "")}))
    return (f"(?{given})" if given else "") + (pattern[found.end() :] if found else pattern)


@lru_cache(maxsize=100_000)
def compiled(pattern: str) -> Any:
    """An object with ``search(text)``, of RE2 where it can be.

    Raises:
        PatternError: neither engine takes the pattern, or ``re`` could take exponential time.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(pattern, options)
        pc.match_substring_regex(pa.array([""]), pattern)
        return found
    except (re2.error, pa.ArrowInvalid) as refused:
        try:
            slow = re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise PatternError(f"not a regular expression: RE2 says {_text(refused)}, Python says {error}") from error
        if _explodes(_parser.parse(pattern), repeated=False):
            raise PatternError(
                "a repeat within a repeat, beside what RE2 does not know, can take exponential time: unfold it"
            ) from refused
        return slow


def is_linear(pattern: str) -> bool:
    """Whether RE2 runs the pattern."""
    return not isinstance(compiled(pattern), re.Pattern)


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _explodes(parsed: Any, repeated: bool) -> bool:
    """Whether an unbounded repeat lies within another."""
    for code, argument in parsed:
        again = code in (_parser.MAX_REPEAT, _parser.MIN_REPEAT) and argument[1] == _parser.MAXREPEAT
        if (again and repeated) or any(_explodes(each, repeated or again) for each in _inner(argument)):
            return True
    return False


def _inner(argument: Any) -> list[Any]:
    """The sequences within an argument of a parsed node."""
    if isinstance(argument, _parser.SubPattern):
        return [argument]
    if isinstance(argument, list | tuple):
        return [found for each in argument for found in _inner(each)]
    return []


def literal_of(pattern: str) -> tuple[str, bool] | None:
    """The longest text that whatever the regular expression matches must contain, and whether its case counts; None
    where there is none of use."""
    try:
        parsed = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
    cased = not parsed.state.flags & re.IGNORECASE
    # Flags that change on the way, and classes that Python reads as something else.
    if re.search(r"\(\?[a-z]*-?[a-z]*i|\[:", pattern[2:]):
        return None
    best = max(_runs(parsed), key=len, default="")
    return (best, cased) if len(best) >= _SHORTEST and (cased or best.isascii()) else None


def _runs(parsed: Any) -> list[str]:
    """Runs of literal characters that every match has, in order."""
    runs = [""]
    for code, argument in parsed:
        if code is _parser.LITERAL:
            runs[-1] += chr(argument)
        elif code is _parser.SUBPATTERN:
            runs += [*_runs(argument[3]), ""]
        elif code in (_parser.MAX_REPEAT, _parser.MIN_REPEAT) and argument[0] > 0:
            runs += [*_runs(argument[2]), ""]
        elif code is not _parser.AT:
            runs.append("")
    return runs


def wildcard_parts(value: str) -> list[tuple[bool, str]]:
    """The parts of a value with Sigma's wildcards: (False, literal text) and (True, ``*`` or ``?``)."""
    parts: list[tuple[bool, str]] = []
    for token in _WILDCARDS.findall(value):
        if token in ("*", "?"):
            parts.append((True, token))
            continue
        text = token[1:] if len(token) == 2 and token[0] == "\\" and token[1] in "*?\\" else token
        if parts and not parts[-1][0]:
            text = parts.pop()[1] + text
        parts.append((False, text))
    return parts


def wildcard_regex(value: str, cased: bool) -> str:
    """The regular expression that a value with Sigma's wildcards stands for; unless cased it is for folded text."""
    regex = {"*": ".*", "?": "."}
    body = "".join(
        regex[text] if wild else re.escape(text if cased else fold(text)) for wild, text in wildcard_parts(value)
    )
    return rf"(?s)\A(?:{body})\z"
