"""``tocsin rules``: check rule files, list and show them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from deploy.lazy import Later, lazy_group
from processors import rule_tests
from processors.patterns import is_linear
from processors.predicates import Op, in_words, leaves
from processors.rule_check import faults
from processors.rule_files import RuleError, load
from processors.rule_lint import cost, findings
from processors.rulebook import Correlation, Rule, Rulebook
from schemas.settings import Settings

LATER = {
    "run": Later(
        "deploy.rules_run_cli", "run", "Run rules over files of events and print what would alert. Needs no platform."
    ),
    "backtest": Later(
        "deploy.rules_backtest_cli",
        "backtest",
        "Run rules over the platform's history: how many alerts they would have given, and which are new or gone.",
    ),
    "deploy": Later(
        "deploy.rules_deploy_cli",
        "deploy",
        "Check a rule set and put it in force; every worker takes it up between two batches, without a restart.",
    ),
    "deployed": Later(
        "deploy.rules_deploy_cli",
        "deployed",
        "List every version that was deployed, which one is in force, and which workers run it.",
    ),
}
app = typer.Typer(
    cls=lazy_group(LATER),
    help="Sigma rules: check, test, run on files, back-test, deploy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Rules = Annotated[Path | None, typer.Option("--rules", help="Rule file or folder (default: the shipped rules).")]


IgnoreLogsource = Annotated[
    bool, typer.Option("--ignore-logsource", help="Take rules of other products: every rule reads every event.")
]


@app.command()
def check(
    paths: Annotated[list[Path], typer.Argument(help="Rule files or folders.")],
    ignore_logsource: IgnoreLogsource = False,
    as_json: AsJson = False,
) -> None:
    """Load rules as the workers would, run their inline tests, and look for what cannot work or costs too much.

    Exit status 1 with file, line and reason of everything that is wrong. ``--json`` has the cost of each rule as well.

    Example: tocsin rules check processors/rules
    """
    errors: list[RuleError] = []
    book = load(paths, ignore_logsource, errors)
    tests = rule_tests.run(book)
    errors += [] if errors else faults(book)
    # What we want of our own rules says nothing about those of others.
    warnings = [] if ignore_logsource else [each for each in findings(book) if each.level == "warning"]
    notes = [{"rule": each.path, "note": each.message} for each in warnings] + [
        {"rule": rule.meta.path, "note": f"{leaf}: Python's regular expressions run it, not in linear time"}
        for rule in book.detections
        for leaf in leaves(rule.condition)
        if leaf.op is Op.RE and not is_linear(str(leaf.value))
    ]
    found = [{"path": str(each.path), "line": each.line, "reason": each.reason} for each in errors]
    summary = {"detections": len(book.detections), "correlations": len(book.correlations), "tests": len(tests)}
    if as_json:
        first = found[0] if found else {"version": book.version}
        costs = [asdict(each) for each in cost(book)]
        typer.echo(json.dumps({"ok": not found, **first, **summary, "notes": notes, "costs": costs, "errors": found}))
    else:
        console = Console(stderr=True)
        for error in errors:
            console.print(f"[bold red]refused[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        for note in notes:
            console.print(f"[yellow]note[/] {escape(note['rule'])}: {escape(note['note'])}", highlight=False)
        counts = ", ".join(f"{number} {what}" for what, number in summary.items())
        scans = sum(each.matching == "scan" for each in cost(book))
        typer.echo(f"{len(found)} wrong; {counts}" if found else f"ok: {counts}, {scans} scans; version {book.version}")
    if found:
        raise typer.Exit(1)


@app.command("list")
def list_rules(rules: Rules = None, as_json: AsJson = False) -> None:
    """List the rules that can lead to an alert."""
    book = _load(rules)
    alerting = [rule for rule in book.rules if rule.alerts]
    if as_json:
        typer.echo(json.dumps([_plain(rule, book) for rule in alerting], indent=2))
        return
    table = Table("level", "rule", "kind", "reads", Column("id", no_wrap=True, min_width=36))
    for rule in alerting:
        plain = _plain(rule, book)
        table.add_row(plain["level"], plain["title"], plain["type"], ", ".join(plain["families"]), plain["id"])
    Console().print(table)


@app.command()
def show(
    rule_id: Annotated[str, typer.Argument(help="Id, name or the beginning of an id.")],
    rules: Rules = None,
    as_json: AsJson = False,
) -> None:
    """Show one rule: what it asks, of which events, and what to do when it fires."""
    book = _load(rules)
    found = [rule for rule in book.rules if rule.meta.name == rule_id or rule.meta.id.startswith(rule_id)]
    if len(found) != 1:
        reason = "several rules begin so" if found else "no such rule"
        Console(stderr=True).print(f"{rule_id}: {reason}; 'tocsin rules list' lists them", highlight=False)
        raise typer.Exit(1)
    plain = _plain(found[0], book)
    if as_json:
        typer.echo(json.dumps(plain, indent=2))
        return
    for name, value in plain.items():
        if value not in ("", [], {}, None):
            text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
            typer.echo(f"{name:<16} {text}")


def _load(rules: Path | None) -> Rulebook:
    try:
        return load([rules or Settings.load().rules_path])
    except RuleError as error:
        Console(stderr=True).print(f"[bold red]refused[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def _plain(rule: Rule, book: Rulebook) -> dict[str, Any]:
    meta = rule.meta
    return {
        "id": meta.id,
        "name": meta.name,
        "title": meta.title,
        "level": meta.level,
        "version": meta.version,
        "type": rule.type if isinstance(rule, Correlation) else "detection",
        "families": sorted({detection.family for detection in book.leaves_of(meta.id)}),
        "description": meta.description,
        "condition": rule.condition_text if isinstance(rule, Correlation) else in_words(rule.condition),
        "group_by": list(rule.group_by) if isinstance(rule, Correlation) else [],
        "base_rules": [book.by_id[base].meta.title for base in rule.watched] if isinstance(rule, Correlation) else [],
        "tags": list(meta.tags),
        "falsepositives": list(meta.false_positives),
        **{name: str(value) for name, value in meta.tocsin.items() if name not in ("tests", "correlation")},
        "path": meta.path,
    }
