"""One document of a rule file to what it says: a detection or a filter with its condition, and what people read.

Documents are read with pySigma (Sigma specification 2.1). What it accepts and then drops is put right here, and what
this engine does not evaluate is refused. Reasons are ``ValueError``; whoever read the file adds file and line.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from sigma.correlations import SigmaCorrelationTimespan
from sigma.exceptions import SigmaError
from sigma.filters import SigmaFilter
from sigma.modifiers import (
    SigmaCaseSensitiveModifier,
    SigmaEndswithModifier,
    SigmaRegularExpressionModifier,
    SigmaStartswithModifier,
    SigmaTimestampModifier,
)
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RegexEngine
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaDetections, SigmaLogSource, SigmaRule, SigmaRuleBase
from sigma.types import (
    SigmaCasedString,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaRegularExpression,
    SigmaString,
    SigmaType,
)

from processors.patterns import PatternError, compiled, with_flags
from processors.predicates import CasedReference, Condition, Or, from_sigma
from processors.rulebook import RuleMeta

_NAMESPACE: Final = uuid.UUID("3a0a9a86-8f0c-5d0e-9c5c-6a2f4a1f5b77")
TOCSIN_KEYS: Final = (
    *("owner", "legal_basis", "response", "suppress", "audience", "allowed_lateness", "max_groups", "max_signals"),
    *("tests", "correlation"),
)
WINDOW_KEYS: Final = ("allowed_lateness", "max_groups", "max_signals")


@dataclass(frozen=True)
class Source:
    """A document and where it stands."""

    path: Path
    line: int
    document: dict[str, Any]

    @cached_property
    def content(self) -> str:
        """The content in one spelling, whatever the order of its keys."""
        try:
            return json.dumps(self.document, sort_keys=True, default=str, ensure_ascii=False)
        except TypeError:  # keys of different types have no order
            return repr(self.document)

    @property
    def derived_id(self) -> str:
        """UUIDv5 from title and content (RFC 9562, section 5.5), for rules that bring no id of their own."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.document.get('title')}\n{self.content}"))


@dataclass(frozen=True)
class DetectionDraft:
    source: Source
    meta: RuleMeta
    logsource: SigmaLogSource
    condition: Condition


@dataclass(frozen=True)
class FilterDraft:
    """``rules`` are references; None: every rule that the log source contains."""

    source: Source
    title: str
    logsource: SigmaLogSource
    condition: Condition
    rules: tuple[str, ...] | None


class _Engine(RegexEngine):
    """The engine that will run the expressions judges them when rules are read."""

    def compile(self, pattern: str, flags: int = 0) -> Any:
        found = "".join(letter for letter, flag in (("i", re.I), ("m", re.M), ("s", re.S)) if flags & flag)
        return compiled(with_flags(pattern, found))

    @property
    def error(self) -> type[Exception]:
        return PatternError


_POLICY: Final = SigmaPolicy(regex_engine=_Engine())


