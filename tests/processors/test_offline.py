"""The engine over JSON events: the stream's own answers for events of the contract, and any other JSON besides."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import fastavro
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.loadgen import EncodedRecord, encode_scenarios, generate_encoded
from processors.clauses import holds
from processors.event_time import EventTime, TimeError, iso, micros_of
from processors.json_events import JsonEvents, flat, value_of
from processors.offline import Offline, OfflineAlert, families_of, identity_of
from processors.predicates import And, Condition, Leaf, Not, Op, Or
from processors.rule_files import load, load_texts
from processors.rulebook import Detection, Rulebook, RuleMeta
from schemas.registry import family_of, load_schema
from schemas.wire import PREFIX_BYTES
from tests.demo.pipeline import EVENT_FAMILIES, SCHEMA_IDS, run, shipped_rules

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
T0 = 1_780_315_200
US = 1_000_000


def json_of(records: Sequence[EncodedRecord], shape: str) -> Iterator[dict[str, Any]]:
    """Records as JSON events: as they are, with a flat header, or flat with dotted keys."""
    parsed = {family: fastavro.parse_schema(load_schema(family)) for family in EVENT_FAMILIES}
    for topic, _, value in records:
        family = family_of(topic)
        event = orjson.loads(
            orjson.dumps(
                fastavro.schemaless_reader(io.BytesIO(value[PREFIX_BYTES:]), parsed[family]), option=orjson.OPT_UTC_Z
            )
        )
        header = event.pop("header")
        match shape:
            case "nested":
                yield {"family": family, "header": header, **event}
            case "flat":
                handling, location = header.pop("handling"), header.pop("location") or {}
                yield {"topic": topic, **header, **handling, **location, **event}
            case "dotted":
                kinds = {each["type"]: [] for each in header["entities"]}
                for each in header.pop("entities"):
                    kinds[each["type"]].append(each["value"])
                yield {
                    "family": family,
                    **{f"header.{name}": each for name, each in header.items()},
                    **{f"entity.{kind}": values for kind, values in kinds.items()},
                    **event,
                }


def offline(
    book: Rulebook, events: Sequence[dict[str, Any]], batch: int = 1000, until_us: int | None = None
) -> list[OfflineAlert]:
    clock = EventTime()
    times = [clock.read(event) for event in events]
    order = sorted(range(len(events)), key=lambda number: times[number])
    engine = Offline(book)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        engine.add([events[number] for number in part], [times[number] for number in part], part)
    return engine.close(max(times, default=0) if until_us is None else until_us)


@pytest.mark.parametrize(("shape", "batch"), [("nested", 5000), ("flat", 700), ("dotted", 5000)])
def test_the_shipped_rules_conclude_what_the_stream_concludes(shape: str, batch: int) -> None:
    records = generate_encoded(4_000, 5, EVENT_FAMILIES, SCHEMA_IDS, until=NOW, spread_s=600)
    records[2_000:2_000] = encode_scenarios("run-1", SCHEMA_IDS, NOW)
    Random(1).shuffle(records)
    events = list(json_of(records, shape))
    ids = [identity_of(event, 0)[1] for event in events]
    found = [
        (alert.rule.meta.id, alert.group, sorted({ids[number] for number in alert.numbers}), iso(alert.first_us))
        for alert in offline(shipped_rules(), events, batch)
    ]
    expected = [
        (
            alert["rule"]["id"],
            alert["group"],
            sorted({each["event_id"] for each in alert["evidence"]}),
            alert["first_event_at"],
        )
        for alert in run(records, NOW).alerts
    ]
    assert len(expected) > 10
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def rules(tmp_path: Path, text: str) -> Rulebook:
    (tmp_path / "rules.yml").write_text(text)
    return load([tmp_path / "rules.yml"])


TIPS = """
title: Tip
id: 11111111-1111-4111-8111-111111111111
name: tip
logsource: {product: tocsin, category: tip_report}
detection: {s: {entity.phone|exists: true}, condition: s}
"""
COUNT = """
---
title: Three
id: 22222222-2222-4222-8222-222222222222
name: three
level: high
correlation: {type: event_count, rules: [tip], group-by: [entity.phone], timespan: 10m, condition: {gte: 3}}
"""


def tip(at: int, **fields: Any) -> dict[str, Any]:
    return {"family": "tip_report", "occurred_at": T0 + at, "entity.phone": "1", **fields}


def test_a_single_event_rule_alerts_for_each_event(tmp_path: Path) -> None:
    found = offline(rules(tmp_path, TIPS), [tip(5), tip(0), {"family": "tip_report", "occurred_at": T0, "text": "x"}])
    assert [(each.group, each.numbers, each.first_us) for each in found] == [
        ({}, (1,), T0 * US),
        ({}, (0,), (T0 + 5) * US),
    ]


def test_base_rules_alert_only_through_their_correlation(tmp_path: Path) -> None:
    (found,) = offline(rules(tmp_path, TIPS + COUNT), [tip(60 * n) for n in (3, 1, 0)])
    assert (found.rule.meta.name, found.group, found.numbers) == ("three", {"entity.phone": "1"}, (0, 1, 2))
    assert (found.first_us, found.last_us) == (T0 * US, (T0 + 180) * US)


def test_the_same_event_twice_counts_once(tmp_path: Path) -> None:
    book = rules(tmp_path, TIPS + COUNT)
    twice = [tip(n, partner="tipline-uk", event_id=f"e{n // 2}") for n in range(4)]
    assert offline(book, twice) == []
    assert len(offline(book, [tip(n, event_id=4625) for n in range(3)])) == 1  # a kind of event, not an id


def test_an_exercise_and_the_live_path_never_mix(tmp_path: Path) -> None:
    assert offline(rules(tmp_path, TIPS + COUNT), [tip(n, exercise=n == 1) for n in range(3)]) == []


def test_evidence_is_complete_beyond_what_an_alert_shows(tmp_path: Path) -> None:
    for batch in (50, 10_000):
        (found,) = offline(rules(tmp_path, TIPS + COUNT), [tip(n) for n in range(1500)], batch)
        assert found.numbers == tuple(range(1500))


def test_what_lies_apart_is_two_alerts(tmp_path: Path) -> None:
    times = [0, 1, 2, 5000, 5001, 5002]
    assert [each.numbers for each in offline(rules(tmp_path, TIPS + COUNT), [tip(n) for n in times], 1)] == [
        (0, 1, 2),
        (3, 4, 5),
    ]


def test_an_event_that_names_no_family_is_matched_by_its_fields(tmp_path: Path) -> None:
    assert families_of({"direction": "ENTRY", "document_number": "X", "nonsense": 1}) == ("border_crossing",)
    assert families_of({"topic": "events.tip_report.v1"}) == ("tip_report",)
    assert "tip_report" in families_of({"entity.phone": "1", "family": "none such"})
    events = [{"occurred_at": T0 + n, "entity.phone": ["1", "2"]} for n in range(3)]
    assert [each.group for each in offline(rules(tmp_path, TIPS + COUNT), events)] == [
        {"entity.phone": "1"},
        {"entity.phone": "2"},
    ]


def test_keywords_look_at_every_text_of_the_event(tmp_path: Path) -> None:
    text = TIPS.replace(
        "{s: {entity.phone|exists: true}, condition: s}", "{keywords: [van, tip_report], condition: keywords}"
    )
    events = [
        tip(0, text="a parked van"),
        tip(1, summary="Vans"),
        tip(2, text="car"),
        tip(3, n={"x": ["a", {"y": "van"}]}),
    ]
    assert [each.numbers for each in offline(rules(tmp_path, text), events)] == [(0,), (1,), (3,)]


def test_events_have_the_defaults_of_their_contract(tmp_path: Path) -> None:
    text = TIPS.replace("entity.phone|exists: true", "anonymous: true\n    header.confidence|gte: 50")
    text = text.replace("{s: {", "\n  s:\n    ").replace("}, condition: s}", "\n  condition: s")
    assert len(offline(rules(tmp_path, text), [tip(0), tip(1, anonymous=False), tip(2, confidence=10)])) == 1


@pytest.mark.parametrize(
    ("event", "name", "expected"),
    [
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a": {"b": 2}}, "a.b", 2),
        ({"a": {"b.c": 3}}, "a.b.c", 3),
        ({"a": [{"b": 1}, {"c": 0}, {"b": 2}]}, "a.b", [1, 2]),
        ({"a": {"b": None}}, "a.b", None),
        ({"A": {"b": 1}}, "a.b", None),
        ({"a": "text"}, "a.b", None),
        ({"header": {"partner": "x"}}, "partner", "x"),
        ({"partner": "x"}, "header.partner", "x"),
        ({"header": {"tlp": "RED"}}, "header.handling.tlp", "RED"),
        ({"lat": 1.5}, "header.location.lat", 1.5),
        (
            {"header": {"entities": [{"type": "phone", "value": "1"}, {"type": "ip", "value": "2"}]}},
            "entity.phone",
            ["1"],
        ),
        ({"entity.phone": "3"}, "entity.phone", "3"),
        ({"amount_minor": 1050, "currency": "EUR"}, "amount", 10.5),
        ({"amount_minor": 1050, "currency": "JPY"}, "amount", 1050),
        ({"amount": 7}, "amount", 7),
    ],
)
def test_fields_are_found_under_their_spellings(event: dict[str, Any], name: str, expected: Any) -> None:
    assert value_of(event, name) == expected


def test_places_are_enriched() -> None:
    batch = JsonEvents("", [{"lat": 52.37, "lon": 4.9}, {"x": 1}, {"lat": "north", "lon": 4.9}, {"geo.country": "FR"}])
    assert batch.values("geo.country") == ["NL", None, None, "FR"]
    assert batch.values("geo.h3")[1:] == [None, None, None]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**10, 2**53, 2**63, -(2**63), 1.0, 2.5, 1e20, float(2**53)]),
    st.sampled_from(["", "1", "1.0", "true", "a", "10000000000"]),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.just({"k": 1}))


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_an_event_is_seen_the_same_whatever_its_neighbours(events: list[dict[str, Any]]) -> None:
    def texts(batch: JsonEvents, name: str) -> list[list[str]]:
        column = batch.column(name)
        found: list[list[str]] = [[] for _ in range(batch.num_rows)]
        if column is not None:
            rows = range(batch.num_rows) if column.rows is None else column.rows.tolist()
            for row, text, value in zip(rows, column.text.to_pylist(), column.values.to_pylist(), strict=True):
                if text is not None:
                    found[row].append(f"{type(value).__name__ if isinstance(value, bool | str) else 'number'} {text}")
        return found

    for name in ("a", "b"):
        together: list[list[str]] = [[] for _ in events]
        for rows, part in JsonEvents("", events).uniform(["a", "b"]):
            for row, found in zip(rows.tolist(), texts(part, name), strict=True):
                together[row] = found
        assert together == [texts(JsonEvents("", [event]), name)[0] for event in events]


ONE_KIND = st.one_of(
    SCALARS,
    st.lists(st.sampled_from([1, 2.5, 3]), max_size=3),
    st.lists(st.sampled_from(["a", "1", "x 2"]), max_size=3),
    st.just([[1], [None, 2]]),
)
TEXT_OPS = st.sampled_from([Op.EQ, Op.CONTAINS, Op.STARTSWITH, Op.ENDSWITH])
NUMBERS = st.sampled_from([1, 2.5, 3, 10**10, True])
leaf_strategy = st.one_of(
    st.builds(Leaf, st.sampled_from(["a", "b", "c", ""]), TEXT_OPS, st.sampled_from(["a", "1", "2", "true", "1.0"])),
    st.builds(Leaf, st.sampled_from(["a", "b"]), st.just(Op.EQ), NUMBERS),
    st.builds(
        Leaf, st.sampled_from(["a", "b"]), st.sampled_from([Op.GT, Op.LTE]), st.sampled_from([0, 1, 2.5, 10**10])
    ),
    st.builds(Leaf, st.sampled_from(["a", "b", "c"]), st.sampled_from([Op.NULL, Op.EXISTS]), st.just(True)),
    st.builds(Leaf, st.just("a"), st.just(Op.FIELDREF), st.just("b")),
)
condition_strategy: st.SearchStrategy[Condition] = st.recursive(
    leaf_strategy,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=4,
)


@given(
    st.lists(condition_strategy, min_size=1, max_size=4),
    st.lists(st.fixed_dictionaries({"a": ONE_KIND, "b": ONE_KIND}), min_size=1, max_size=8),
)
@settings(max_examples=300, deadline=None)
def test_mixed_types_are_matched_as_each_event_by_itself(
    conditions: list[Condition], events: list[dict[str, Any]]
) -> None:
    detections = [
        Detection(RuleMeta(str(number), "", "", "", "low", "v"), "", condition, True)
        for number, condition in enumerate(conditions)
    ]
    engine = Offline(Rulebook(tuple(detections), ()))
    engine.add(events, [0] * len(events), list(range(len(events))))
    assert {(each.rule.meta.id, each.numbers[0]) for each in engine.close(0)} == {
        (each.meta.id, number)
        for each in detections
        for number, event in enumerate(events)
        if holds(each.condition, {name: flat(value) for name, value in event.items()})
    }


def test_nesting_has_no_depth_that_kills() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    batch = JsonEvents("", [{"a": deep}, {"a": {"b": deep}}, {"a": [{"b": 5}]}])
    assert batch.values("a.b")[2] == [5]
    assert batch.column("a") is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (T0, T0 * US),
        (T0 + 0.1, T0 * US + 100_000),
        (T0 * 1000, T0 * US),
        (T0 * US, T0 * US),
        (T0 * US * 1000 + 999, T0 * US),
        (str(T0), T0 * US),
        (f"{T0}.5", T0 * US + 500_000),
        ("2026-06-01T12:00:00Z", T0 * US),
        ("2026-06-01T12:00:00", T0 * US),
        ("2026-06-01 14:00:00.123456789+02:00", T0 * US + 123_456),
        ("2026-06-01t12:00:00z", T0 * US),
        ("2026-06-01 12:00:00 UTC", T0 * US),
        ("0", 0),
        (-1.5, -1_500_000),
        *((value, None) for value in (True, None, "", "soon", {}, [1], 1e300, 10**30, "0001-01-01T00:00:00+05:00")),
    ],
)
def test_times_are_read_in_every_usual_form(value: Any, expected: int | None) -> None:
    assert micros_of(value) == expected


def test_the_first_readable_time_field_is_taken_and_counted() -> None:
    clock = EventTime()
    assert clock.read({"time": "12:00", "EventTime": T0, "timestamp": None}) == T0 * US
    assert clock.read({"header": {"occurred_at": "2026-06-01T12:00:00Z"}, "ts": 5}) == T0 * US
    assert dict(clock.taken) == {"EventTime": 1, "header.occurred_at": 1}
    with pytest.raises(TimeError, match="'soon'"):
        EventTime("a.b").read({"a": {"b": "soon"}, "time": T0})
    with pytest.raises(TimeError, match=r"a\.b is missing"):
        EventTime("a.b").read({"time": T0})


KINDS = "".join(
    f"""
