"""Everything that is held against a rulebook that loads: its inline tests, and what lint finds."""

from __future__ import annotations

from pathlib import Path

from processors import rule_tests
from processors.rule_files import RuleError
from processors.rule_lint import findings
from processors.rulebook import Rulebook


def faults(book: Rulebook) -> list[RuleError]:
    """What keeps the rulebook from being deployed: failed tests and lint's errors, as errors of their documents."""
    failed = [each for each in rule_tests.run(book) if not each.ok]
    texts = [(each.rule_id, f"test {each.name!r} fails: {each.message}") for each in failed]
    texts += [(each.rule, each.message) for each in findings(book) if each.level == "error"]
    return [_error(book, rule_id, text) for rule_id, text in texts]


def _error(book: Rulebook, rule_id: str, text: str) -> RuleError:
    rule = book.by_id[rule_id]
    path, _, line = rule.meta.path.rpartition(":")
    return RuleError(Path(path), int(line), f"{rule.meta.title}: {text}")
