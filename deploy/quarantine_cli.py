"""``tocsin quarantine``: what was refused and why, the bytes as they came, and sending them again."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import fastavro
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dashboards.alerts import Store, StoreAwayError
from dashboards.explain import printable, stamp
from deploy.options import AsJson, DataDir
from schemas.registry import Registry, RegistryError
from schemas.settings import Settings
from schemas.wire import NotConfluentFramed, unframe
from streams.outbox import DeliveryFailedError, Headers, Outbox

app = typer.Typer(help="Refused records.", no_args_is_help=True, pretty_exceptions_enable=False)

REPLAY_RECORDS: Final = 500
REPLAY_BYTES: Final = 16 * 1024 * 1024
DUMP_BYTES: Final = 512
REPLAY_HEADER: Final = "tocsin-replay-of"

Reason = Annotated[str | None, typer.Option(help="Only records refused for this reason.")]
Partner = Annotated[str | None, typer.Option(help="Only records of this partner.")]


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused record without its bytes. Times are aware UTC; ``schema_id`` is -1 when there was none."""

    topic: str
    partition: int
    offset: int
    reason: str
    field: str
    message: str
    partner: str
    family: str
    event_id: str
    schema_id: int
    size: int
    quarantined_at: datetime
    kafka_at: datetime

    @property
    def position(self) -> str:
        """``topic/partition/offset``, as ``tocsin quarantine show`` takes it."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Sender(Protocol):
    """The part of streams.outbox.Outbox that replay uses."""

    def send(self, topic: str, value: bytes | None, *, partition: int = -1, headers: Headers | None = None) -> None: ...

    async def delivered(self) -> None: ...


_COLUMNS: Final = (
    "topic, partition, offset, reason, field, message, partner, family, event_id, schema_id, size, "
    "toUnixTimestamp64Milli(quarantined_at) AS quarantined_ms, toUnixTimestamp64Milli(kafka_at) AS kafka_ms"
)
_MATCHES: Final = (
    "({reason:String} = '' OR reason = {reason:String}) AND ({partner:String} = '' OR partner = {partner:String})"
)


def open_store(data_dir: Path | None) -> Store:
    """The store of the platform whose folder is ``data_dir``."""
    return Store(Settings.load(data_dir))


def open_sender(settings: Settings) -> Sender:
    """A producer to the platform's Kafka."""
    return Outbox(settings, "tocsin-quarantine-replay", delivery_timeout_s=30)


def _refused(row: dict[str, Any]) -> Refused:
    moments = {
        name: datetime.fromtimestamp(int(row.pop(short)) / 1000, UTC)
        for name, short in (("quarantined_at", "quarantined_ms"), ("kafka_at", "kafka_ms"))
    }
    return Refused(**(row | moments))


def find(
    store: Store, reason: str | None, partner: str | None, limit: int, *, oldest_first: bool = False
) -> list[Refused]:
    """Refused records, the newest first unless asked otherwise, at most ``limit``.

    Raises:
        StoreAwayError: no answer, or an error of the store.
    """
    order = "ASC" if oldest_first else "DESC"
    rows = store.rows(
        f"SELECT {_COLUMNS} FROM quarantine FINAL WHERE {_MATCHES} "
        f"ORDER BY kafka_at {order}, topic, partition, offset {order} LIMIT {{limit:UInt32}}",
        {"reason": reason or "", "partner": partner or "", "limit": limit},
    )
    return [_refused(row) for row in rows]


def counts(store: Store, reason: str | None, partner: str | None) -> dict[str, int]:
    """How many records were refused for each reason, the most frequent first.

    Raises:
        StoreAwayError: no answer, or an error of the store.
    """
    rows = store.rows(
        f"SELECT reason, count() AS n FROM quarantine FINAL WHERE {_MATCHES} GROUP BY reason ORDER BY n DESC, reason",
        {"reason": reason or "", "partner": partner or ""},
    )
    return {str(row["reason"]): int(row["n"]) for row in rows}


