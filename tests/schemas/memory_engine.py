"""The engine in memory as migrations want it. For scripts in a process of their own: one path a process can be open."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import chdb

connection = chdb.connect(":memory:")


class Client:
    """Commands and queries, in one session."""

    def command(self, cmd: str) -> None:
        connection.query(cmd)

    def query(self, query: str) -> Any:
        return SimpleNamespace(result_rows=json.loads(str(connection.query(query, "JSONCompact")))["data"])


client = Client()
