"""``tocsin publish``: a file of events, published as a partner would."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from schemas.header import Tlp
from schemas.partners import Partner, UnknownPartner, load_partners
from schemas.registry import FAMILIES, RegistryError
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError
from streams.adapters.base import AdapterError, Context, LineReader, RefusedLine
from streams.producer import BrokerUnreachable, DeliveryFailed, PartnerProducer, QueueFull
from streams.publish_file import ADAPTERS, Summary, publish_outcomes

EXIT_SENT = 0
EXIT_FAILED = 1
EXIT_SOME_REFUSED = 3
# A line of text may be longer than the event in Avro; beyond this it is refused unread.
_LINE_PER_EVENT_BYTES = 8
_PROGRESS_EVERY = 200


class Format(StrEnum):
    """File formats."""

    jsonl = "jsonl"
    csv = "csv"
    ucdp_ged = "ucdp-ged"
    eve = "eve"


@dataclass
class _Run:
    """One run and what it came to."""

    file: Path
    partner: str
    family: str
    form: str
    dry_run: bool
    summary: Summary = field(default_factory=Summary)
    delivered: int = 0
    seconds: float = 0.0
    refused_file: Path | None = None
    error: str | None = None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return EXIT_FAILED
        return EXIT_SOME_REFUSED if self.summary.refused else EXIT_SENT


def publish(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to publish.", show_default=False)],
    partner: Annotated[str, typer.Option(help="Partner that publishes, an id of partners.yml.", show_default=False)],
    family: Annotated[str, typer.Option(help=f"Event family: {', '.join(FAMILIES)}.", show_default=False)],
    form: Annotated[Format | None, typer.Option("--format", help="Default: by the file's name, else jsonl.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="Mapping file of format csv: columns to fields (YAML).")] = None,
    tlp: Annotated[
        str | None, typer.Option(help="TLP label of lines that have none, for example AMBER+STRICT.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Read and validate only; sends nothing and needs no platform.")] = False,
    refused: Annotated[
        Path | None, typer.Option(help="Where refused lines are kept; default DATA_DIR/refused/NAME-TIME.jsonl.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Data directory of a running platform (default .tocsin).")
    ] = None,
) -> None:
    """Publish the events of a file. Every line is either sent or refused with a reason; refused lines are kept.

    \b
    First try without sending:
      tocsin publish --partner fiu-nl --family financial_transaction payments.jsonl --dry-run
    A line of jsonl needs at least what has no default, flat or nested as in the contract:
      {"occurred_at": "2026-03-01T12:00:00Z", "tlp": "AMBER", "kind": "TRANSFER"}
    A CSV file needs a mapping file (columns, constants, formats of times and their time zone):
      tocsin publish --partner fiu-nl --family financial_transaction p.csv --format csv --mapping p.yml
    UCDP's Georeferenced Event Dataset, and Suricata's EVE log:
      tocsin publish --partner hub-ke --family incident_report ged.csv --format ucdp-ged
      tocsin publish --partner cert-fr --family cyber_detection eve.json --format eve --tlp GREEN

    Lines without an event_id get one made from their content, so the same file published twice is stored once.

    Exit code: 0 everything sent, 3 some lines refused (the others were sent), 1 failed.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    chosen = form or _format_of(file)
    run = _Run(file, partner, family, chosen.value, dry_run)
    started = time.monotonic()
    try:
        settings = Settings.load(data_dir)
        _require_agreement(partner, family, settings)
        context = Context(partner, family, _label(tlp), mapping)
        kept = refused or settings.data_dir / "refused" / f"{file.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl"
        _publish(run, settings, context, kept, console)
    except (
        *(AdapterError, ConfigError, UnknownPartner, _Refused, OSError, RegistryError),
        *(BrokerUnreachable, DeliveryFailed, QueueFull),
    ) as error:
        run.error = _message(error)
    except KeyboardInterrupt:
        run.error = "interrupted; what was sent stays sent, run it again to send the rest"
    run.seconds = time.monotonic() - started
    if as_json:
        print(json.dumps(_as_json(run), indent=2))
    else:
        _print(run, console, Console(highlight=False, soft_wrap=True))
    raise typer.Exit(run.exit_code)


class _Refused(ValueError):  # noqa: N818
    """The command cannot be carried out as given."""


