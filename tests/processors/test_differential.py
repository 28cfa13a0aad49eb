"""The engine against SQL: the same Sigma rules on the same events, through pySigma's SQLite backend and SQLite.

What the two see differently is left out of the data and told in ``processors/SEMANTICS.md``, "Beside SQL".
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

from processors.offline import Offline, OfflineAlert
from processors.rule_files import load_texts

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
FIELDS = ("user", "host", "kind", "note", "ip", "size")
TEXTS = st.sampled_from(["logon", "LogOff", "log%on", "l_g", "a\\b", "admin logon", "", "x*y"])
Row = dict[str, Any]
Evidence = frozenset[int]

rows = st.lists(
    st.fixed_dictionaries(
        {
            "second": st.integers(0, 40),
            "user": st.sampled_from(["eve", "eve", "bob", None]),
            "host": st.sampled_from(["h1", "h2", "h3"]),
            "kind": TEXTS,
            "note": st.one_of(st.none(), TEXTS),
            "ip": st.sampled_from(["10.1.2.3", "192.168.0.7", "8.8.8.8"]),
            "size": st.one_of(st.none(), st.integers(0, 6)),
        }
    ),
    min_size=2,
    max_size=25,
)
items = st.one_of(
    st.builds(lambda f, m, v: {f"{f}{m}": v}, st.sampled_from(["kind", "note"]),
              st.sampled_from(["", "|contains", "|startswith", "|endswith"]),
              st.sampled_from(["log", "LOGON", "l", "o", "l%", "_g", "a\\\\b", "?og*", "*n", "x\\*y"])),
    st.builds(lambda m, v: {f"size{m}": v}, st.sampled_from(["", "|gt", "|gte", "|lt", "|lte"]), st.integers(0, 6)),
    st.sampled_from([{"ip|cidr": "10.0.0.0/8"}, {"ip|cidr": "192.168.0.0/24"}, {"note": None}, {"kind|exists": True},
                     {"kind": ["logon", "LogOff"]}, {"note|contains|all": ["l", "n"]}]),
)  # fmt: skip
detections = st.tuples(
    st.lists(items, min_size=1, max_size=2),
    items,
    st.sampled_from(["s or f", "s", "not s", "s and not f", "1 of them", "not (s and f)", "all of them"]),
)
correlations = st.one_of(
    st.builds(
        lambda op, n: {"type": "event_count", "condition": {op: n}},
        st.sampled_from(["gte", "gt", "lt", "lte", "eq"]), st.integers(1, 4),
    ),
    st.builds(
        lambda kind, op, n: {"type": kind, "condition": {"field": "size" if kind != "value_count" else "host", op: n}},
        st.sampled_from(["value_count", "value_sum", "value_avg", "value_median"]),
        st.sampled_from(["gte", "gt", "lt", "eq"]), st.integers(1, 5),
    ),
    st.builds(
        lambda n, p: {"type": "value_percentile", "condition": {"field": "size", "gte": n, "percentile": p}},
        st.integers(1, 5), st.sampled_from([10, 50, 90]),
    ),
    st.sampled_from([{"type": "temporal"}, {"type": "temporal_ordered"}]),
)  # fmt: skip


def document(name: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"title": name, "name": name, **content}


def base(name: str, found: tuple[list[dict[str, Any]], dict[str, Any], str]) -> dict[str, Any]:
    selection = {key: value for item in found[0] for key, value in item.items()}
    detection = {"s": selection, "f": found[1], "condition": found[2]}
    return document(name, {"logsource": {"product": "any"}, "detection": detection})


def in_sqlite(text: str, events: list[Row]) -> list[sqlite3.Row]:
    """Rows of the last rule's query over a table ``logs``."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.execute(f"CREATE TABLE logs (timestamp, {' COLLATE NOCASE, '.join(FIELDS)})")
    for event in events:
        values = [event["timestamp"].replace("T", " ").removesuffix("Z"), *(event.get(name) for name in FIELDS)]
        database.execute("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    query = sqliteBackend().convert(SigmaCollection.from_yaml(text))[-1]
    return database.execute(query).fetchall()


def in_engine(text: str, events: list[Row]) -> list[OfflineAlert]:
    engine = Offline(load_texts([(Path("rules.yml"), text)], ignore_logsource=True))
    order = sorted(range(len(events)), key=lambda number: events[number]["second"])
    micros = [int(START.timestamp()) * 1_000_000 + events[number]["second"] * 1_000_000 for number in order]
    plain = [{key: each for key, each in events[number].items() if each is not None} for number in order]
    engine.add(plain, micros, [number + 1 for number in order])
    return engine.close(max(micros, default=0))


def stamped(found: list[Row]) -> list[Row]:
    times = ((START + dt.timedelta(seconds=each["second"])).strftime("%Y-%m-%dT%H:%M:%SZ") for each in found)
    return [{**each, "timestamp": time} for each, time in zip(found, times, strict=True)]


@given(detections, rows)
@settings(max_examples=300)
def test_single_events_match_as_in_sql(found: Any, happened: list[Row]) -> None:
    text = yaml.safe_dump(base("one", found))
    events = stamped(happened)
    sql = {(row["timestamp"], *(row[name] for name in FIELDS)) for row in in_sqlite(text, events)}
    ours = {number for alert in in_engine(text, events) for number in alert.numbers}
    shown = {
        (event["timestamp"].replace("T", " ").removesuffix("Z"), *(event[name] for name in FIELDS))
        for number, event in enumerate(events, 1)
        if number in ours
    }
    assert shown == sql


@given(detections, detections, correlations, st.sampled_from([["user"], ["user", "host"]]), st.integers(1, 12), rows)
@settings(max_examples=300)
def test_correlations_fire_as_in_sql(
    one: Any, two: Any, correlation: dict[str, Any], group_by: list[str], span: int, happened: list[Row]
) -> None:
    rules = ["one", "two"] if correlation["type"].startswith("temporal") else ["one"]
    rule = {"correlation": {**correlation, "rules": rules, "group-by": group_by, "timespan": f"{span}s"}}
    text = yaml.safe_dump_all([base("one", one), base("two", two), document("both", rule)])
    events = stamped(happened)
    expected: dict[str, list[set[int]]] = {}
    for row in in_sqlite(text, events):
        evidence = {int(each.partition(":")[2]) for each in json.loads(row["event_ids"])}
        expected.setdefault(row["group_keys"], []).append(evidence)
    ours: dict[str, list[set[int]]] = {}
    for alert in in_engine(text, events):
        if alert.rule.meta.name == "both":
            key = json.dumps({name: alert.group[name] for name in group_by}, separators=(",", ":"))
            ours.setdefault(key, []).append(set(alert.numbers))
    if correlation["type"] == "temporal_ordered":
        assert ours.keys() == expected.keys()
        return
    assert {key: set().union(*each) for key, each in ours.items()} == {
        key: set().union(*each) for key, each in expected.items()
    }
