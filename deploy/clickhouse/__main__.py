"""Command line of the embedded ClickHouse: ``python -m deploy.clickhouse --path DIR --port N --users-file FILE``."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import psutil
import uvicorn

from deploy.clickhouse.engine import Engine, StartError
from deploy.clickhouse.execute import Executor, User
from deploy.clickhouse.server import Service

log = logging.getLogger("tocsin.clickhouse")


def read_users(path: Path) -> dict[str, User]:
    """The users of a JSON file ``{"name": {"password": "...", "readonly": true}}``.

    Raises:
        StartError: the file is missing, no JSON, or lacks a field.
    """
    try:
        listed = json.loads(path.read_text())
        users = {name: User(name, str(entry["password"]), bool(entry["readonly"])) for name, entry in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StartError(
            f'{path}: cannot read the users: {error!r}. Expected JSON {{"name": {{"password": "...", '
            '"readonly": false}}.'
        ) from error
    if not users or not all(user.password for user in users.values()):
        raise StartError(f"{path}: at least one user is needed, and each needs a password.")
    return users


# The engine takes these from a file only. It refuses an INSERT and puts off a merge for which there is no room; writing
# to a disk that is full after all would leave a damaged part. A server keeps the log of parts by default. Merges stand
# back behind statements where the process has CAP_SYS_NICE.
_CONFIG = """<clickhouse>
  <storage_configuration>
    <disks>
      <default>
        <keep_free_space_bytes>{keep_free}</keep_free_space_bytes>
      </default>
    </disks>
  </storage_configuration>
  <merge_tree>
    <fsync_after_insert>{fsync:d}</fsync_after_insert>
    <fsync_part_directory>{fsync:d}</fsync_part_directory>
  </merge_tree>
  <part_log>
    <database>system</database>
    <table>part_log</table>
    <ttl>event_date + INTERVAL 3 DAY DELETE</ttl>
  </part_log>
  <os_threads_nice_value_merge_mutate>15</os_threads_nice_value_merge_mutate>
</clickhouse>
"""


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"{host}:{port}: cannot listen: {error.strerror}. Choose another --port.") from error
    return listener


def _configure(config: Path, fsync: bool, keep_free: int) -> None:
    try:
        config.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        config.write_text(_CONFIG.format(fsync=fsync, keep_free=keep_free))
    except OSError as error:
        raise StartError(
            f"{config}: cannot be written: {error.strerror}. Make it possible, or choose another --path."
        ) from error


def _options(config: Path, memory_share: float) -> dict[str, str]:
    total = psutil.virtual_memory().total
    return {
        "max_server_memory_usage": str(int(total * memory_share)),
        # Upper bounds of caches, small beside a server's, because the whole platform shares the machine.
        "mark_cache_size": str(256 << 20),
        "index_mark_cache_size": str(64 << 20),
        "uncompressed_cache_size": "0",
        "config-file": str(config),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.clickhouse", description="ClickHouse's HTTP protocol over the embedded chDB engine."
    )
    parser.add_argument("--path", type=Path, required=True, help="data directory, created if missing")
    parser.add_argument("--port", type=int, required=True, help="TCP port; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--users-file", type=Path, required=True, help="JSON file with users and passwords")
    parser.add_argument("--database", default="tocsin", help="database to create and to use by default")
    parser.add_argument("--memory-share", type=float, default=0.5, help="share of memory statements may use")
    parser.add_argument(
        "--fsync", action="store_true", help="answer inserts when the disk has them: safe also when the power goes"
    )
    parser.add_argument(
        "--keep-free", type=int, default=256 << 20, help="bytes of the disk that rows must leave free (default 256 MiB)"
    )
    parser.add_argument(
        "--grace", type=int, default=8, help="seconds that running requests get when the server is told to stop"
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args()


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; 0 after a clean end, 1 when the server cannot start."""
    arguments = _arguments()
    logging.basicConfig(
        stream=sys.stderr,
        level=arguments.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    path = arguments.path.resolve()
    config = path / "tocsin-engine.xml"
    engine = Engine(path, arguments.database, _options(config, arguments.memory_share))
    try:
        users = read_users(arguments.users_file)
        listener = _listen(arguments.host, arguments.port)
        _configure(config, arguments.fsync, arguments.keep_free)
        engine.open()
    except StartError as error:
        log.error("%s", error)
        engine.close()
        return 1
    service = Service(Executor(engine), users)
    web = uvicorn.Config(
        service.application(),
        access_log=False,
        log_config=None,
        lifespan="off",
        http="h11",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=arguments.grace,
        h11_max_incomplete_event_size=16 << 20,
        server_header=False,
    )
    # uvicorn raises the signal again once it has stopped; the engine has to be closed before the process ends.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _noted)
    port = listener.getsockname()[1]
    log.info("engine %s, data in %s, listening on %s:%d", engine.version, arguments.path, arguments.host, port)
    server = uvicorn.Server(web)
    try:
        server.run(sockets=[listener])
    finally:
        service.close()
        engine.close()
        log.info("stopped, all data written")
    return 0


def _noted(number: int, _: FrameType | None) -> None:
    log.info("%s received", signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
