"""Sigma rule files to a rulebook: detections and correlations, checked and ready to compile.

Rules are read with pySigma (Sigma specification 2.1, correlations 2.0). What it accepts and this engine does not
evaluate is refused here with the file, the line of the document and the reason; nothing is ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule, SigmaCorrelationType
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.rule import SigmaRule

from processors.fields import field_exists
from processors.predicates import Condition, Or, UnsupportedError, from_sigma, leaves
from schemas.registry import FAMILIES

SUPPORTED_TYPES = {
    SigmaCorrelationType.EVENT_COUNT: "event_count",
    SigmaCorrelationType.VALUE_COUNT: "value_count",
    SigmaCorrelationType.TEMPORAL: "temporal",
}


class RuleError(ValueError):
    """A rule file that cannot be used; ``path`` and ``line`` (from 1) locate the document."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path, self.line, self.reason = path, line, reason


@dataclass(frozen=True)
class RuleMeta:
    """What people read about a rule; ``version`` is the first 12 hex digits of the SHA-256 of its content."""

    id: str
    name: str
    title: str
    description: str
    level: str
    version: str
    tags: tuple[str, ...] = ()
    false_positives: tuple[str, ...] = ()
    tocsin: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    path: str = ""


@dataclass(frozen=True)
class Detection:
    """A single-event rule on one family. ``alerts`` says that each matching event is an alert of its own."""

    meta: RuleMeta
    family: str
    condition: Condition
    alerts: bool

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields that the condition names, in order, once each."""
        return tuple(dict.fromkeys(leaf.field for leaf in leaves(self.condition)))


@dataclass(frozen=True)
class Correlation:
    """A sliding event-time window over the signals of its base rules.

    ``bases`` are detection ids; ``group_by`` are the fields whose values key the window, each mapped per base rule by
    ``aliases``; the condition compares a count with ``threshold`` by ``op`` (gt, gte, lt, lte, eq, neq).
    """

    meta: RuleMeta
    type: str
    bases: tuple[str, ...]
    group_by: tuple[str, ...]
    timespan_s: int
    op: str
    threshold: float
    value_field: str | None
    aliases: dict[str, dict[str, str]] = field(default_factory=dict, hash=False, compare=False)

    def group_field(self, key: str, base: str) -> str:
        """The field that supplies ``key`` of the group on events of base rule ``base``."""
        return self.aliases.get(key, {}).get(base, key)

    @property
    def condition_text(self) -> str:
        """The condition as a person reads it, for example ``value_count(header.partner) gte 3``."""
        counted = f"({self.value_field})" if self.value_field else ""
        return f"{self.type}{counted} {self.op} {self.threshold:g} within {self.timespan_s} s"


@dataclass(frozen=True)
class Rulebook:
    """All rules in force; ``version`` identifies the set."""

    detections: tuple[Detection, ...]
    correlations: tuple[Correlation, ...]

    @property
    def rules(self) -> list[Detection | Correlation]:
        return [*self.detections, *self.correlations]

    @property
    def version(self) -> str:
        parts = sorted(f"{each.meta.id}:{each.meta.version}" for each in self.rules)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def by_id(self) -> dict[str, Detection | Correlation]:
        return {each.meta.id: each for each in self.rules}


def load(paths: Iterable[Path]) -> Rulebook:
    """Read rule files (folders are searched for ``*.yml`` and ``*.yaml``) into one rulebook.

    Raises:
        RuleError: a file cannot be read, parsed or evaluated, or two rules share an id.
    """
    parsed: list[Any] = []
    for path in sorted(file for given in paths for file in _files(given)):
        for line, document in _documents(path):
            location = SigmaRuleLocation(path, line)
            try:
                collection = SigmaCollection.from_dicts(
                    [document], source=location, collect_filters=True, resolve_references=False
                )
            except (SigmaError, AttributeError, TypeError) as error:
                raise RuleError(path, line, str(error).removesuffix(f" in {location}")) from error
            parsed += [*collection.rules, *collection.filters]
    try:
        return _book(SigmaCollection(init_rules=parsed))
    except SigmaError as error:
        where = error.source or SigmaRuleLocation(Path("rules"))
        raise RuleError(where.path, where.line or 1, str(error)) from error


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return (each for each in path.rglob("*") if each.suffix in {".yml", ".yaml"})
    if not path.is_file():
        raise RuleError(path, 1, "no such file or folder")
    return (path,)


def _documents(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    """(line on which the document starts, content) of every YAML document in the file."""
    try:
        text = path.read_text(encoding="utf-8")
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is not None:
                loader = yaml.SafeLoader("")
                try:
                    content = loader.construct_document(node)
                finally:
                    loader.dispose()
                if not isinstance(content, dict):
                    raise RuleError(path, node.start_mark.line + 1, "a rule is a mapping of keys to values")
                yield node.start_mark.line + 1, content
    except UnicodeDecodeError as error:
        raise RuleError(path, 1, f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RuleError(path, line, f"not valid YAML: {error.problem}") from error


def _book(collection: SigmaCollection) -> Rulebook:
    seen: dict[str, Path] = {}
    for rule in collection.rules:
        path, line = _location(rule)
        if rule.id is None:
            raise RuleError(path, line, f"rule {rule.title!r} has no id: add 'id:' with a UUID of version 4")
        if str(rule.id) in seen:
            raise RuleError(path, line, f"id {rule.id} is already used in {seen[str(rule.id)]}")
        seen[str(rule.id)] = path
    referenced: dict[str, bool] = {}
    for rule in collection.rules:
        if isinstance(rule, SigmaCorrelationRule):
            for reference in rule.rules or ():
                base = str(reference.rule.id)
                referenced[base] = referenced.get(base, False) or rule.generate
    detections = tuple(_detection(rule, referenced) for rule in collection.rules if isinstance(rule, SigmaRule))
    correlations = tuple(
        _correlation(rule, collection) for rule in collection.rules if isinstance(rule, SigmaCorrelationRule)
    )
    return Rulebook(detections, correlations)


def _location(rule: Any) -> tuple[Path, int]:
    return (rule.source.path, rule.source.line or 1) if rule.source else (Path(), 1)


def _meta(rule: Any) -> RuleMeta:
    path, line = _location(rule)
    content = yaml.safe_dump(rule.to_dict(), sort_keys=True, allow_unicode=True)
    return RuleMeta(
        id=str(rule.id),
        name=rule.name or "",
        title=rule.title or "",
        description=rule.description or "",
        level=rule.level.name.lower() if rule.level else "medium",
        version=hashlib.sha256(content.encode()).hexdigest()[:12],
        tags=tuple(str(tag) for tag in rule.tags),
        false_positives=tuple(str(each) for each in rule.falsepositives),
        tocsin=dict(rule.custom_attributes.get("tocsin", {})),
        path=f"{path.name}:{line}",
    )


def _detection(rule: SigmaRule, referenced: dict[str, bool]) -> Detection:
    path, line = _location(rule)
    source = rule.logsource
    if source.product != "tocsin" or source.category not in FAMILIES:
        raise RuleError(
            path,
            line,
            f"logsource {{product: {source.product}, category: {source.category}}} is not ours: "
            f"expected product tocsin and a category of {', '.join(FAMILIES)}",
        )
    try:
        conditions = [from_sigma(each.parsed) for each in rule.detection.parsed_condition]
    except (SigmaError, UnsupportedError) as error:
        raise RuleError(path, line, str(error)) from error
    condition = conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
    detection = Detection(_meta(rule), source.category, condition, alerts=referenced.get(str(rule.id), True))
    for name in detection.fields:
        if not field_exists(source.category, name):
            raise RuleError(path, line, f"{source.category} has no field {name!r}: see its .avsc, entity.* and geo.*")
    return detection


def _correlation(rule: SigmaCorrelationRule, collection: SigmaCollection) -> Correlation:
    path, line = _location(rule)
    if rule.type not in SUPPORTED_TYPES:
        supported = ", ".join(SUPPORTED_TYPES.values())
        raise RuleError(
            path, line, f"correlation type {rule.type.name.lower()} is not supported: use one of {supported}"
        )
    if not isinstance(rule.condition, SigmaCorrelationCondition) or rule.rules is None:
        raise RuleError(path, line, "extended correlation conditions are not supported: list the rules and use a count")
    bases: list[str] = []
    for reference in rule.rules:
        if isinstance(reference.rule, SigmaCorrelationRule):
            raise RuleError(path, line, f"{reference.reference} is a correlation: chains are not supported")
        bases.append(str(reference.rule.id))
    type_ = SUPPORTED_TYPES[rule.type]
    op, threshold = rule.condition.op.name.lower(), float(rule.condition.count)
    if op not in ("gt", "gte"):
        raise RuleError(path, line, f"condition {op} is not supported: use gt or gte")
    value_field = rule.condition.fieldref
    if type_ == "value_count" and not isinstance(value_field, str):
        raise RuleError(path, line, "value_count needs one field: add 'field:' under condition")
    aliases = {
        alias.alias: {str(collection[reference.reference].id): name for reference, name in alias.mapping.items()}
        for alias in rule.aliases
    }
    correlation = Correlation(
        meta=_meta(rule),
        type=type_,
        bases=tuple(dict.fromkeys(bases)),
        group_by=tuple(rule.group_by or ()),
        timespan_s=rule.timespan.seconds,
        op=op,
        threshold=threshold,
        value_field=value_field if isinstance(value_field, str) else None,
        aliases=aliases,
    )
    for reference in rule.rules:
        base = str(reference.rule.id)
        assert isinstance(reference.rule, SigmaRule)  # chains were refused above
        family = str(reference.rule.logsource.category)
        names = [correlation.group_field(key, base) for key in correlation.group_by]
        for name in [*names, *([correlation.value_field] if correlation.value_field else [])]:
            if not field_exists(family, name):
                raise RuleError(path, line, f"{family}, which {reference.reference} reads, has no field {name!r}")
    return correlation
