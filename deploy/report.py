"""The account of a run that ``tocsin up --report`` writes, for a script to judge."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from deploy.demo.partners import STATE_FILE
from deploy.demo.scenarios import ExpectedAlert, expected
from deploy.observe import AlertWatch, Seen, Totals, totals

DRAIN_S = 30.0


def demo_state(data_dir: Path) -> dict[str, Any] | None:
    """What the simulated partners say of themselves; None while they have said nothing."""
    try:
        return json.loads((data_dir / STATE_FILE).read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return None


def wait_until_drained(client: Client, since: Any, published: int) -> Totals:
    """Wait, 30 s at most, until everything published is stored or in quarantine."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        found = totals(client, since)
        if found.stored + found.quarantined >= published or time.monotonic() > deadline:
            return found
        time.sleep(0.3)


def make_report(ready_s: float, state: dict[str, Any] | None, found: Totals, watch: AlertWatch) -> dict[str, Any]:
    """Figures of the run.

    ``lost`` is published minus stored minus quarantined records of the simulated partners.

    ``alerts`` says of each whether a scenario expected it; ``expected_missing`` lists those that did not come.
    ``about_feeds`` are alerts of the platform about feeds, ``notifications`` those that were sent.
    """
    published = (state["published_total"] + state["bad_total"]) if state else 0
    opened = [seen for seen in watch.alerts.values() if seen.status == "open"]
    wanted = _wanted(state)
    missing = [each for each in state["expected"] if not _came(each, opened, wanted)] if state else []
    return {
        "ready_seconds": round(ready_s, 1),
        "published": published,
        "stored": found.stored,
        "quarantined": found.quarantined,
        "lost": max(published - found.stored - found.quarantined, 0) if state else 0,
        "signals": found.signals,
        "alerts": [_alert(seen, wanted) for seen in sorted(opened, key=lambda seen: seen.seen_at)],
        "expected_missing": missing,
        "unexpected": [seen.record["alert_id"] for seen in opened if not _expected(seen, wanted)],
        "about_feeds": [
            _about_feed(seen) for seen in sorted(watch.about_feeds.values(), key=lambda seen: seen.seen_at)
        ],
        "notifications": found.notifications,
        "latency_ms": percentiles(watch.latencies_ms),
        "partners": {
            partner: {"accepted": counts.accepted, "refused": counts.refused}
            for partner, counts in sorted(found.partners.items())
        },
    }


def _wanted(state: dict[str, Any] | None) -> list[ExpectedAlert]:
    if state is None:
        return []
    rounds = 1 + max((each["round"] for each in state["expected"]), default=0) + 1
    return expected(state["run_id"], rounds)


def _came(entry: dict[str, Any], opened: list[Seen], wanted: list[ExpectedAlert]) -> bool:
    matching = [each for each in wanted if each.marker == entry["marker"] and each.rule_id == entry["rule_id"]]
    return any(each.met_by(seen.record) for each in matching for seen in opened)


def _expected(seen: Seen, wanted: list[ExpectedAlert]) -> bool:
    return any(each.met_by(seen.record) for each in wanted)


def _alert(seen: Seen, wanted: list[ExpectedAlert]) -> dict[str, Any]:
    record = seen.record
    return {
        "alert_id": record["alert_id"],
        "rule_id": record["rule"]["id"],
        "rule": record["rule"]["title"],
        "level": record["level"],
        "kind": record["kind"],
        "exercise": record["exercise"],
        "group": record["group"],
        "partners": record["partners"],
        "families": record["families"],
        "evidence_total": record["evidence_total"],
        "story": record["story"],
        "created_at": record["created_at"],
        "latency_ms": round(seen.latency_ms),
        "expected": _expected(seen, wanted),
    }


def _about_feed(seen: Seen) -> dict[str, Any]:
    record = seen.record
    return {"alert_id": record["alert_id"], "status": seen.status, "rule": record["rule"]["title"]} | {
        name: record[name] for name in ("level", "partners", "story", "created_at")
    }


def percentiles(values: list[float]) -> dict[str, float | None]:
    """p50, p95 and p99 by nearest rank, rounded to whole milliseconds; None without values."""
    ordered = sorted(values)
    return {
        f"p{share}": round(ordered[max(-(-share * len(ordered) // 100) - 1, 0)]) if ordered else None
        for share in (50, 95, 99)
    }
