"""A seeded workload: demo traffic in full-header Avro, and Sigma rules of which 1 to 3 % of the events meet one.

Rules are drawn from the traffic itself: each asks for values that some event has (equality of two fields, a prefix, a
suffix, a part of the summary, an amount), and is kept when few events of a sample meet it. So any number of rules is
as selective as the rules of a real desk.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.demo.world import MIX, background

FAMILIES = (
    "border_crossing",
    "travel_booking",
    "financial_transaction",
    "precursor_purchase",
    "cyber_detection",
    "online_referral",
    "tip_report",
)
SAMPLE = 20_000
TARGET_SHARE = 0.02
CORRELATIONS = 10
_NAMESPACE = uuid.UUID("b6f1d6de-5a6f-5a8b-9d4e-0f4c8a2f8f11")

Condition = dict[str, Any]


def write_rules(folder: Path, count: int, seed: int) -> Path:
    """Write ``count`` detections and ten correlations over some of them into ``folder``; the same seed, the same files.

    Raises:
        RuntimeError: the traffic does not yield that many different rules.
    """
    rng = random.Random(seed)
    events = sample(seed)
    flat = [(family, _flatten(event)) for family, event in events]
    by_family: dict[str, list[dict[str, Any]]] = {family: [] for family in FAMILIES}
    for family, fields in flat:
        by_family[family].append(fields)
    budget = max(TARGET_SHARE * SAMPLE / count, 1.0)
    chosen: list[tuple[str, Condition]] = []
    seen: set[str] = set()
    for _ in range(count * 1000):
        if len(chosen) == count:
            break
        family, fields = rng.choice(flat)
        condition = _candidate(rng, fields)
        text = f"{family}{sorted(condition.items())}"
        if text in seen:
            continue
        seen.add(text)
        if budget / 2 <= sum(_met(condition, each) for each in by_family[family]) <= 2 * budget:
            chosen.append((family, condition))
    if len(chosen) < count:
        raise RuntimeError(f"only {len(chosen)} of {count} rules could be drawn from seed {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    documents = [_detection(number, family, condition) for number, (family, condition) in enumerate(chosen)]
    documents += [_correlation(number, count) for number in range(min(CORRELATIONS, count))]
    (folder / "bench.yml").write_text(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True))
    return folder


def sample(seed: int) -> list[tuple[str, dict[str, Any]]]:
    """``SAMPLE`` events of the traffic, from all partners in turn."""
    streams = [
        stream
        for partner, mix in MIX.items()
        if (wanted := [family for family in mix if family in FAMILIES])
        for stream in [background(partner, wanted, seed)]
    ]
    turns: Iterator[tuple[str, dict[str, Any]]] = (next(stream) for _ in range(SAMPLE) for stream in streams)
    return [event for event, _ in zip(turns, range(SAMPLE), strict=False)]


def _flatten(event: dict[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in event.items() if key != "header" and isinstance(value, str | int | float)}
    header = event["header"]
    fields["header.partner"] = header["partner"]
    fields["header.summary"] = header["summary"]
    if header["location"]:
        fields["header.location.country"] = header["location"]["country"]
    return {key: value for key, value in fields.items() if value not in (None, "")}


def _candidate(rng: random.Random, fields: dict[str, Any]) -> Condition:
    texts = [key for key, value in fields.items() if isinstance(value, str) and len(value) > 3]
    numbers = [key for key, value in fields.items() if isinstance(value, int | float) and not isinstance(value, bool)]
    words = [word for word in str(fields["header.summary"]).split() if len(word) > 4]
    kind = rng.choice(("equal", "equal", "equal", "starts", "ends", "contains", "greater"))
    if kind == "starts" and texts:
        key = rng.choice(texts)
        return {f"{key}|startswith": str(fields[key])[: rng.randint(4, 6)]}
    if kind == "ends" and texts:
        key = rng.choice(texts)
        return {f"{key}|endswith": str(fields[key])[-rng.randint(4, 6) :]}
    if kind == "contains" and words:
        return {"header.summary|contains": rng.choice(words)}
    if kind == "greater" and numbers:
        key = rng.choice(numbers)
        return {f"{key}|gt": fields[key], "header.partner": fields["header.partner"]}
    keys = rng.sample(sorted(fields), k=min(2, len(fields)))
    return {key: fields[key] for key in keys}


def _met(condition: Condition, fields: dict[str, Any]) -> bool:
    for key, wanted in condition.items():
        name, _, modifier = key.partition("|")
        value = fields.get(name)
        if value is None:
            return False
        if modifier == "gt":
            if value <= wanted:
                return False
            continue
        text, part = str(value).lower(), str(wanted).lower()
        if not {
            "": text == part,
            "startswith": text.startswith(part),
            "endswith": text.endswith(part),
            "contains": part in text,
        }[modifier]:
            return False
    return True


def _detection(number: int, family: str, condition: Condition) -> dict[str, Any]:
    escaped = {
        key: value.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?") if isinstance(value, str) else value
        for key, value in condition.items()
    }
    return {
        "title": f"Bench rule {number}",
        "id": str(uuid.uuid5(_NAMESPACE, f"detection {number}")),
        "name": f"bench_{number}",
        "level": "low",
        "logsource": {"product": "tocsin", "category": family},
        "detection": {"selection": escaped, "condition": "selection"},
    }


def _correlation(number: int, count: int) -> dict[str, Any]:
    # Each correlation watches a tenth of the rules, so that every match is a signal as well.
    bases = [f"bench_{each}" for each in range(number, count, CORRELATIONS)]
    return {
        "title": f"Bench correlation {number}",
        "id": str(uuid.uuid5(_NAMESPACE, f"correlation {number}")),
        "name": f"bench_correlation_{number}",
        "level": "medium",
        "correlation": {
            "type": "event_count",
            "rules": bases,
            "group-by": ["header.partner"],
            "timespan": "1m",
            "condition": {"gte": 50},
        },
    }
