"""Which windows of a correlation a match belongs to: the values of its group, and the value that it looks at."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from processors.rulebook import Correlation


def texts(value: Any) -> list[str]:
    """A field's values as texts, once each: none for None and empty text, several for a list."""
    if isinstance(value, str):
        return [value] if value else []
    many = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(str(each) for each in many if each is not None and each != ""))


def group_fields(correlation: Correlation, base: str) -> tuple[str, ...]:
    """The fields that supply the group on events of the rule ``base``, in the order of ``group_by``."""
    return tuple(correlation.group_field(key, base) for key in correlation.group_by)


def keys_of(
    correlation: Correlation, fields: Sequence[str], values_of: Callable[[str], Iterable[str]], position: str | None
) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """Each group and each value of a match; none where a field that is needed has no value.

    ``fields`` are the :func:`group_fields` of the rule that matched, ``values_of`` gives a field's texts, ``position``
    is ``lat,lon`` or None and matters to travel only.
    """
    groups = itertools.product(*map(values_of, fields))
    values: list[str | None] = [None]
    if correlation.value_fields:
        values = ["\x1f".join(each) for each in itertools.product(*map(values_of, correlation.value_fields))]
    elif correlation.type == "travel":
        values = [] if position is None else [position]
    return itertools.product(groups, values)
