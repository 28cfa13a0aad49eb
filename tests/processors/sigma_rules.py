"""Rule documents on our own families, and the rulebooks that they make."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import yaml

from processors.rule_files import RuleError, load_texts
from processors.rulebook import Correlation, Rulebook


def base(name: str, category: str = "border_crossing", **keys: Any) -> dict[str, Any]:
    return {
        "title": f"Base {name}",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "name": name,
        "logsource": {"product": "tocsin", "category": category},
        "detection": {"s": {"header.partner": name}, "condition": "s"},
        **keys,
    }


def correlation(name: str = "c", **keys: Any) -> dict[str, Any]:
    """A correlation of type event_count with changes; a key set to None is left out."""
    given = {"type": "event_count", "rules": ["a", "b"], "group_by": ["entity.phone"], "timespan": "1h"} | keys
    return {
        "title": f"Correlation {name}",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "name": name,
        "correlation": {key.replace("_", "-"): value for key, value in given.items() if value is not None},
    }


def ours(kind: str, name: str = "c", **keys: Any) -> dict[str, Any]:
    document = correlation(name, type=kind, **keys)
    return document | {"tocsin": {"correlation": document.pop("correlation")}}


def book(*documents: dict[str, Any], ignore_logsource: bool = False, errors: list[RuleError] | None = None) -> Rulebook:
    return load_texts([(Path("rules.yml"), yaml.safe_dump_all(documents))], ignore_logsource, errors)


def one(*documents: dict[str, Any]) -> Correlation:
    """The last correlation of a book over bases a and b."""
    return book(base("a"), base("b"), *documents).correlations[-1]


def id_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


A, B = id_of("a"), id_of("b")
C = {"gte": 2}
