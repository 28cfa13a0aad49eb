"""The column matcher and the clauses it explains agree with looking at each row and leaf, for any rules and values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors import match_plan
from processors.clauses import holds as holds_in_python
from processors.clauses import met
from processors.fields import Column
from processors.matcher import Matcher
from processors.predicates import And, Condition, Leaf, Not, Op, Or, leaves
from processors.rulebook import Detection, RuleMeta
from tests.processors.reference import holds

TYPES = {
    "s": pa.string(),
    "t": pa.string(),
    "n": pa.int64(),
    "f": pa.float64(),
    "b": pa.bool_(),
    "ip": pa.string(),
    "at": pa.timestamp("us", "UTC"),
    "us": pa.int64(),
}
WORDS = st.sampled_from(
    [
        "",
        "a",
        "A",
        "ab",
        "Ab c",
        "CAB",
        "é",
        "É",
        "12",
        "12.0",
        "-7",
        "true",
        "x.y*",
        "ab\nc",
        "a\0b",
        "ΣΑΣ",
        "İx",
        "a?c",
    ]
)
ADDRESSES = st.sampled_from(["10.0.0.1", "192.168.1.9", "2001:db8::1", "2001:DB8::2", "none", ""])
TIMES = st.datetimes(dt.datetime(1969, 12, 28), dt.datetime(2027, 1, 5)).map(lambda each: each.replace(tzinfo=dt.UTC))
ISO = TIMES.map(lambda each: each.isoformat()) | st.sampled_from(["2026-01-01", "2026-01-01T00:30:00+02:00", "x"])


class Rows:
    """Rows given as dicts, seen by column; fields ``m`` and ``k`` may repeat within a row."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.num_rows = rows, len(rows)

    def names(self) -> Iterable[str]:
        return ("s", "t", "ip", "iso", "m")

    def column(self, name: str) -> Column | None:
        if name in ("m", "k"):
            pairs = [(number, value) for number, row in enumerate(self.rows) for value in row[name]]
            values = pa.array([value for _, value in pairs], pa.string() if name == "m" else pa.int64())
            return Column(values, np.array([number for number, _ in pairs], dtype=np.int64))
        if name == "iso":
            return Column(pa.array([row[name] for row in self.rows], pa.string()))
        if name not in TYPES:
            return None
        return Column(pa.array([row[name] for row in self.rows], TYPES[name]))


row_strategy = st.fixed_dictionaries(
    {
        "s": st.none() | WORDS | st.text(max_size=4),
        "t": st.none() | WORDS,
        "n": st.none() | st.integers(-3, 15),
        "f": st.none() | st.sampled_from([-1.5, 0.0, 2.0, 12.0]),
        "b": st.none() | st.booleans(),
        "ip": st.none() | ADDRESSES,
        "at": st.none() | TIMES,
        "us": st.none() | st.integers(-(10**15), 2 * 10**15),
        "iso": st.none() | ISO,
        "m": st.lists(WORDS, max_size=3),
        "k": st.lists(st.integers(-3, 15), max_size=3),
    }
)
FIELDS = st.sampled_from(["s", "t", "m", "missing", ""])
ANY = st.sampled_from(["s", "m", "n", "f", "b", "k", "missing"])
TEXT_OPS = st.sampled_from([Op.EQ, Op.CONTAINS, Op.STARTSWITH, Op.ENDSWITH])
ORDER_OPS = st.sampled_from([Op.GT, Op.GTE, Op.LT, Op.LTE])
PATTERNS = ["^a", "b.c", "(?i)AB", r"\d+", "(?i)cab", "a(?!b)", r"(.)\1", "(?i)[k-s]ab", "Ab c|CAB", "a?b", "^$"]
PARTS = st.sampled_from(["minute", "hour", "day", "week", "month", "year"])
leaf_strategy = st.one_of(
    st.builds(Leaf, FIELDS, TEXT_OPS, WORDS, st.booleans()),
    st.builds(Leaf, ANY, TEXT_OPS, st.sampled_from(["1", "12", "2", "true", "0", "-"])),
    st.builds(Leaf, FIELDS, st.just(Op.LIKE), st.sampled_from(["a?", "*b*c", "?*", "a\\?c", "*A*b*"]), st.booleans()),
    st.builds(Leaf, ANY | st.just("at"), st.sampled_from([Op.NULL, Op.EXISTS]), st.just(True)),
    st.builds(Leaf, ANY, ORDER_OPS, st.integers(-8, 13) | st.sampled_from([-1.5, 11.5])),
    st.builds(
        Leaf, ANY, st.just(Op.EQ), st.integers(-2, 13) | st.sampled_from(["12", "12.0", "FALSE", "a", 2.5, True])
    ),
    st.builds(Leaf, FIELDS, st.just(Op.RE), st.sampled_from(PATTERNS), st.just(True)),
    st.builds(
        Leaf,
        st.sampled_from(["ip", "s", ""]),
        st.just(Op.CIDR),
        st.sampled_from(["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"]),
    ),
    st.builds(
        Leaf,
        st.sampled_from(["s", "m", "n", "f", "k", "b"]),
        st.sampled_from([Op.FIELDREF, Op.FIELDREF_CONTAINS, Op.FIELDREF_ENDSWITH, Op.FIELDREF_STARTSWITH]),
        st.sampled_from(["t", "m", "k", "f", "missing"]),
        st.booleans(),
    ),
    st.builds(
        Leaf,
        st.sampled_from(["at", "us", "iso", "s", "f", "b"]),
        ORDER_OPS | st.just(Op.EQ),
        st.integers(0, 60) | st.sampled_from([1, 12, 53, 1970, 2026]),
        st.just(False),
        PARTS,
    ),
)
condition_strategy: st.SearchStrategy[Condition] = st.recursive(
    leaf_strategy,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=4).map(tuple)),
    ),
    max_leaves=8,
)
BLANK: dict[str, Any] = dict.fromkeys(["s", "t", "n", "f", "b", "ip", "at", "us", "iso"]) | {"m": [], "k": []}


