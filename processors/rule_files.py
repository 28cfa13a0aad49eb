"""Sigma rule files to a rulebook: documents read, references resolved, filters applied, everything checked.

What cannot be used is refused with the file, the line of the document and the reason; nothing is ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from sigma.collection import deep_dict_update
from sigma.exceptions import SigmaError
from sigma.rule.base import check_alias_expansion

from processors.fields import field_exists
from processors.predicates import And, fields_of
from processors.rule_correlations import CorrelationDraft, finish, parse_correlation
from processors.rule_parse import DetectionDraft, FilterDraft, Source, parse_detection, parse_filter, version_of
from processors.rulebook import Correlation, Detection, Rule, Rulebook
from schemas.registry import FAMILIES

RuleDraft = DetectionDraft | CorrelationDraft
Draft = RuleDraft | FilterDraft
_MAX_HINTS = 20


class RuleError(ValueError):
    """A rule file that cannot be used; ``path`` and ``line`` (from 1) locate the document."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path, self.line, self.reason = path, line, reason


def load(paths: Iterable[Path], ignore_logsource: bool = False, errors: list[RuleError] | None = None) -> Rulebook:
    """Read rule files (folders are searched for ``*.yml`` and ``*.yaml``) into one rulebook.

    With ``ignore_logsource`` rules of other products are taken as well: every detection reads every event, and whether
    its fields exist is not checked. Given a list, ``errors`` takes what is wrong with any file, and the rulebook holds
    the rest.

    Raises:
        RuleError: a file cannot be read, parsed or evaluated, and there is no list for it.
    """
    return load_texts(read_texts(paths, errors), ignore_logsource, errors)


def read_texts(paths: Iterable[Path], errors: list[RuleError] | None = None) -> list[tuple[Path, str]]:
    """The texts of rule files (folders are searched), each with its path, in the order of paths.

    Raises:
        RuleError: a file cannot be read, and there is no list for it.
    """
    loading = _Loading(False, errors)
    files: dict[Path, None] = {}
    for given in paths:
        with loading.located(given):
            files.update(dict.fromkeys(_files(given)))
    texts: list[tuple[Path, str]] = []
    for path in sorted(files):
        with loading.located(path):
            texts.append((path, _text(path)))
    return texts


