"""``tocsin rules deploy`` and ``deployed``: change rules while the workers run, roll back, see what is in force."""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from confluent_kafka import KafkaException
from rich import box
from rich.console import Console
from rich.table import Table

from deploy.options import DataDir
from deploy.prepare import ensure_rules_topic
from processors.rule_check import faults
from processors.rule_files import RuleError, load_texts, read_texts
from processors.rulebook import Correlation, Rule, Rulebook
from processors.ruleset import Deployment, History, RuleSet, read_history
from processors.ruleset import deploy as put_in_force
from schemas.settings import Settings
from streams.kafka import client_config, unreachable
from streams.rulesets import End, PublishError
from streams.topics import TopicError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@dataclass(frozen=True)
class Changes:
    """Titles of rules by what a deployment does to them. A rule is changed also where one that it stands on is."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    unchanged: list[str]


def changes(old: Rulebook, new: Rulebook) -> Changes:
    """What becomes of the rules of ``old`` when ``new`` takes their place."""
    kept = [(rule, old.by_id[key]) for key, rule in new.by_id.items() if key in old.by_id]
    return Changes(
        added=_titles(rule for key, rule in new.by_id.items() if key not in old.by_id),
        removed=_titles(rule for key, rule in old.by_id.items() if key not in new.by_id),
        changed=_titles(rule for rule, before in kept if _identity(rule) != _identity(before)),
        unchanged=_titles(rule for rule, before in kept if _identity(rule) == _identity(before)),
    )


def _identity(rule: Rule) -> tuple[str, str]:
    return rule.meta.version, rule.fingerprint if isinstance(rule, Correlation) else ""


def _titles(rules: Iterable[Rule]) -> list[str]:
    return sorted(rule.meta.title for rule in rules)


class RefusedError(Exception):
    """A rule set that cannot be used, and everything that is wrong with it."""

    def __init__(self, errors: list[RuleError]) -> None:
        super().__init__(f"{len(errors)} refused, nothing changes")
        self.errors = errors


Texts = list[tuple[Path, str]]


def checked(paths: Iterable[Path]) -> tuple[Texts, Rulebook]:
    """The texts of rule files and the rulebook that they make, which passes what ``tocsin rules check`` asks.

    Raises:
        RefusedError: a file cannot be read, a rule cannot be used, a test of a rule failed, or there is no rule.
    """
    errors: list[RuleError] = []
    texts = read_texts(paths, errors)
    book = load_texts(texts, errors=errors)
    errors += [] if errors else faults(book)
    if not book.rules and not errors:
        errors = [RuleError(path, 1, "no rules here") for path in paths]
    if errors:
        raise RefusedError(errors)
    return texts, book


def deploy(
    paths: Annotated[list[Path] | None, typer.Argument(help="Rule files or folders: the whole set.")] = None,
    version: Annotated[str | None, typer.Option(help="Roll back: a version that was deployed before.")] = None,
    note: Annotated[str, typer.Option(help="Why, for those who read the list later.")] = "",
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who deploys (default: you).")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Check a rule set and put it in force; every worker takes it up between two batches, without a restart.

    It replaces the whole set. Unchanged rules keep their state. Exit status 1, and nothing changes, when a rule cannot
    be used.
    """
    if bool(paths) == bool(version):
        raise typer.BadParameter("give rule files or folders, or --version to roll back", param_hint="PATHS")
    settings = Settings.load(data_dir)
    with _readable_errors(as_json, settings):
        texts, book = checked(paths) if paths else ([], None)
        history = _history(settings)
        if book is None:
            book = _known(history, str(version)).rulebook
        deployment = Deployment(version or book.version, dt.datetime.now(dt.UTC), by or _user(), "operator", note)
        found = changes(_in_force(history), book)
        ensure_rules_topic(settings)
        put_in_force(settings, deployment, RuleSet.of(texts, book, deployment) if texts else None)
    before = history.current.version if history.current else None
    if as_json:
        typer.echo(json.dumps({"version": deployment.version, "before": before, **asdict(found)}, indent=2))
        return
    for word, titles in (("added", found.added), ("removed", found.removed), ("changed", found.changed)):
        for title in titles:
            typer.echo(f"{word:<8} {title}")
    was = f", was {before}" if before else ""
    typer.echo(f"{len(found.unchanged)} unchanged; version {deployment.version} is in force{was}")