def detection(number: int, condition: Condition) -> Detection:
    return Detection(RuleMeta(str(number), "", "", "", "low", "v"), "tip_report", condition, True)


def agree(conditions: list[Condition], rows: list[dict[str, Any]]) -> None:
    detections = [detection(number, each) for number, each in enumerate(conditions)]
    found = {each.meta.id: hits.tolist() for each, hits in Matcher(detections).match(Rows(rows))}
    expected = {}
    for each in detections:
        if hits := [number for number, row in enumerate(rows) if holds(each.condition, row)]:
            expected[each.meta.id] = hits
    assert found == expected
    assert list(found) == sorted(found, key=int)


@given(st.lists(condition_strategy, min_size=1, max_size=8), st.lists(row_strategy, max_size=12))
@example([Leaf("s", Op.CONTAINS, "bc")], [BLANK | {"s": "ab"}, BLANK | {"s": "c"}])
@example([Leaf("s", Op.CONTAINS, "b\0"), Leaf("s", Op.CONTAINS, "\0b")], [BLANK | {"s": "ab"}, BLANK | {"s": "a\0b"}])
@example([Leaf("n", Op.EQ, 2**53 + 1)], [BLANK | {"n": 2**53}, BLANK | {"n": 2**53 + 1}])
@settings(max_examples=500, deadline=None)
def test_columns_agree_with_rows(conditions: list[Condition], rows: list[dict[str, Any]]) -> None:
    agree(conditions, rows)


@given(st.lists(condition_strategy, min_size=1, max_size=4), st.lists(row_strategy, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_repeated_rows_and_searched_affixes_agree_as_well(
    conditions: list[Condition], rows: list[dict[str, Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match_plan, "MAX_LENGTHS", 0)
        agree(conditions, rows * 200)


@given(condition_strategy, row_strategy)
@settings(max_examples=500, deadline=None)
def test_clauses_are_told_where_the_condition_holds(condition: Condition, row: dict[str, Any]) -> None:
    expected = holds(condition, row)
    assert holds_in_python(condition, row) == expected
    told = met(condition, row)
    if not expected:
        assert told == []
    assert set(told) <= {str(leaf) for leaf in leaves(condition) if holds(leaf, row)}


def test_clauses_name_the_branch_that_held() -> None:
    condition = And(
        (
            Or((Leaf("s", Op.EQ, "a"), And((Leaf("t", Op.CONTAINS, "x"), Leaf("n", Op.GTE, 5))))),
            Not(Leaf("m", Op.EQ, "z")),
            Leaf("", Op.CONTAINS, "xy"),
            Leaf("at", Op.EQ, 3, part="hour"),
        )
    )
    row = BLANK | {"t": "wxyz", "n": 5, "s": "b", "at": dt.datetime(2026, 1, 1, 3, tzinfo=dt.UTC)}
    assert met(condition, row) == ["t|contains: x", "n|gte: 5", "keyword|contains: xy", "at|hour: 3"]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_rule_of_negations_only_looks_at_every_row(rows: int) -> None:
    (match,) = Matcher([detection(1, Not(Leaf("s", Op.EXISTS, True)))]).match(Rows([BLANK] * rows)) or [(None, [])]
    assert list(match[1]) == list(range(rows))


def test_no_rules_match_nothing() -> None:
    assert Matcher([]).match(Rows([BLANK])) == []
