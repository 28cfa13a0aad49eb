"""``python -m dashboards.web --data-dir D --port N [--host H]``: serves the alert page until it is stopped."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import uvicorn

from dashboards.alerts import Store
from dashboards.web.app import LOOPBACK_NAMES, create_app
from schemas.settings import Settings


def main() -> None:
    """Parse the arguments and serve; returns when the server is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.web", description="Serve the alert page (read-only).")
    parser.add_argument("--data-dir", type=Path, default=None, help="folder of the running platform (.tocsin)")
    parser.add_argument("--port", type=int, default=8090, help="port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every network")
    parser.add_argument("--allow-host", action="append", default=[], help="another name that browsers may use")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Their warnings about a lost connection say nothing that the page's own do not.
    for name in ("urllib3", "clickhouse_connect"):
        logging.getLogger(name).setLevel(logging.ERROR)

    everywhere = arguments.host in {"0.0.0.0", "::"} and not arguments.allow_host
    hosts = ("*",) if everywhere else (*LOOPBACK_NAMES, arguments.host, *arguments.allow_host)
    app = create_app(Store(Settings.load(arguments.data_dir)), hosts=hosts)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", server_header=False)


if __name__ == "__main__":
    main()
