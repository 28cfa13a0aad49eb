"""``tocsin rules``: check rule files, list and show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from processors.rulebook import Correlation, Detection, Rulebook, RuleError, load
from schemas.settings import Settings

app = typer.Typer(help="Sigma rules: check, list, show.", no_args_is_help=True, pretty_exceptions_enable=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Rules = Annotated[Path | None, typer.Option("--rules", help="Rule file or folder (default: the shipped rules).")]


@app.command()
def check(paths: Annotated[list[Path], typer.Argument(help="Rule files or folders.")], as_json: AsJson = False) -> None:
    """Load rules as the workers would; exit status 1 with file, line and reason when one cannot be used."""
    try:
        book = load(paths)
    except RuleError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "path": str(error.path), "line": error.line, "reason": error.reason}))
        else:
            Console(stderr=True).print(f"[bold red]refused[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    summary = {"ok": True, "detections": len(book.detections), "correlations": len(book.correlations)}
    typer.echo(
        json.dumps(summary | {"version": book.version})
        if as_json
        else f"ok: {len(book.detections)} detections and {len(book.correlations)} correlations, version {book.version}"
    )


@app.command("list")
def list_rules(rules: Rules = None, as_json: AsJson = False) -> None:
    """List the rules that can lead to an alert."""
    book = _load(rules)
    alerting = [rule for rule in book.rules if isinstance(rule, Correlation) or rule.alerts]
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
        Console(stderr=True).print(f"[bold red]refused[/] {error}", highlight=False)
        raise typer.Exit(1) from error


def _plain(rule: Detection | Correlation, book: Rulebook) -> dict[str, Any]:
    by_id = book.by_id()
    bases = [by_id[base] for base in rule.bases] if isinstance(rule, Correlation) else [rule]
    meta = rule.meta
    return {
        "id": meta.id,
        "name": meta.name,
        "title": meta.title,
        "level": meta.level,
        "version": meta.version,
        "type": rule.type if isinstance(rule, Correlation) else "detection",
        "families": sorted({base.family for base in bases if isinstance(base, Detection)}),
        "description": meta.description,
        "condition": rule.condition_text if isinstance(rule, Correlation) else str(rule.condition),
        "group_by": list(rule.group_by) if isinstance(rule, Correlation) else [],
        "base_rules": [base.meta.title for base in bases] if isinstance(rule, Correlation) else [],
        "tags": list(meta.tags),
        "falsepositives": list(meta.false_positives),
        **{name: str(value) for name, value in meta.tocsin.items()},
        "path": meta.path,
    }
