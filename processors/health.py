"""``python -m processors.health ingest|correlate|lifecycle``: ask this machine's worker how it is.

Exit status 0 when it is well, 1 with the reason when it is not. For the health checks of containers and the like.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from schemas.settings import Settings, SettingsError, mark_path

TIMEOUT_S = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m processors.health", description=__doc__)
    parser.add_argument("worker", choices=("correlate", "ingest", "lifecycle"))
    parser.add_argument("--data-dir", type=Path, default=None, help="data directory of the worker (.tocsin)")
    parser.add_argument("--instance", default=None, help="which of several workers (default: the host's name)")
    parser.add_argument(
        "--end-stalled",
        action="store_true",
        help="kill a stalled worker, where whatever starts it again looks at processes only, as Docker does",
    )
    given = parser.parse_args()
    try:
        settings = Settings.load(given.data_dir)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    name = f"{given.worker}-{given.instance or settings.instance}"
    path = mark_path(settings, name)
    try:
        mark = json.loads(path.read_text())
        standing = ask(settings.metrics_host, mark["metrics_port"])
    except FileNotFoundError:
        print(f"{name} has not started: there is no {path}. Is TOCSIN_DATA_DIR right?", file=sys.stderr)
        return 1
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"{name} does not answer: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"{name}: {standing['status']}: {standing['text']}")
    if standing["status"] == "stalled" and given.end_stalled:
        print(f"{name}: ending process {mark['pid']}, to be started again", file=sys.stderr)
        os.kill(mark["pid"], signal.SIGKILL)
    return 0 if standing["status"] == "ok" else 1


def ask(host: str, port: int) -> dict[str, Any]:
    """What the worker that serves on ``host`` says of itself.

    Raises:
        OSError, http.client.HTTPException, ValueError: no answer, or one that is none.
    """
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    connection = http.client.HTTPConnection(anywhere.get(host, host), port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
