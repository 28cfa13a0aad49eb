"""Whether an alert meets conditions: silences, routes, inhibition, and the desk's preview of a silence's scope."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

import re2

from schemas.lifecycle import AlertState, Matcher

FIELDS = tuple(AlertState.model_fields)
"""Fields that a matcher may name, beside ``group.<name>``."""


class MatcherError(ValueError):
    """A matcher that cannot be evaluated; the text says which and why."""


class _Pattern(Protocol):
    def fullmatch(self, text: str) -> object | None: ...


@lru_cache(maxsize=1024)
def _pattern(text: str) -> _Pattern:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: _Pattern = re2.compile(text, options)
    except re2.error as error:
        raise MatcherError(f"{text!r} is no regular expression (RE2): {error}") from error
    return compiled


def check(matchers: Iterable[Matcher]) -> None:
    """Raises:
    MatcherError: a field is unknown or an expression is wrong.
    """
    for matcher in matchers:
        if matcher.field not in FIELDS and not (matcher.field.startswith("group.") and matcher.field != "group."):
            raise MatcherError(f"{matcher.field!r} is no field of an alert; use group.<name> or one of: {_usual()}")
        if matcher.op in ("=~", "!~"):
            _pattern(matcher.value)


def _usual() -> str:
    return "rule_id, kind, level, priority, tlp, partners, families, countries, places, tags, exercise"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def values(state: AlertState, field: str) -> tuple[str, ...]:
    """A field's values as texts; one empty text where it has none, as Alertmanager sees a missing label."""
    value = state.group.get(field[6:]) if field.startswith("group.") else getattr(state, field, None)
    if isinstance(value, list | tuple | set):
        return tuple(map(_text, value)) or ("",)
    return (_text(value),)


def matches_one(matcher: Matcher, state: AlertState) -> bool:
    """A list meets ``=`` and ``=~`` when any of its values does, and ``!=`` and ``!~`` when none does.

    Raises:
        MatcherError: the expression is wrong.
    """
    found = values(state, matcher.field)
    if matcher.op in ("=", "!="):
        return (matcher.value in found) is (matcher.op == "=")
    pattern = _pattern(matcher.value)
    return any(pattern.fullmatch(value) for value in found) is (matcher.op == "=~")


def matches(matchers: Iterable[Matcher], state: AlertState) -> bool:
    """Whether the alert meets all of them; none at all are met by every alert.

    Expressions are RE2's and have to match a whole value, as Alertmanager's.

    Raises:
        MatcherError: an expression is wrong.
    """
    return all(matches_one(matcher, state) for matcher in matchers)
