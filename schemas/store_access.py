"""How clients reach ClickHouse."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from schemas.settings import Settings


def client_arguments(settings: Settings, *, reader: bool = False) -> dict[str, Any]:
    """Arguments of ``clickhouse_connect``: address, TLS, and the user with all rights or the read-only one."""
    parts = urlsplit(settings.clickhouse_url)
    ca = settings.clickhouse_ca_location
    return {
        "interface": parts.scheme,
        "host": parts.hostname,
        "port": parts.port,
        "pool_mgr": None if ca is None else _connections(ca),
        "username": settings.clickhouse_reader_user if reader else settings.clickhouse_user,
        "password": settings.clickhouse_reader_password if reader else settings.clickhouse_password,
        # A session would let only one query run at a time.
        "autogenerate_session_id": False,
    }


@cache
def _connections(ca: Path) -> Any:
    """Connections that believe this CA, kept open between clients as the library keeps those without TLS.

    Given ``ca_cert``, clickhouse-connect 1.12 makes them for each client, and fails to close them where urllib3-future
    stands in for urllib3, as it does beside niquests.
    """
    from clickhouse_connect.driver.httputil import get_pool_manager

    return get_pool_manager(ca_cert=str(ca))