def load_texts(
    texts: Iterable[tuple[Path, str]], ignore_logsource: bool = False, errors: list[RuleError] | None = None
) -> Rulebook:
    """As :func:`load`, of texts that are at hand, each with the path by which errors name it."""
    loading = _Loading(ignore_logsource, errors)
    for path, text in texts:
        loading.read(path, text)
    return loading.book()


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return (each for each in path.rglob("*") if each.suffix in {".yml", ".yaml"} and each.is_file())
    if not path.is_file():
        raise ValueError("no such file or folder")
    return (path,)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML libraries take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def documents(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line on which it starts, content) of every rule in a file; what ``action`` says of several documents (Sigma 1
    collections) is carried out.

    Raises:
        yaml.YAMLError, ValueError: no YAML, or a document that is no mapping.
    """
    common: dict[str, Any] = {}
    previous: dict[str, Any] = {}
    for node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
        if node is None:
            continue
        loader = _Loader("")
        try:
            content = loader.construct_document(node)
        except (ValueError, OverflowError) as error:  # a date that does not exist, a number without end
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error
        finally:
            loader.dispose()
        if content is None:
            continue
        line = node.start_mark.line + 1
        if not isinstance(content, dict):
            raise yaml.MarkedYAMLError(problem="a rule is a mapping of keys to values", problem_mark=node.start_mark)
        check_alias_expansion(content)
        match content.pop("action", None):
            case None if not {"correlation", "filter"} & content.keys():
                previous = deep_dict_update(content, common)
                yield line, previous
            case None:
                yield line, content
            case "global":
                common = previous = content
            case "reset":
                common = {}
            case "repeat":
                previous = deep_dict_update(deep_dict_update({}, previous), content)
                yield line, previous
            case other:
                problem = f"action {other!r} is not known: expected global, reset or repeat"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


@dataclass
class _Loading:
    """What was read so far. ``broken`` are the names and ids of refused documents, so that nobody looks for them."""

    ignore_logsource: bool
    errors: list[RuleError] | None
    drafts: list[RuleDraft] = field(default_factory=list)
    filters: list[FilterDraft] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    index: dict[str, RuleDraft] = field(default_factory=dict)
    built: dict[str, Rule | None] = field(default_factory=dict)

    def refuse(self, path: Path, line: int, reason: str) -> None:
        error = RuleError(path, line, reason)
        if self.errors is None:
            raise error
        self.errors.append(error)

    def located(self, path: Path) -> _Located:
        return _Located(lambda reason: self.refuse(path, 1, reason))

    def attempt(self, source: Source) -> _Located:
        def refuse(reason: str) -> None:
            for name in filter(None, (source.document.get("id"), source.document.get("name"))):
                self.broken.setdefault(str(name), f"{source.path}:{source.line}")
            self.refuse(source.path, source.line, reason)

        return _Located(refuse)

    def read(self, path: Path, text: str) -> None:
        """Take in the documents of a file; one that breaks its YAML ends it."""
        try:
            for line, document in documents(text):
                source = Source(path, line, document)
                with self.attempt(source):
                    self._add(_parse(source))
        except yaml.MarkedYAMLError as error:
            self.refuse(path, error.problem_mark.line + 1 if error.problem_mark else 1, f"not YAML: {error.problem}")
        except (yaml.YAMLError, SigmaError, ValueError, RecursionError) as error:
            if isinstance(error, RuleError):
                raise
            self.refuse(path, 1, f"not YAML: {error}")

    def _add(self, draft: Draft) -> None:
        if isinstance(draft, FilterDraft):
            self.filters.append(draft)
            return
        if draft.meta.id in self.index and self.ignore_logsource:
            draft = replace(draft, meta=replace(draft.meta, id=draft.source.derived_id))
        for what, key in (("id", draft.meta.id), ("name", draft.meta.name)):
            former = self.index.get(key)
            if key and former:
                raise ValueError(f"{what} {key} is already used in {former.source.path}:{former.source.line}")
        self.drafts.append(draft)
        self.index.update({key: draft for key in (draft.meta.id, draft.meta.name) if key})

    def book(self) -> Rulebook:
        """Everything that was read as one rulebook."""
        alerts = {draft.meta.id: True for draft in self.drafts}
        for draft in self.drafts:
            if isinstance(draft, CorrelationDraft) and not draft.generate:
                alerts.update({found.meta.id: False for name in draft.watched if (found := self._find(name))})
        filters = self._filters()
        for draft in self.drafts:
            if isinstance(draft, DetectionDraft):
                with self.attempt(draft.source):
                    self.built[draft.meta.id] = self._detection(draft, filters.get(draft.meta.id, []), alerts)
        for draft in self.drafts:
            if isinstance(draft, CorrelationDraft):
                self._correlation(draft, alerts)
        rules = [self.built.get(draft.meta.id) for draft in self.drafts]
        return Rulebook(
            tuple(rule for rule in rules if isinstance(rule, Detection)),
            tuple(rule for rule in rules if isinstance(rule, Correlation)),
        )

    def _find(self, reference: str) -> RuleDraft | None:
        return self.index.get(reference) or self.index.get(reference.lower())

    def _missing(self, reference: str) -> str:
        if reference in self.broken:
            return f"rule {reference!r} is refused itself: {self.broken[reference]}"
        # Looking for a likeness takes its time among thousands of rules; nobody reads so many hints.
        near = difflib.get_close_matches(reference, self.index, 1) if len(self.errors or ()) < _MAX_HINTS else []
        hint = f"did you mean {near[0]!r}?" if near else "load its file as well, or correct the id or name"
        return f"there is no rule {reference!r}: {hint}"

    def _filters(self) -> dict[str, list[FilterDraft]]:
        """The filters of each detection, by its id."""
        found: dict[str, list[FilterDraft]] = {}
        for each in self.filters:
            with self.attempt(each.source):
                for draft in self._filtered(each):
                    found.setdefault(draft.meta.id, []).append(each)
        return found

    def _filtered(self, given: FilterDraft) -> list[DetectionDraft]:
        if given.rules is None:
            drafts = [each for each in self.drafts if isinstance(each, DetectionDraft)]
            fitting = [each for each in drafts if each.logsource in given.logsource]
            if not fitting:
                raise ValueError("the filter's logsource is that of no rule")
            return fitting
        found: dict[str, DetectionDraft] = {}
        for reference in given.rules:
            draft = self._find(reference)
            if draft is None:
                raise ValueError(self._missing(reference))
            if isinstance(draft, CorrelationDraft):
                raise ValueError(f"rule {reference!r} is a correlation: a filter applies to the rules below it")
            if draft.logsource not in given.logsource:
                raise ValueError(f"the filter's logsource does not contain that of rule {reference!r}")
            found[draft.meta.id] = draft
        return list(found.values())

    def _detection(self, draft: DetectionDraft, filters: list[FilterDraft], alerts: dict[str, bool]) -> Detection:
        source = draft.logsource
        if not self.ignore_logsource and (source.product != "tocsin" or source.category not in FAMILIES):
            raise ValueError(
                f"logsource {{product: {source.product}, category: {source.category}}} is not ours: expected product "
                f"tocsin and a category of {', '.join(FAMILIES)}; --ignore-logsource takes rules of other products"
            )
        meta, condition = draft.meta, draft.condition
        if filters:
            condition = And((condition, *(each.condition for each in filters)))
            meta = replace(meta, version=version_of(draft.source, *(each.source for each in filters)))
        family = "" if self.ignore_logsource else str(source.category)
        detection = Detection(meta, family, condition, alerts[meta.id])
        if not self.ignore_logsource:
            for name in fields_of(condition):
                if not field_exists(family, name):
                    raise ValueError(f"{family} has no field {name!r}: see its .avsc, entity.* and geo.*")
        return detection

    def _correlation(self, draft: CorrelationDraft, alerts: dict[str, bool]) -> Rule | None:
        """The correlation, after those that it watches; None where it is refused."""
        identifier = draft.meta.id
        if identifier not in self.built:
            self.built[identifier] = None
            with self.attempt(draft.source):
                self.built[identifier] = finish(
                    draft, lambda name: self._resolve(name, draft, alerts), alerts, not self.ignore_logsource
                )
        return self.built[identifier]

    def _resolve(self, reference: str, above: CorrelationDraft, alerts: dict[str, bool]) -> Rule:
        draft = self._find(reference)
        if draft is None:
            raise ValueError(self._missing(reference))
        rule = self.built.get(draft.meta.id)
        if rule is None and isinstance(draft, CorrelationDraft):
            rule = self._correlation(draft, alerts)
        if rule is None:
            if reference in self.broken or draft.meta.id in self.broken:
                raise ValueError(self._missing(reference))
            raise ValueError(
                f"rule {reference!r} leads back to {above.meta.title!r}: correlations cannot go in a circle"
            )
        return rule


@dataclass
class _Located:
    """Turns a ``ValueError`` of its block into a refusal with a place."""

    refuse: Callable[[str], None]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> bool:
        if not isinstance(error, ValueError) or isinstance(error, RuleError):
            return False
        self.refuse(str(error))
        return True


def _parse(source: Source) -> Draft:
    document = source.document
    ours = document.get("tocsin")
    if "correlation" in document or (isinstance(ours, dict) and "correlation" in ours):
        return parse_correlation(source)
    return parse_filter(source) if "filter" in document else parse_detection(source)
