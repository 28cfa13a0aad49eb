"""Matchers as text, in Alertmanager's notation: ``level="critical"``, ``countries=~"DE|NL"``, ``group.document!=X``."""

from __future__ import annotations

import re
from typing import Any, Final

import re2
from pydantic_core import PydanticCustomError

from schemas.alerts import LEVELS
from schemas.lifecycle import Matcher
from schemas.registry import FAMILIES

_TEXT: Final = re.compile(r"\s*([a-z_]+(?:\.[^\s=!~]+)?)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_VALUES: Final[dict[str, tuple[str, ...]]] = {"level": LEVELS, "families": FAMILIES, "exercise": ("true", "false")}
_NEAR: Final = {
    **{"rule": "rule_id", "partner": "partners", "family": "families", "tag": "tags", "region": "countries"},
    **{"country": "countries", "place": "places", "live": "exercise"},
}
FIELDS: Final = (
    *("rule_id", "rule_title", "kind", "level", "priority", "state", "verdict", "exercise", "tlp", "confidence"),
    *("tags", "partners", "families", "countries", "places"),
)
"""Fields of an alert (schemas.lifecycle.AlertState) that a matcher can look at, besides ``group.<name>``."""


def parse_matcher(value: Any) -> Any:
    """A matcher from its text, checked; a matcher in parts goes through the same checks.

    Raises:
        PydanticCustomError: no such text, no such field, a value the field never has, or a bad pattern.
    """
    if isinstance(value, str):
        match = _TEXT.fullmatch(value)
        if match is None:
            raise PydanticCustomError(
                "matcher", "must be FIELD=VALUE, with =, !=, =~ or !~, for example level=critical"
            )
        field, op, text = match.groups()
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        value = {"field": field, "op": op, "value": text[1:-1] if quoted else text}
    matcher = Matcher.model_validate(value)
    check_field(matcher.field)
    if matcher.op in ("=~", "!~"):
        _check_pattern(matcher.value)
    elif matcher.field in _VALUES and matcher.value not in _VALUES[matcher.field]:
        known = ", ".join(_VALUES[matcher.field])
        raise PydanticCustomError(
            "matcher_value", "{field} is one of {known}", {"field": matcher.field, "known": known}
        )
    return matcher


def check_field(field: str) -> str:
    """The field when an alert has it.

    Raises:
        PydanticCustomError: it has not; the message says what is meant or possible.
    """
    if field in FIELDS or (field.startswith("group.") and len(field) > len("group.")):
        return field
    hint = f"did you mean {_NEAR[field]}?" if field in _NEAR else f"there are {', '.join(FIELDS)} and group.NAME"
    raise PydanticCustomError("matcher_field", "an alert has no field {field}; {hint}", {"field": field, "hint": hint})


def _check_pattern(pattern: str) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else "refused"
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise PydanticCustomError(
            "matcher_pattern", "not a regular expression of RE2: {said}", {"said": text}
        ) from None
