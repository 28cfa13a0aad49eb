"""``python -m dashboards.desk --data-dir D --port P``: serves the watch desk until it is stopped."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from schemas.settings import Settings, SettingsError
from streams.kafka import AccessError, require_access

YOUNG: Final = (5_000, 10)
"""Objects in the youngest generation, and its collections before one of the next."""
MAX_NEW: Final = 500_000


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. ``hosts`` are added to the settings'; ``server`` goes to uvicorn."""

    data_dir: Path | None
    hosts: tuple[str, ...]
    server: dict[str, Any]


def options(argv: Sequence[str] | None = None) -> Options:
    """Read the command line; ends the process on what it does not know."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.desk", description="Serve the watch desk.")
    parser.add_argument("--data-dir", type=Path, default=None, help="folder of the running platform (.tocsin)")
    parser.add_argument("--port", type=int, default=8090, help="port to listen on (default 8090)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1); 0.0.0.0 for every network"
    )
    parser.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="name that people may address the desk by, beside those of TOCSIN_DESK_HOSTS; may be repeated",
    )
    parser.add_argument(
        "--behind-proxy",
        metavar="ADDRESS",
        nargs="?",
        const="127.0.0.1",
        default=None,
        help="believe X-Forwarded-For and X-Forwarded-Proto of the proxy with this address (default 127.0.0.1)",
    )
    given = parser.parse_args(argv)
    if any("*" in name for name in given.allow_host):
        parser.error("--allow-host takes whole names; a * would let every page on the web address the desk")
    server = {
        "host": given.host,
        "port": given.port,
        "log_level": "warning",
        "server_header": False,
        # Addresses bound the guessing of passwords and stand in the access log: nobody may choose their own.
        "proxy_headers": given.behind_proxy is not None,
        "forwarded_allow_ips": given.behind_proxy or "",
    }
    return Options(given.data_dir, tuple(given.allow_host), server)


def settle_memory() -> None:
    """Have the collector of garbage stop the pages less often, and for less long.

    NiceGUI's pages are circles of some thousand objects, which go only when the whole heap is searched. That stopped
    everything for up to 0.8 s, ten times a minute where five pages a second were opened. What is imported lives as long
    as the process and need not be searched; the rest is after every ``MAX_NEW`` new objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*YOUNG, MAX_NEW // (YOUNG[0] * YOUNG[1]))


def main() -> None:
    """Parse the arguments and serve; returns when the server is told to stop."""
    wanted = options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Their warnings about a lost connection say nothing that our own do not.
    for name in ("urllib3", "clickhouse_connect", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)

    from dashboards.desk.app import create_app

    try:
        settings = Settings.load(wanted.data_dir)
        require_access(settings)
    except (AccessError, SettingsError) as error:
        sys.exit(str(error))
    application = create_app(settings, hosts=(*settings.desk_hosts, *wanted.hosts))
    settle_memory()
    uvicorn.run(application, **wanted.server)


if __name__ == "__main__":
    main()
