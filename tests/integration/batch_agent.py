"""An agent on ``streams.batching`` that holds back or fails at one batch; run as a process by ``test_batching``.

Appends one JSON line per batch seen to a file: what Faust writes to standard output would get between.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import faust

from schemas.settings import Settings
from streams import batching


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--run", type=int, required=True, help="records of a batch at most")
    parser.add_argument("--fail-at", type=int, default=-1, help="raise at the batch with this offset")
    parser.add_argument("--hold", type=int, default=-1, help="acknowledge the batch with this offset last")
    parser.add_argument("--until", type=int, default=-1, help="with --hold: acknowledge it once this offset was seen")
    options = parser.parse_args()
    batching.MAX_RECORDS = options.run
    app = batching.batch_app(options.group, Settings.load(options.data_dir), options.group)
    held: list[Any] = []

    async def consume(stream: Any) -> None:
        async for event in stream.noack().events():
            batch = event.value
            offsets = [record.offset for record in batch]
            with options.lines.open("a") as lines:
                lines.write(json.dumps({"first": offsets[0], "last": offsets[-1], "count": len(offsets)}) + "\n")
            if options.fail_at in offsets:
                raise RuntimeError(f"as asked, at the batch with offset {options.fail_at}")
            if options.hold in offsets:
                held.append(event)
            else:
                event.ack()
            if options.until in offsets:
                for each in held:
                    each.ack()

    app.agent(app.topic(options.topic, schema=batching.BatchSchema()), name=options.group)(consume)
    faust.Worker(app, loglevel="WARN", quiet=True, redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
