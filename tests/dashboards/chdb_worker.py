"""Runs ClickHouse's engine in a process of its own, so that a test session can hold more than one store.

One JSON request a line on standard input, ``{"sql", "params"}``; one JSON answer a line on standard output.
"""

from __future__ import annotations

import json
import os
import sys


def main(folder: str) -> None:
    from chdb.session import Session

    # The engine may write to standard output; answers keep the real one to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = Session(folder)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            text = str(session.query(request["sql"], "JSONCompact", params=request["params"]))
            answer = json.loads(text) if text.strip() else {"meta": [], "data": []}
        except Exception as error:  # the answer carries it to the test
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