title: Kind {kind}
id: 00000000-0000-4000-8000-00000000000{number}
name: kind_{kind}
logsource: {{product: any}}
detection: {{s: {{kind: {kind}}}, condition: s}}
---"""
    for number, kind in enumerate("abc")
)
TYPES = [
    "type: event_count\n  rules: [kind_a, kind_b]\n  condition: {gte: 3, lte: 5}",
    "type: value_avg\n  rules: [kind_a]\n  condition: {field: n, lt: 4}",
    "type: value_count\n  rules: [kind_b]\n  condition: {field: n, eq: 2}",
    "type: temporal\n  rules: [kind_a, kind_b]\n  condition: kind_a and not kind_b",
    "type: temporal_ordered\n  rules: [kind_a, kind_b, kind_c]",
    "type: event_count\n  rules: [rule_0]\n  condition: {gte: 2}",
    "type: temporal\n  rules: [rule_4, rule_7]",
]
CORRELATIONS = [
    *(f"correlation:\n  {each}\n  group-by: [g]\n  timespan: 60s\n  generate: true" for each in TYPES),
    "tocsin:\n  correlation: {type: absence, rules: [kind_a], absent: [kind_b], group-by: [g], timespan: 60s}",
]
BOOK = KINDS + "\n---\n".join(
    f"\ntitle: Rule {number}\nid: 00000000-0000-4000-8000-00000000001{number}\nname: rule_{number}\n{each}"
    for number, each in enumerate(CORRELATIONS)
)


@pytest.mark.parametrize("seed", range(4))
def test_batches_do_not_show_in_what_is_concluded(seed: int) -> None:
    book = load_texts([(Path("rules.yml"), BOOK)], ignore_logsource=True)
    rng = Random(seed)
    events = [
        {"ts": T0 + rng.randrange(3_000), "kind": rng.choice("aabc"), "g": rng.choice("xy"), "n": rng.randrange(9)}
        for _ in range(250)
    ]
    whole = offline(book, events, 1000)
    assert len({each.rule.meta.id for each in whole}) >= 7
    for batch in (1, 7, 60):
        assert offline(book, events, batch) == whole
