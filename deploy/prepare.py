"""What a platform needs before its workers start: topics, schemas, tables, rules. Every step may be repeated."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from processors.rule_files import RuleError, load_texts, read_texts
from processors.ruleset import Deployment, RuleSet, deploy, read_history
from schemas.alerts import RULES_TOPIC
from schemas.migrations import migrate_platform
from schemas.registry import register_all
from schemas.settings import Settings
from streams.topics import ensure_topics, topic_specs


@dataclass(frozen=True)
class Prepared:
    """Schema id of each family, and what a person should know of the rules in force; mostly empty."""

    schema_ids: dict[str, int]
    rules: str


def prepare(settings: Settings) -> Prepared:
    """Create or complete topics, register the contracts, apply pending migrations, deploy the rule files.

    Raises:
        RuntimeError: one of the four refused; the message says which and why.
    """
    ensure_topics(settings)
    schema_ids = register_all(settings)
    migrate_platform(settings)
    return Prepared(schema_ids, deploy_files(settings))


def deploy_files(settings: Settings) -> str:
    """Put the files of ``settings.rules_path`` in force, unless an operator's rule set is.

    Returns:
        A line about it where the files are not in force.

    Raises:
        RuntimeError: the files cannot be used, and nothing else is in force.
    """
    current = read_history(settings).current
    stays = f"rule set {current.version}, deployed by {current.deployed_by}, stays in force" if current else ""
    how = f"'tocsin rules deploy {settings.rules_path}' puts the files in force"
    if current and current.origin == "operator":
        return f"{stays}; {how}"
    try:
        texts = read_texts([settings.rules_path])
        book = load_texts(texts)
    except RuleError as error:
        if current is None:
            raise RuntimeError(f"rules not usable: {error}") from error
        return f"{stays}: {error}"
    if current is None or current.version != book.version:
        deployment = Deployment(book.version, dt.datetime.now(dt.UTC), "tocsin up", "files")
        deploy(settings, deployment, RuleSet.of(texts, book, deployment))
    return ""


def ensure_rules_topic(settings: Settings) -> None:
    """Create or complete the topic of the rule sets.

    Raises:
        TopicError: no broker, or it refused.
    """
    ensure_topics(settings, [spec for spec in topic_specs(settings) if spec.name == RULES_TOPIC])