def raw_of(store: Store, records: Sequence[Refused]) -> dict[str, bytes]:
    """The bytes of these records by position.

    Raises:
        StoreAwayError: no answer, or an error of the store.
    """
    rows = store.rows(
        "SELECT topic, partition, offset, base64Encode(raw) AS raw FROM quarantine FINAL "
        "WHERE topic IN {topics:Array(String)} AND offset IN {offsets:Array(UInt64)} "
        "AND concat(topic, '/', toString(partition), '/', toString(offset)) IN {positions:Array(String)}",
        {
            "topics": sorted({record.topic for record in records}),
            "offsets": sorted({record.offset for record in records}),
            "positions": [record.position for record in records],
        },
    )
    return {f"{row['topic']}/{row['partition']}/{row['offset']}": base64.b64decode(row["raw"]) for row in rows}


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except StoreAwayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


@app.command("list")
def list_refused(
    reason: Reason = None,
    partner: Partner = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List refused records, the newest first, with how many there are of each reason."""
    with _readable_errors():
        store = open_store(data_dir)
        by_reason, records = counts(store, reason, partner), find(store, reason, partner, limit)
    if as_json:
        body = {"total": sum(by_reason.values()), "by_reason": by_reason, "records": [_plain(each) for each in records]}
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    console = Console()
    if not by_reason:
        console.print("Nothing was refused that passes this filter.", highlight=False)
        return
    summary = Table(box=box.SIMPLE_HEAD, title=f"{sum(by_reason.values())} refused records", title_justify="left")
    summary.add_column("Reason")
    summary.add_column("Records", justify="right")
    for name, number in by_reason.items():
        summary.add_row(Text(name), str(number))
    table = Table(box=box.SIMPLE_HEAD, title="The newest (times are UTC)", title_justify="left")
    for name in ("Refused", "Partner", "Reason", "What was wrong", "Position"):
        table.add_column(name, overflow="fold")
    for each in records:
        table.add_row(
            stamp(each.quarantined_at).removesuffix(" UTC"),
            _text(each.partner or "not known"),
            Text(each.reason),
            _text(each.message),
            _text(each.position),
        )
    console.print(summary, table)
    console.print("See the bytes of one: tocsin quarantine show POSITION", style="dim", highlight=False)


def _plain(record: Refused) -> dict[str, Any]:
    values = {
        name: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
        for name, value in asdict(record).items()
    }
    return {"position": record.position} | values


def _text(value: str) -> Text:
    """Partners' words: never markup, never control characters."""
    return Text(printable(value))


@app.command()
def show(
    position: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION/OFFSET", help="As 'list' prints it.")],
    full: Annotated[bool, typer.Option("--full", help=f"All bytes, not the first {DUMP_BYTES}.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show one refused record: the reason, the bytes, and what can be read of them."""
    settings = Settings.load(data_dir)
    with _readable_errors():
        store = open_store(data_dir)
        record = _at(store, position)
        raw = raw_of(store, [record]).get(record.position, b"")
    decoded = decode(raw, settings)
    if as_json:
        body = _plain(record) | {"raw_base64": base64.b64encode(raw).decode(), "decoded": decoded}
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False, default=str))
        return
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in (
        ("Position", record.position),
        ("Reason", record.reason + (f" (field {record.field})" if record.field else "")),
        ("Message", record.message),
        ("Partner", record.partner or "not known"),
        ("Event id", record.event_id or "not known"),
        ("In Kafka since", stamp(record.kafka_at)),
        ("Refused", stamp(record.quarantined_at)),
        ("Schema id", str(record.schema_id) if record.schema_id >= 0 else "none"),
        ("Size", f"{record.size} bytes"),
    ):
        facts.add_row(Text(name, style="dim"), _text(value))
    shown = raw if full else raw[:DUMP_BYTES]
    console = Console(highlight=False, soft_wrap=True)
    console.print(facts)
    console.print(Text("\nBytes", style="bold"))
    console.print(Text(hexdump(shown)))
    if len(shown) < len(raw):
        console.print(f"... {len(raw) - len(shown)} more bytes; all of them with --full", style="dim")
    console.print(Text("\nWhat can be read of them", style="bold"))
    text = decoded if isinstance(decoded, str) else json.dumps(decoded, indent=2, ensure_ascii=False, default=str)
    console.print(_text(text))


def _at(store: Store, position: str) -> Refused:
    topic, _, rest = position.partition("/")
    partition, _, offset = rest.partition("/")
    if not (topic and partition.isdecimal() and offset.isdecimal()):
        raise typer.BadParameter(f"'{position}' is not TOPIC/PARTITION/OFFSET, as in events.tip_report.v1/0/1042")
    rows = store.rows(
        f"SELECT {_COLUMNS} FROM quarantine FINAL WHERE topic = {{topic:String}} "
        "AND partition = {partition:UInt32} AND offset = {offset:UInt64}",
        {"topic": topic, "partition": int(partition), "offset": int(offset)},
    )
    if not rows:
        typer.echo(f"No refused record is at {position}. See the positions with: tocsin quarantine list", err=True)
        raise typer.Exit(1)
    return _refused(rows[0])


def hexdump(raw: bytes) -> str:
    """Offset, 16 bytes in hexadecimal, and the printable ASCII of them, one line each."""
    lines = []
    for start in range(0, len(raw), 16):
        chunk = raw[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in chunk)
        lines.append(f"{start:08x}  {chunk[:8].hex(' '):<23}  {chunk[8:].hex(' '):<23}  {letters}")
    return "\n".join(lines) or "(no bytes)"


def decode(raw: bytes, settings: Settings) -> dict[str, Any] | str:
    """The record by its writer schema where that can be had, or a sentence that says why not."""
    try:
        schema_id, body = unframe(raw)
    except NotConfluentFramed as error:
        return str(error)
    try:
        with Registry.of(settings, timeout_s=3, retries=0) as registry:
            schema = json.loads(registry.fetch(schema_id).text)
    except RegistryError as error:
        return f"not decoded: {error}"
    try:
        record = fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(schema), None)
    except Exception as error:  # fastavro raises whatever the bytes lead it to
        return f"schema id {schema_id} does not fit these bytes: {type(error).__name__}: {error}"
    return record if isinstance(record, dict) else {"value": record}


@app.command()
def replay(
    reason: Reason = None,
    partner: Partner = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest first.")] = 10_000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Send refused records to their topic again, for when the cause is mended.

    The bytes go unchanged to the partition that they were in. What is still wrong is refused again at its new
    position; what is good is stored once, whatever is sent twice. The old entries stay in quarantine until they expire.
    """
    settings = Settings.load(data_dir)
    with _readable_errors():
        store = open_store(data_dir)
        records = find(store, reason, partner, limit, oldest_first=True)
        waiting = sum(counts(store, reason, partner).values())
        by_reason: dict[str, int] = {}
        for each in records:
            by_reason[each.reason] = by_reason.get(each.reason, 0) + 1
        sent, problem = 0, ""
        if records and not dry_run:
            sent, problem = asyncio.run(_send_all(store, open_sender(settings), records))
    if as_json:
        body = {"found": len(records), "sent": sent, "by_reason": by_reason, "left": waiting - len(records)}
        typer.echo(json.dumps(body | {"dry_run": dry_run, "error": problem or None}))
    else:
        done = f"{len(records)} records would be sent" if dry_run else f"{sent} of {len(records)} records sent again"
        reasons = ", ".join(f"{number} {name}" for name, number in sorted(by_reason.items()))
        typer.echo(done + (f": {reasons}" if reasons else "") + ".")
        if waiting > len(records):
            typer.echo(f"{waiting - len(records)} more are in quarantine; raise --limit to reach them.")
    if problem:
        typer.echo(problem, err=True)
        raise typer.Exit(2)


def batches(records: Sequence[Refused]) -> Iterator[list[Refused]]:
    """The records in order, in batches whose bytes fit in memory; a record larger than that is a batch of its own."""
    batch: list[Refused] = []
    size = 0
    for record in records:
        if batch and (len(batch) >= REPLAY_RECORDS or size + record.size > REPLAY_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch


async def _send_all(store: Store, sender: Sender, records: Sequence[Refused]) -> tuple[int, str]:
    """Send in batches; returns how many Kafka has confirmed, and what stopped the rest (empty when nothing did)."""
    sent = 0
    for batch in batches(records):
        raw = await asyncio.to_thread(raw_of, store, batch)
        found = [record for record in batch if record.position in raw]
        try:
            for record in found:
                headers: Headers = [(REPLAY_HEADER, record.position.encode()), ("partner", record.partner.encode())]
                sender.send(record.topic, raw[record.position], partition=record.partition, headers=headers)
            await sender.delivered()
        except DeliveryFailedError as error:
            return sent, f"Stopped after {sent} records: {error}. Is Kafka up? Run the same command again."
        sent += len(found)
    return sent, ""
