"""ClickHouse connections and inserts that wait out an outage."""

from __future__ import annotations

import asyncio
import io
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from schemas.settings import Settings
from schemas.store_access import client_arguments

log = logging.getLogger(__name__)


def connect(
    settings: Settings,
    *,
    reader: bool = False,
    database: str | None = None,
    connect_s: int = 5,
    read_s: int = 60,
) -> Client:
    """A client of the store; ``reader`` takes the read-only user. It waits ``connect_s`` seconds for a connection and
    ``read_s`` for an answer; whole seconds.

    Raises:
        clickhouse_connect.driver.exceptions.Error: no answer, or user and password refused.
    """
    return clickhouse_connect.get_client(
        **client_arguments(settings, reader=reader),
        database=settings.clickhouse_database if database is None else database,
        # The HTTP client handles each byte in Python: a third of them costs less, although ClickHouse has more to do.
        compress="lz4",
        connect_timeout=connect_s,
        send_receive_timeout=read_s,
    )


class Store:
    """Columnar inserts, one after the other, each retried until ClickHouse has taken it.

    Rows carry keys under which a repeated insert has no further effect, so retrying after a lost answer is safe.
    ``on_insert`` is told of each insert that ClickHouse took: the table, and the seconds of the attempt.
    """

    def __init__(
        self,
        settings: Settings,
        on_retry: Callable[[], None] = lambda: None,
        on_insert: Callable[[str, float], None] = lambda table, seconds: None,
    ) -> None:
        self._settings, self._on_retry, self._on_insert = settings, on_retry, on_insert
        self._client: Client | None = None
        self.away = False
        """Whether the last attempt to insert failed; it is being tried again."""

    async def insert(self, tables: Sequence[tuple[str, pa.Table]]) -> float:
        """Insert each (name, rows) pair in order; returns the seconds it took. Empty tables are left out, and all of
        them with ``settings.store`` off."""
        started = time.monotonic()
        for name, rows in tables:
            if rows.num_rows and self._settings.store:
                await self._insert(name, rows)
        return time.monotonic() - started

    async def _insert(self, name: str, rows: pa.Table) -> None:
        delay = 0.2
        while True:
            started = time.monotonic()
            try:
                await asyncio.to_thread(self._insert_now, name, rows)
                self._on_insert(name, time.monotonic() - started)
                self.away = False
                return
            except Exception as error:  # network, server and client errors have no common type
                self._client = None
                self.away = True
                self._on_retry()
                log.warning(
                    "insert of %d rows into %s failed, trying again in %.1f s: %s", rows.num_rows, name, delay, error
                )
                await asyncio.sleep(delay * random.uniform(0.7, 1.3))
                delay = min(delay * 2, 5.0)

    def _insert_now(self, name: str, rows: pa.Table) -> None:
        if self._client is None:
            self._client = connect(self._settings)
        self._client.raw_insert(name, rows.schema.names, _ipc(rows), _INSERT_SETTINGS, "ArrowStream")


def _ipc(rows: pa.Table) -> bytes:
    """An Arrow IPC stream, of one record batch if it can be: ClickHouse pays for each column of each record batch."""
    if rows.nbytes < _COMBINED_BYTES:
        rows = rows.combine_chunks()
    rows = _required(rows)
    # Grows in place; Arrow's own buffer moves, and touches new memory, at each doubling.
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema, options=_IPC_OPTIONS) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _required(rows: pa.Table) -> pa.Table:
    """The same rows; columns and lists that hold no null say so, which spares ClickHouse a map of nulls for each."""
    columns, fields = [], []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if pa.types.is_list(field.type) and not any(chunk.values.null_count for chunk in column.chunks):
            column = column.cast(pa.list_(field.type.value_field.with_nullable(False)))
        columns.append(column)
        fields.append(pa.field(field.name, column.type, nullable=column.null_count > 0))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


# ClickHouse's HTTP interface handles each byte in Python where it is embedded: a third of them costs less.
_COMBINED_BYTES = 1 << 30  # offsets within an Arrow array of texts have 31 bits
_IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_INSERT_SETTINGS: dict[str, Any] = {
    "async_insert": 0,
    # A file of old events may touch hundreds of months at once; that is slow, not wrong.
    "max_partitions_per_insert_block": 0,
    # Collapsing a block before it is written costs three times the insert; merges and FINAL do it anyway.
    "optimize_on_insert": 0,
}
