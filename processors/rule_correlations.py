"""Correlation documents to what they say, and drafts to correlations once every rule is known."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, cast, get_args

from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionItem,
    CorrelationConditionNOT,
    SigmaCorrelationRule,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)

from processors.fields import field_exists
from processors.rule_parse import Source, check_keys, meta_of, seconds_of, sigma_reasons, tocsin_of
from processors.rulebook import (
    Bound,
    Correlation,
    CorrelationType,
    Detection,
    Expression,
    Operator,
    Rule,
    RuleMeta,
    Term,
)

OPERATORS: Final = get_args(Operator)
OURS: Final = ("absence", "travel")
_NUMBER: Final = re.compile(r"[+-]?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,3})?", re.ASCII)
_COMMON: Final = ("type", "rules", "group-by", "timespan", "aliases", "generate")
_KEYS: Final = {"absence": (*_COMMON, "absent"), "travel": (*_COMMON, "max-speed-kmh", "min-distance-km")}
_DEFAULT_MAX_GROUPS: Final = 1_000_000
_DEFAULT_MAX_SIGNALS: Final = 5_000
_DEFAULT_MIN_DISTANCE_KM: Final = 50.0


@dataclass(frozen=True)
class CorrelationDraft:
    """A correlation whose rules are still references: names or ids, in ``rules``, ``absent``, the expression and the
    aliases."""

    source: Source
    meta: RuleMeta
    type: CorrelationType
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    timespan_s: int
    generate: bool
    aliases: dict[str, dict[str, str]]
    bounds: tuple[Bound, ...] = ()
    expression: Expression | None = None
    value_fields: tuple[str, ...] = ()
    percentile: int | None = None
    absent: tuple[str, ...] = ()
    max_speed_kmh: float = 0.0
    min_distance_km: float = 0.0

    @property
    def watched(self) -> tuple[str, ...]:
        return (*self.rules, *self.absent)


def parse_correlation(source: Source) -> CorrelationDraft:
    """Read a correlation, Sigma's under ``correlation`` or ours under ``tocsin.correlation``.

    Raises:
        ValueError: it is none, or holds what is not evaluated.
    """
    document = source.document
    tocsin = tocsin_of(document)
    if "detection" in document:
        raise ValueError("a rule has either detection or correlation: make two documents of it")
    if "correlation" in document and "correlation" in tocsin:
        raise ValueError("a rule has either correlation or tocsin.correlation: make two documents of it")
    where = "correlation" if "correlation" in document else "tocsin.correlation"
    given = document["correlation"] if "correlation" in document else tocsin["correlation"]
    if not isinstance(given, dict):
        raise ValueError(f"{where}: is a mapping of keys to values")
    if where == "correlation":
        return _sigma(source, given)
    return _ours(source, given)


def _sigma(source: Source, given: dict[str, Any]) -> CorrelationDraft:
    if given.get("type") in OURS:
        raise ValueError(f"type {given['type']} is not Sigma's: put the correlation under tocsin")
    check_keys(given, (*_COMMON, "condition"), "correlation")
    kind, condition, plain = given.get("type"), given.get("condition"), given
    if kind is not None and (not isinstance(kind, str) or kind.lower() not in get_args(CorrelationType)):
        raise ValueError(f"correlation.type: {kind!r} is none")
    operators: list[Any] = []
    values: dict[str, Any] = {}
    if isinstance(condition, dict):
        check_keys(condition, (*OPERATORS, "field", "percentile"), "correlation.condition")
        operators = [key for key in OPERATORS if key in condition]
        values = _values(str(kind).lower(), condition)
        # pySigma takes one comparison; a range has two.
        plain = given | {"condition": {key: value for key, value in condition.items() if key not in operators[1:]}}
    draft, rule = _common(source, given, plain)
    if isinstance(rule.condition, SigmaExtendedCorrelationCondition):
        names = tuple(rule.condition.get_referenced_rules())
        return replace(draft, rules=draft.rules or names, expression=_expression(rule.condition.parsed))
    if not draft.rules:
        raise ValueError("correlation.rules: names no rule")
    if isinstance(condition, dict):
        bounds = tuple(Bound(op, _number(condition[op], f"condition.{op}")) for op in operators)
        return replace(draft, bounds=bounds, **values)
    return draft


def _ours(source: Source, given: dict[str, Any]) -> CorrelationDraft:
    kind = given.get("type")
    if kind not in OURS:
        raise ValueError(f"tocsin.correlation.type is {kind!r}: expected {' or '.join(OURS)}, or Sigma's correlation")
    check_keys(given, _KEYS[kind], f"tocsin.correlation of type {kind}")
    shape = {key: given[key] for key in _COMMON if key in given} | {"type": "event_count", "condition": {"gte": 1}}
    draft, _ = _common(source, given, shape)
    if not draft.rules:
        raise ValueError("tocsin.correlation.rules: names no rule")
    if kind == "travel":
        if "max-speed-kmh" not in given:
            raise ValueError("tocsin.correlation.max-speed-kmh: is missing, such as 900 for an airliner")
        distance = given.get("min-distance-km", _DEFAULT_MIN_DISTANCE_KM)
        return replace(
            draft,
            type="travel",
            max_speed_kmh=_positive(given["max-speed-kmh"], "max-speed-kmh"),
            min_distance_km=_positive(distance, "min-distance-km"),
        )
    absent = given.get("absent")
    names = [absent] if isinstance(absent, str) else absent
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("tocsin.correlation.absent: lists the rules that do not follow, by name or id")
    return replace(draft, type="absence", absent=tuple(names))


def _common(
    source: Source, given: dict[str, Any], shape: dict[str, Any]
) -> tuple[CorrelationDraft, SigmaCorrelationRule]:
    """What all types share, read by pySigma from the document with ``shape`` for its correlation."""
    for key in ("rules", "group-by"):
        names = given.get(key)
        if names is not None and not all(
            isinstance(each, str) for each in (names if isinstance(names, list) else [names])
        ):
            raise ValueError(f"correlation.{key}: lists names, as text")
    given_aliases = given.get("aliases")
    for name, mapping in given_aliases.items() if isinstance(given_aliases, dict) else ():
        if not isinstance(mapping, dict) or not all(isinstance(each, str) for pair in mapping.items() for each in pair):
            raise ValueError(f"aliases.{name}: is a mapping of rules to their fields")
    with sigma_reasons():
        rule = SigmaCorrelationRule.from_dict({**source.document, "correlation": shape})
    group_by = tuple(dict.fromkeys(rule.group_by or ()))
    aliases = rule.aliases.to_dict()
    for name in aliases:
        if name not in group_by:
            raise ValueError(f"alias {name!r} is not in group-by, the only place where an alias counts")
    draft = CorrelationDraft(
        source=source,
        meta=meta_of(rule, source),
        type=cast(CorrelationType, rule.type.name.lower()),
        rules=tuple(each.reference for each in rule.rules or ()),
        group_by=group_by,
        timespan_s=rule.timespan.seconds,
        generate=rule.generate,
        aliases=aliases,
    )
    return draft, rule


def _values(kind: str, condition: dict[str, Any]) -> dict[str, Any]:
    """Fields and percentile that the condition of a value type names."""
    fields, percentile = condition.get("field"), condition.get("percentile")
    names = [fields] if isinstance(fields, str) else fields
    if kind.startswith("value_"):
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError("condition.field: is a field, or for value_count a list of fields")
        if len(names) > 1 and kind != "value_count":
            raise ValueError(f"condition.field: {kind} looks at one field, only value_count at several")
    elif fields is not None:
        raise ValueError(f"condition.field has no meaning for {kind}: leave it out, or use a value type")
    if "percentile" in condition and kind != "value_percentile":
        raise ValueError(f"condition.percentile has no meaning for {kind}: leave it out")
    if "percentile" in condition and (type(percentile) is not int or not 0 <= percentile <= 100):
        raise ValueError(f"condition.percentile is {percentile!r}: expected a whole number from 0 to 100")
    return {"value_fields": tuple(dict.fromkeys(names or ())), "percentile": percentile}


def _number(value: Any, where: str) -> Fraction:
    """The exact number that was written (``10.1`` is ten and a tenth)."""
    text = "" if isinstance(value, bool) else str(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{where} is {value!r}: expected a number")
    return Fraction(text)


def _positive(value: Any, where: str) -> float:
    number = float(_number(value, f"tocsin.correlation.{where}"))
    if number <= 0:
        raise ValueError(f"tocsin.correlation.{where} is {value!r}: expected a number above 0")
    return number


def _expression(node: CorrelationConditionItem | SigmaRuleReference) -> Expression:
    if isinstance(node, SigmaRuleReference):
        return node.reference
    arguments = tuple(map(_expression, node.args))
    if isinstance(node, CorrelationConditionNOT):
        return Term("not", arguments)
    return Term("and" if isinstance(node, CorrelationConditionAND) else "or", arguments)


def finish(
    draft: CorrelationDraft, resolve: Callable[[str], Rule], alerts: Mapping[str, bool], check_fields: bool
) -> Correlation:
    """The correlation, its rules resolved; they are all known and come before it.

    Raises:
        ValueError: a rule that it names cannot be resolved, or has no field that it needs.
    """
    tocsin = draft.meta.tocsin
    ids = {name: resolve(name).meta.id for name in draft.watched}
    bases = tuple(dict.fromkeys(ids[name] for name in draft.rules))
    absent = tuple(dict.fromkeys(ids[name] for name in draft.absent))
    if both := set(bases) & set(absent):
        raise ValueError(f"{resolve(both.pop()).meta.title!r} is both in rules and in absent")
    watched = [resolve(each) for each in dict.fromkeys((*bases, *absent))]
    aliases: dict[str, dict[str, str]] = {}
    for key, mapping in draft.aliases.items():
        aliases[key] = {}
        for name, field in mapping.items():
            base = resolve(name).meta.id
            if base not in (*bases, *absent):
                raise ValueError(f"alias {key!r} names {name!r}, which is none of the rules of this correlation")
            aliases[key][base] = field
    bounds = draft.bounds
    if draft.type.startswith("temporal") and not bounds and draft.expression is None:
        bounds = (Bound("gte", Fraction(len(bases))),)
    fingerprints = [each.fingerprint if isinstance(each, Correlation) else each.meta.version for each in watched]
    correlation = Correlation(
        meta=draft.meta,
        type=draft.type,
        bases=bases,
        group_by=draft.group_by,
        timespan_s=draft.timespan_s,
        bounds=bounds,
        expression=None if draft.expression is None else _with_ids(draft.expression, ids),
        value_fields=draft.value_fields,
        percentile=draft.percentile,
        absent=absent,
        max_speed_kmh=draft.max_speed_kmh,
        min_distance_km=draft.min_distance_km,
        aliases=aliases,
        depth=1 + max(each.depth if isinstance(each, Correlation) else 0 for each in watched),
        alerts=alerts[draft.meta.id],
        allowed_lateness_s=(
            seconds_of(tocsin["allowed_lateness"], "tocsin.allowed_lateness") if "allowed_lateness" in tocsin else None
        ),
        max_groups=_count(tocsin, "max_groups", _DEFAULT_MAX_GROUPS),
        max_signals=_count(tocsin, "max_signals", _DEFAULT_MAX_SIGNALS),
        fingerprint=hashlib.sha256("\n".join([draft.meta.version, *fingerprints]).encode()).hexdigest()[:12],
    )
    if check_fields:
        for rule in watched:
            _check_fields(correlation, rule, resolve)
    return correlation


def _count(tocsin: dict[str, Any], key: str, default: int) -> int:
    value = tocsin.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"tocsin.{key} is {value!r}: expected a whole number above 0")
    return value


def _with_ids(expression: Expression, ids: Mapping[str, str]) -> Expression:
    if isinstance(expression, str):
        return ids[expression]
    return Term(expression.op, tuple(_with_ids(each, ids) for each in expression.arguments))


def _check_fields(correlation: Correlation, base: Rule, resolve: Callable[[str], Rule]) -> None:
    names = [correlation.group_field(key, base.meta.id) for key in correlation.group_by]
    values = correlation.value_fields if base.meta.id in correlation.bases else ()
    for name in (*names, *values):
        if isinstance(base, Correlation) and name in base.group_by:
            continue
        for detection in _leaves(base, resolve):
            if not field_exists(detection.family, name):
                raise ValueError(f"{detection.family}, which {base.meta.title!r} reads, has no field {name!r}")


def _leaves(rule: Rule, resolve: Callable[[str], Rule]) -> Iterable[Detection]:
    """The detections under a rule, once each."""
    if isinstance(rule, Detection):
        return (rule,)
    found: dict[str, Detection] = {}
    for base in rule.watched:
        found.update({each.meta.id: each for each in _leaves(resolve(base), resolve)})
    return found.values()
