"""``tocsin schemas``: check the contracts before they reach a partner, and hand them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from schemas.compatibility import Comparison
from schemas.contract_check import check_registry, check_released, export_contracts, released_versions
from schemas.registry import AVRO_DIR, FAMILIES, Registry, RegistryError
from schemas.settings import Settings

app = typer.Typer(
    help="Check and export the event contracts (Avro schemas).", no_args_is_help=True, pretty_exceptions_enable=False
)


@app.command()
def check(
    data_dir: Annotated[
        Path | None, typer.Option(help="Data directory of a running platform (default .tocsin).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    offline: Annotated[bool, typer.Option(help="Compare with the committed releases only.")] = False,
    folder: Annotated[Path, typer.Option(help="Folder with the .avsc files to check.")] = AVRO_DIR,
) -> None:
    """Compare the contracts with every committed release and every registered version, both ways.

    A change must be FULL_TRANSITIVE compatible: partners and readers upgrade when they can, in any order. Each
    incompatible field is named with what to do. Exit code 0: compatible, 1: not, or the check could not be made.
    When no registry answers, that half is reported as not checked and does not fail the command.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        results = check_released(folder)
    except ValueError as error:
        raise _fail(str(error), as_json) from None
    unchecked: str | None = "not asked for (--offline)" if offline else None
    if not offline:
        try:
            with Registry.of(Settings.load(data_dir), timeout_s=5, retries=0) as registry:
                results += check_registry(registry, folder)
        except RegistryError as error:
            unchecked = str(error)
    bad = [result for result in results if not result.compatible]
    if as_json:
        print(json.dumps(_as_json(results, unchecked), indent=2))
    else:
        for result in bad:
            console.print(f"[bold red]incompatible[/] {result.family} against {result.against}")
            for problem in result.incompatibilities:
                console.print(f"  {problem}", markup=False)
        against = sorted({result.against for result in results})
        console.print(
            f"{len(FAMILIES)} families, compared with {', '.join(against) or 'nothing'}: {len(bad)} incompatible"
        )
        if unchecked is not None:
            console.print(f"registry not checked: {unchecked}", markup=False)
    raise typer.Exit(1 if bad else 0)


@app.command()
def export(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; made when it is not there.")],
) -> None:
    """Write one self-contained .avsc a family, for code generators in Java, Go and other languages."""
    try:
        written = export_contracts(target)
    except OSError as error:
        raise _fail(f"{target}: cannot be written: {error.strerror or error}", as_json=False) from None
    for path in written:
        typer.echo(str(path))


def _as_json(results: list[Comparison], unchecked: str | None) -> dict[str, object]:
    return {
        "compatible": all(result.compatible for result in results),
        "releases": released_versions(),
        "registry_unchecked": unchecked,
        "comparisons": [
            {
                "family": result.family,
                "against": result.against,
                "compatible": result.compatible,
                "incompatibilities": [
                    {"field": found.field, "code": found.code, "message": found.message, "breaks": list(found.breaks)}
                    for found in result.incompatibilities
                ],
            }
            for result in results
        ],
    }


def _fail(message: str, as_json: bool) -> typer.Exit:
    if as_json:
        print(json.dumps({"error": message}))
    else:
        typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)
