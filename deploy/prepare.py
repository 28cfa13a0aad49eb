"""What a platform needs before its workers start: topics, schemas, tables. Every step may be repeated."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.migrations import migrate
from schemas.registry import register_all
from schemas.settings import Settings
from streams.store import connect
from streams.topics import ensure_topics


@dataclass(frozen=True)
class Prepared:
    """Schema id of each family."""

    schema_ids: dict[str, int]


def prepare(settings: Settings) -> Prepared:
    """Create or complete topics, register the contracts, apply pending migrations.

    Raises:
        RuntimeError: one of the three refused; the message says which and why.
    """
    ensure_topics(settings)
    schema_ids = register_all(settings)
    client = connect(settings)
    try:
        migrate(client)
    finally:
        client.close()
    return Prepared(schema_ids)