@contextmanager
def sigma_reasons() -> Iterator[None]:
    """What pySigma raises, as ValueError; on shapes that it does not expect it raises whatever comes up."""
    try:
        yield
    except SigmaError as error:
        raise ValueError(str(error)) from error
    except (AttributeError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a Sigma rule: {type(error).__name__}: {error}") from error


def parse_detection(source: Source) -> DetectionDraft:
    """Read a rule on single events.

    Raises:
        ValueError: it is no Sigma rule, or holds what is not evaluated.
    """
    document = source.document
    _mapping(document, "logsource")
    _check_detections(_mapping(document, "detection"))
    tocsin = tocsin_of(document)
    given = [key for key in WINDOW_KEYS if key in tocsin]
    if given:
        raise ValueError(f"tocsin.{given[0]} belongs to correlations: this rule has no window")
    with sigma_reasons():
        rule = SigmaRule.from_dict(document, policy=_POLICY)
        condition = _condition(rule.detection)
    return DetectionDraft(source, meta_of(rule, source), rule.logsource, condition)


def parse_filter(source: Source) -> FilterDraft:
    """Read a Sigma filter: a condition to be added to the rules that it names.

    Raises:
        ValueError: it is no Sigma filter, or holds what is not evaluated.
    """
    document = source.document
    _mapping(document, "logsource")
    _check_detections({key: value for key, value in _mapping(document, "filter").items() if key != "rules"})
    tocsin_of(document)
    with sigma_reasons():
        rule = SigmaFilter.from_dict(document, policy=_POLICY)
        condition = _condition(rule.filter)
    named = rule.filter.rules
    rules = tuple(str(each.reference) for each in named) if isinstance(named, list) else None
    return FilterDraft(source, str(rule.title), rule.logsource, condition, rules)


def meta_of(rule: SigmaRuleBase, source: Source) -> RuleMeta:
    """What people read about the rule."""
    return RuleMeta(
        id=str(rule.id) if rule.id else source.derived_id,
        name=rule.name or "",
        title=rule.title or "",
        description=rule.description or "",
        level=rule.level.name.lower() if rule.level else "medium",
        version=version_of(source),
        tags=tuple(str(tag) for tag in rule.tags),
        false_positives=tuple(str(each) for each in rule.falsepositives),
        tocsin=tocsin_of(source.document),
        path=f"{source.path}:{source.line}",
    )


def version_of(*sources: Source) -> str:
    """The first 12 hex digits of the SHA-256 of the content."""
    return hashlib.sha256("\n".join(each.content for each in sources).encode()).hexdigest()[:12]


def tocsin_of(document: dict[str, Any]) -> dict[str, Any]:
    """Our own keys of a document.

    Raises:
        ValueError: one that does not exist, or the document's id is no text.
    """
    ours = document.get("tocsin", {})
    if not isinstance(ours, dict):
        raise ValueError("tocsin: is a mapping of keys to values")
    check_keys(ours, TOCSIN_KEYS, "tocsin")
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise ValueError(f"id: {identifier!r} is no UUID, such as {uuid.UUID(int=0)}")
    return dict(ours)


def check_keys(given: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise ValueError for a key that would be ignored."""
    for key in given:
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}: known are {', '.join(known)}")


def seconds_of(value: Any, where: str) -> int:
    """A time span as Sigma writes it (``90s``, ``5m``, ``2h``, ``1d``, ``1w``, ``1M``, ``1y``) in seconds.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(SigmaCorrelationTimespan(value).seconds)
    except SigmaError as error:
        raise ValueError(f"{where}: {error} Write a number and one of s, m, h, d, w, M, y, such as 90m") from error


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    if not isinstance(found, dict):
        raise ValueError(f"{key}: is missing or no mapping of keys to values")
    return found


def _check_detections(detections: dict[str, Any]) -> None:
    """Shapes on which pySigma would stumble or that it would take for something else."""
    if "timeframe" in detections:
        raise ValueError(
            "detection.timeframe belongs to the aggregations that Sigma had before correlations: write one"
        )
    for name, definition in detections.items():
        for each in definition if isinstance(definition, list) else (definition,):
            wrong = [key for key in each if not isinstance(key, str)] if isinstance(each, dict) else []
            if wrong:
                raise ValueError(f"detection.{name}: field name {wrong[0]!r} is no text: put it in quotes")
        if not isinstance(name, str):
            raise ValueError(f"detection has the name {name!r}, which is no text: put it in quotes")
    conditions = detections.get("condition")
    for each in conditions if isinstance(conditions, list) else (conditions,):
        if not isinstance(each, str):
            raise ValueError("detection needs a condition, such as 'condition: selection'")


def _condition(detections: SigmaDetections) -> Condition:
    for detection in detections.detections.values():
        _repair(detection)
    found = [from_sigma(each.parsed) for each in detections.parsed_condition]
    return found[0] if len(found) == 1 else Or(tuple(found))


def _repair(detection: SigmaDetection) -> None:
    """Put back what pySigma drops when it applies modifiers one after the other."""
    for item in detection.detection_items:
        if isinstance(item, SigmaDetection):
            _repair(item)
            continue
        if SigmaCaseSensitiveModifier in item.modifiers:
            item.value = [_cased(each) for each in item.value]
        sides = [each for each in (SigmaStartswithModifier, SigmaEndswithModifier) if each in item.modifiers]
        if sides and item.field is None:
            # A keyword is looked for anywhere; with a side it is a test of each text of the event.
            item.field = ""
        if sides and SigmaRegularExpressionModifier in item.modifiers:
            _anchor(item, SigmaStartswithModifier in sides, SigmaEndswithModifier in sides)
        if any(issubclass(each, SigmaTimestampModifier) for each in item.modifiers):
            for value in item.original_value or ():
                if not isinstance(getattr(value, "number", None), int):
                    raise ValueError(f"{item.field}: {value} is no whole number, as parts of a timestamp are")


def _cased(value: SigmaType) -> SigmaType:
    match value:
        case SigmaExpansion():
            return SigmaExpansion([_cased(each) for each in value.values])
        case SigmaFieldReference():
            return CasedReference(value.field, value.starts_with, value.ends_with)
        case SigmaString():
            return SigmaCasedString.from_sigma_string(value)
    return value


def _anchor(item: SigmaDetectionItem, first: bool, last: bool) -> None:
    """pySigma takes an expression to span the value; here it may match anywhere, so sides are made anchors."""
    for value in item.value:
        if isinstance(value, SigmaRegularExpression):
            pattern = (r"\A" if first else "") + f"(?:{value.regexp})" + ("(?-m:$)" if last else "")
            value.regexp = SigmaString(pattern, escape=False)
