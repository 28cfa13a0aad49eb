"""``python -m processors ingest|correlate|lifecycle``: run one worker until it is stopped."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import faust
import pyarrow as pa

from processors.app import correlate_app, ingest_app, lifecycle_app
from processors.rule_files import RuleError
from processors.ruleset import RuleSetWatcher
from schemas.settings import Settings, SettingsError
from schemas.yaml_lines import ConfigError
from streams.kafka import AccessError, require_access
from streams.topics import TopicError

APPS: dict[str, Callable[[Settings, str], faust.App]] = {
    "ingest": lambda settings, instance: ingest_app(settings, RuleSetWatcher(settings), instance),
    "correlate": lambda settings, instance: correlate_app(settings, RuleSetWatcher(settings), instance),
    "lifecycle": lifecycle_app,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m processors", description=__doc__)
    parser.add_argument("worker", choices=sorted(APPS))
    parser.add_argument("--data-dir", type=Path, default=None, help="folder of the running platform")
    parser.add_argument("--instance", default=None, help="tells workers of a group apart (default: the host's name)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        settings = Settings.load(arguments.data_dir)
        require_access(settings)
        app = APPS[arguments.worker](settings, arguments.instance or settings.instance)
    except (AccessError, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2
    except RuleError as error:
        print(f"rules not usable: {error}", file=sys.stderr)
        return 2
    except ConfigError as error:
        print(f"not usable:\n{error}", file=sys.stderr)
        return 2
    except TopicError as error:
        print(error, file=sys.stderr)
        return 2
    # The thread that fetches is Python: each time that native code gives the lock back for a moment, which decoding and
    # matching do hundreds of times for a batch, the default of 5 ms would let it run on for so long.
    sys.setswitchinterval(0.0005)
    # Makes Arrow look for pandas now, which takes it half a second, and not with the first alert.
    pa.scalar("")
    # A fetch makes ten thousands of record objects that die together: looking for cycles among them finds none.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    faust.Worker(app, loglevel="INFO", quiet=True, redirect_stdouts=False).execute_from_commandline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
