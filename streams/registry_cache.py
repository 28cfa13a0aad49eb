"""Schemas by id in memory, so that the hot path asks the registry once per id and lives through its outages."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from schemas.registry import RegisteredSchema, Registry, RegistryError, UnknownSchemaId
from schemas.settings import Settings

log = logging.getLogger(__name__)

UNKNOWN_FOR_S = 5.0
"""How long an id that the registry did not know is not asked for again; it may be registered any moment."""


class RegistryCache:
    """Answers :meth:`get` from memory; :meth:`ensure` fetches beforehand what is missing."""

    def __init__(self, settings: Settings) -> None:
        self._registry = Registry.of(settings)
        self._known: dict[int, RegisteredSchema] = {}
        self._unknown: dict[int, float] = {}

    def get(self, schema_id: int) -> RegisteredSchema | None:
        """The schema, or None when the registry knows no such id (as of the last :meth:`ensure`)."""
        return self._known.get(schema_id)

    async def ensure(self, schema_ids: Iterable[int]) -> None:
        """Fetch ids not yet in memory; waits while the registry is away, for that is no fault of the record."""
        for schema_id in schema_ids:
            if schema_id in self._known or self._unknown.get(schema_id, 0.0) > time.monotonic():
                continue
            await self._fetch(schema_id)

    async def _fetch(self, schema_id: int) -> None:
        delay = 0.2
        while True:
            try:
                self._known[schema_id] = await asyncio.to_thread(self._registry.fetch, schema_id)
                return
            except UnknownSchemaId:
                self._unknown[schema_id] = time.monotonic() + UNKNOWN_FOR_S
                return
            except RegistryError as error:
                log.warning("waiting for the registry: %s", error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
