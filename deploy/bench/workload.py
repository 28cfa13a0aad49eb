"""A seeded workload: demo traffic in full-header Avro, and Sigma rules of which 1 to 3 % of the events meet one.

Rules are drawn from the traffic itself: each asks for values that some event has (equality of two fields, a prefix, a
suffix, a word of the summary, an amount), and is kept when as many events of a sample meet it as its part of the total
allows. So any number of rules is as selective as the rules of a real desk, where most match nothing most of the time.
"""

from __future__ import annotations

import math
import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from deploy.demo.world import MIX, SHARES, background

FAMILIES = (
    "border_crossing",
    "travel_booking",
    "financial_transaction",
    "precursor_purchase",
    "cyber_detection",
    "online_referral",
    "tip_report",
)
SAMPLE = 40_000
"""Events on which rules are tried, and half as many again from which they are drawn."""
TARGET_SHARE = 0.015
"""Of the sample's events. Rules that meet none of them do meet others: 3,000 rules meet about 2.5 % of the traffic."""
TIMESPAN_S = 60
_NAMESPACE = uuid.UUID("b6f1d6de-5a6f-5a8b-9d4e-0f4c8a2f8f11")

Condition = dict[str, Any]
Rows = npt.NDArray[np.int64]

SUBJECT = {
    "border_crossing": "crossing_point",
    "travel_booking": "carrier",
    "financial_transaction": "from_account",
    "precursor_purchase": "seller",
    "cyber_detection": "asset",
    "online_referral": "account",
    "tip_report": "text",
}
"""What an event of the family is about: a field that every event of it has."""

CORRELATIONS: tuple[dict[str, Any], ...] = (
    {"type": "event_count", "group-by": ["header.partner"], "condition": {"gte": 20}},
    {"type": "event_count", "group-by": ["subject"], "condition": {"gte": 3}},
    {"type": "value_count", "group-by": ["header.partner"], "condition": {"gte": 10, "field": "header.summary"}},
    {"type": "temporal", "group-by": ["header.partner"], "condition": {"gte": 3}},
    {"type": "event_count", "group-by": ["header.handling.tlp"], "condition": {"gte": 30}},
    {"type": "event_count", "group-by": ["subject"], "condition": {"gte": 5}},
    {"type": "value_count", "group-by": ["header.handling.tlp"], "condition": {"gte": 3, "field": "header.partner"}},
    {"type": "temporal", "group-by": ["subject"], "condition": {"gte": 2}},
    {"type": "event_count", "group-by": ["header.source_system"], "condition": {"gte": 10}},
    {"type": "value_count", "group-by": ["subject"], "condition": {"gte": 2, "field": "header.source_system"}},
)
"""The ten correlations. Each watches a tenth of the rules and groups by what every event has, so that every match is a
signal."""


def write_rules(folder: Path, count: int, seed: int) -> Path:
    """Write ``count`` detections and the ten correlations over them into ``folder``; the same seed, the same files.

    Raises:
        RuntimeError: the traffic does not yield that many different rules.
    """
    chosen = draw(count, seed)
    documents = [_detection(number, family, condition) for number, (family, condition) in enumerate(chosen)]
    families = [family for family, _ in chosen]
    documents += [_correlation(number, families) for number in range(min(len(CORRELATIONS), count))]
    folder.mkdir(parents=True, exist_ok=True)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump_all(documents, Dumper=dumper, sort_keys=False, allow_unicode=True)
    (folder / "bench.yml").write_text(text, encoding="utf-8")
    return folder


def draw(count: int, seed: int) -> list[tuple[str, Condition]]:
    """``count`` different (family, Sigma selection) pairs that together meet ``TARGET_SHARE`` of the sample.

    Raises:
        RuntimeError: the traffic does not yield that many.
    """
    rng = random.Random(seed)
    sources, indexes = _traffic(seed)
    chosen: list[tuple[str, Condition]] = []
    seen: set[str] = set()
    left = TARGET_SHARE * SAMPLE
    for _ in range(count * 1000):
        if len(chosen) == count:
            return chosen
        family, fields = rng.choice(sources)
        condition = _candidate(rng, fields)
        text = f"{family}{sorted(condition.items())}"
        if text in seen:
            continue
        seen.add(text)
        part = max(left / (count - len(chosen)), 0.0)
        met = len(indexes[family].rows(condition))
        if int(part / 2) <= met <= math.ceil(part * 2):
            chosen.append((family, condition))
            left -= met
    raise RuntimeError(f"only {len(chosen)} of {count} rules could be drawn from seed {seed}")