def _publish(run: _Run, settings: Settings, context: Context, kept: Path, console: Console) -> None:
    producer = PartnerProducer(
        run.partner, settings=settings, schema_ids=dict.fromkeys(FAMILIES, 0) if run.dry_run else None
    )
    if not run.dry_run:
        producer.start()
    keeper = _Keeper(kept)
    limit = settings.max_event_bytes * _LINE_PER_EVENT_BYTES
    try:
        with LineReader(run.file, limit) as lines, _progress(console, lines) as on_line:
            publish_outcomes(
                ADAPTERS[run.form](lines, context),
                run.family,
                producer,
                dry_run=run.dry_run,
                on_refused=keeper.keep,
                on_line=on_line,
                summary=run.summary,
            )
    finally:
        run.refused_file = keeper.close()
        try:
            producer.close()
        finally:
            run.delivered = producer.stats.delivered


def _require_agreement(partner_id: str, family: str, settings: Settings) -> Partner:
    if family not in FAMILIES:
        raise _Refused(f"--family {family}: no such family; choose one of {', '.join(FAMILIES)}")
    partner = load_partners(settings.partners_file).get(partner_id)
    if not partner.may_publish(family):
        raise _Refused(
            f"{partner_id} may not publish {family}; {settings.partners_file} lets it publish: "
            f"{', '.join(partner.families)}. Choose one of these, or add the family there."
        )
    return partner


def _label(tlp: str | None) -> str | None:
    if tlp is None:
        return None
    symbol = tlp.upper().removeprefix("TLP:").replace("+", "_")
    if symbol not in set(Tlp):
        raise _Refused(f"--tlp {tlp}: must be one of {', '.join(Tlp).replace('_', '+')}")
    return symbol


def _format_of(file: Path) -> Format:
    return Format.csv if file.suffix.lower() in (".csv", ".tsv") else Format.jsonl


class _Keeper:
    """Writes refused lines to a file that is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def keep(self, refused: RefusedLine) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8")
        self._file.write(json.dumps(_line_as_json(refused), ensure_ascii=False) + "\n")

    def close(self) -> Path | None:
        if self._file is None:
            return None
        self._file.close()
        return self._path


@contextmanager
def _progress(console: Console, lines: LineReader) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(lines.path.name, total=max(lines.size, 1))

        def on_line(summary: Summary) -> None:
            if summary.lines % _PROGRESS_EVERY == 0:
                text = f"{summary.accepted:,} accepted, {summary.refused:,} refused"
                progress.update(task, completed=lines.bytes_read, description=text)

        yield on_line


def _print(run: _Run, errors: Console, console: Console) -> None:
    summary = run.summary
    done = "valid (nothing sent)" if run.dry_run else "sent and confirmed"
    count = summary.accepted if run.dry_run else run.delivered
    if summary.lines or run.error is None:
        read = f"{run.file}: {summary.lines:,} events read, {count:,} {done}, {summary.refused:,} refused"
        console.print(read, markup=False)
    for reason, number in summary.by_reason.most_common():
        console.print(f"  {number:,} x {reason}", markup=False)
        for example in summary.examples[reason]:
            console.print(f"    line {example.line}: {example.message}", markup=False)
    if run.refused_file is not None:
        kept = f"refused lines are kept in {run.refused_file}; correct them and publish them again"
        console.print(kept, markup=False)
    if run.error is not None:
        errors.print(f"error: {run.error}", style="bold red", markup=False)


def _as_json(run: _Run) -> dict[str, Any]:
    summary = run.summary
    return {
        "file": str(run.file),
        "partner": run.partner,
        "family": run.family,
        "format": run.form,
        "dry_run": run.dry_run,
        "read": summary.lines,
        "accepted": summary.accepted,
        "delivered": run.delivered,
        "refused": summary.refused,
        "by_reason": dict(summary.by_reason.most_common()),
        "examples": [_line_as_json(line) for lines in summary.examples.values() for line in lines],
        "refused_file": None if run.refused_file is None else str(run.refused_file),
        "seconds": round(run.seconds, 3),
        "error": run.error,
    }


def _line_as_json(refused: RefusedLine) -> dict[str, Any]:
    return {
        "line": refused.line,
        "reason": refused.reason,
        "field": refused.field,
        "message": refused.message,
        "raw": refused.raw,
    }


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