def _history(settings: Settings) -> History:
    End(settings).read()  # gives up within seconds where nobody answers
    return read_history(settings)


def _known(history: History, version: str) -> RuleSet:
    found = history.get(version)
    if found is None:
        raise LookupError(f"version {version} was never deployed: 'tocsin rules deployed' lists those that were")
    return found


def _in_force(history: History) -> Rulebook:
    """What workers run; nothing where it cannot be used here, which must not hold up a better one."""
    ruleset = history.get(history.current.version) if history.current else None
    try:
        return ruleset.rulebook if ruleset else Rulebook((), ())
    except Exception:  # a set of a newer version may break the loader in any way
        return Rulebook((), ())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


def deployed(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List every version that was deployed, which one is in force, and which workers run it."""
    settings = Settings.load(data_dir)
    with _readable_errors(as_json, settings):
        history = _history(settings)
    current = history.current
    workers = running(settings)
    versions = [_row(each, current, workers) for each in history.sets]
    if as_json:
        typer.echo(json.dumps({"current": current and current.version, "versions": versions, "workers": workers}))
        return
    if not versions:
        typer.echo(f"nothing is deployed: workers take the rules of {settings.rules_path}")
        return
    table = Table("", "version", "deployed (UTC)", "by", "rules", "workers", "note", box=box.SIMPLE)
    for each in versions:
        table.add_row(
            "in force" if each["current"] else "",
            each["version"],
            each["deployed_at"][:19].replace("T", " "),
            each["deployed_by"],
            f"{each['detections'] + each['correlations']:,}",
            ", ".join(each["workers"]),
            each["note"],
        )
    Console().print(table)
    for worker, ran in workers.items():
        if current and ran != current.version:
            typer.echo(f"{worker} runs {ran}: it has not taken up the version in force, or cannot use it; see its log")


def _row(ruleset: RuleSet, current: Deployment | None, workers: dict[str, str]) -> dict[str, Any]:
    is_current = current is not None and current.version == ruleset.version
    facts = current if current and is_current else ruleset.deployment
    return {
        "version": facts.version,
        "current": is_current,
        "deployed_at": facts.deployed_at.isoformat(),
        "deployed_by": facts.deployed_by,
        "origin": facts.origin,
        "note": facts.note,
        "files": len(ruleset.files),
        "detections": ruleset.detections,
        "correlations": ruleset.correlations,
        "workers": [name for name, version in workers.items() if version == ruleset.version],
    }


def running(settings: Settings) -> dict[str, str]:
    """Version of the rules in force by worker, for the workers that run on this machine from this data directory."""
    found = {}
    for path in sorted((settings.data_dir / "run").glob("*.json")):
        content = json.loads(path.read_text())
        if "rules" in content and Path(f"/proc/{content['pid']}").exists():
            found[path.stem] = content["rules"]
    return found


@contextmanager
def _readable_errors(as_json: bool, settings: Settings) -> Iterator[None]:
    """What a person can act on goes to standard error; exit 1 for rules and versions, 2 when Kafka is away."""
    try:
        yield
    except (RefusedError, RuleError) as error:
        errors = error.errors if isinstance(error, RefusedError) else [error]
        found = [{"path": str(each.path), "line": each.line, "reason": each.reason} for each in errors]
        lines = "\n".join(f"refused {each}" for each in errors)
        _refuse(as_json, 1, f"{lines}\n{len(errors)} refused, nothing changes", found[0], errors=found)
    except LookupError as error:
        _refuse(as_json, 1, str(error.args[0]))
    except (PublishError, TopicError, TimeoutError) as error:
        _refuse(as_json, 2, str(error))
    except KafkaException as error:
        _refuse(as_json, 2, unreachable(client_config(settings), error))


def _refuse(as_json: bool, status: int, text: str, facts: dict[str, Any] | None = None, **more: Any) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"ok": False, **(facts or {"reason": text}), **more}))
    typer.echo(text, err=True)
    raise typer.Exit(status) from None