@lru_cache(maxsize=1)
def _traffic(seed: int) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, Index]]:
    """Flat events to draw rules from, and others by family to try them on."""
    # Another seed than that of the bench's events: every rule would meet the very event that it was drawn from.
    events = [(family, _flatten(event)) for family, event in sample(seed + 1_000_003, SAMPLE * 3 // 2)]
    indexes = {family: Index([each for of, each in events[:SAMPLE] if of == family]) for family in FAMILIES}
    return events[SAMPLE:], indexes


def sample(seed: int, count: int) -> list[tuple[str, dict[str, Any]]]:
    """``count`` events of the traffic as (family, event), the partners in their shares."""
    wanted = {partner: [family for family in mix if family in FAMILIES] for partner, mix in MIX.items()}
    streams = {partner: background(partner, families, seed) for partner, families in wanted.items() if families}
    weights = [SHARES[partner] * sum(MIX[partner][family] for family in wanted[partner]) for partner in streams]
    turns = random.Random(seed).choices(list(streams), weights, k=count)
    return [next(streams[partner]) for partner in turns]


@dataclass
class Index:
    """Flat events of one family, and which of them meet a comparison, looked up by hash."""

    events: list[dict[str, Any]]
    _found: dict[tuple[str, str, int], dict[Any, Rows]] = field(default_factory=dict)
    _sorted: dict[str, tuple[npt.NDArray[Any], Rows]] = field(default_factory=dict)
    _containing: dict[tuple[str, str], Rows] = field(default_factory=dict)

    def rows(self, condition: Condition) -> Rows:
        """Numbers of the events that meet every comparison of a Sigma selection."""
        parts = [self._compare(*key.partition("|")[::2], value) for key, value in condition.items()]
        found = parts[0]
        for part in parts[1:]:
            found = np.intersect1d(found, part, assume_unique=True)
        return found

    def _compare(self, name: str, modifier: str, wanted: Any) -> Rows:
        if modifier == "gt":
            values, rows = self._in_order(name)
            return rows[np.searchsorted(values, wanted, side="right") :]
        text = str(wanted).lower()
        if modifier == "contains":
            if (name, text) not in self._containing:
                met = [row for row, each in enumerate(self.events) if text in str(each.get(name, "")).lower()]
                self._containing[name, text] = np.array(met, dtype=np.int64)
            return self._containing[name, text]
        return self._by_part(name, modifier, len(text) if modifier else 0).get(text, _NONE)

    def _by_part(self, name: str, modifier: str, length: int) -> dict[Any, Rows]:
        """Rows by the whole value, or by its first or last ``length`` characters."""
        key = (name, modifier, length)
        if key not in self._found:
            part = {"": slice(None), "startswith": slice(length), "endswith": slice(-length, None)}[modifier]
            groups: dict[str, list[int]] = defaultdict(list)
            for row, each in enumerate(self.events):
                if name in each:
                    groups[str(each[name]).lower()[part]].append(row)
            self._found[key] = {value: np.array(rows, dtype=np.int64) for value, rows in groups.items()}
        return self._found[key]

    def _in_order(self, name: str) -> tuple[npt.NDArray[Any], Rows]:
        if name not in self._sorted:
            rows = np.array([row for row, each in enumerate(self.events) if name in each], dtype=np.int64)
            values = np.array([self.events[row][name] for row in rows.tolist()])
            order = np.argsort(values, kind="stable")
            self._sorted[name] = values[order], rows[order]
        return self._sorted[name]


_NONE: Rows = np.zeros(0, dtype=np.int64)


def _flatten(event: dict[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in event.items() if key != "header" and isinstance(value, str | int | float)}
    header = event["header"]
    fields["header.partner"] = header["partner"]
    fields["header.summary"] = header["summary"]
    if header["location"]:
        fields["header.location.country"] = header["location"]["country"]
    return {key: value for key, value in fields.items() if value != ""}


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


def _correlation(number: int, families: list[str]) -> dict[str, Any]:
    bases = range(number, len(families), len(CORRELATIONS))
    body = dict(CORRELATIONS[number])
    body |= {"rules": [f"bench_{base}" for base in bases], "timespan": f"{TIMESPAN_S}s"}
    if "subject" in body["group-by"]:
        body["aliases"] = {"subject": {f"bench_{base}": SUBJECT[families[base]] for base in bases}}
    return {
        "title": f"Bench correlation {number}",
        "id": str(uuid.uuid5(_NAMESPACE, f"correlation {number}")),
        "name": f"bench_correlation_{number}",
        "level": "medium",
        "correlation": body,
    }
