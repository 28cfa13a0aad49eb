"""The column matcher agrees with looking at each row and leaf, for any rules and any values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.fields import Column
from processors.matcher import Matcher
from processors.predicates import And, Condition, Leaf, Not, Op, Or
from processors.rulebook import Detection, RuleMeta
from tests.processors.reference import holds

TYPES = {"s": pa.string(), "t": pa.string(), "n": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "ip": pa.string()}
WORDS = st.sampled_from(["", "a", "A", "ab", "Ab c", "CAB", "é", "É", "12", "true", "x.y*", "ab\nc"])
ADDRESSES = st.sampled_from(["10.0.0.1", "192.168.1.9", "2001:db8::1", "none", ""])


class Rows:
    """Rows given as dicts, seen by column; field ``m`` may repeat within a row."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.num_rows = rows, len(rows)

    def column(self, name: str) -> Column | None:
        if name == "m":
            pairs = [(number, value) for number, row in enumerate(self.rows) for value in row["m"]]
            values = pa.array([value for _, value in pairs], pa.string())
            return Column(values, np.array([number for number, _ in pairs], dtype=np.int64))
        if name not in TYPES:
            return None
        return Column(pa.array([row[name] for row in self.rows], TYPES[name]))


rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "s": st.none() | WORDS,
            "t": st.none() | WORDS,
            "n": st.none() | st.integers(-3, 15),
            "f": st.none() | st.sampled_from([-1.5, 0.0, 2.0, 12.0]),
            "b": st.none() | st.booleans(),
            "ip": st.none() | ADDRESSES,
            "m": st.lists(WORDS, max_size=3),
        }
    ),
    max_size=12,
)
text_leaf = st.builds(
    Leaf,
    st.sampled_from(["s", "t", "m", "missing"]),
    st.sampled_from([Op.EQ, Op.CONTAINS, Op.STARTSWITH, Op.ENDSWITH]),
    WORDS.filter(bool),
    st.booleans(),
)
leaf_strategy = st.one_of(
    text_leaf,
    st.builds(
        Leaf, st.sampled_from(["s", "m", "n", "b", "missing"]), st.sampled_from([Op.NULL, Op.EXISTS]), st.just(True)
    ),
    st.builds(
        Leaf, st.sampled_from(["n", "f"]), st.sampled_from([Op.GT, Op.GTE, Op.LT, Op.LTE, Op.EQ]), st.integers(-2, 13)
    ),
    st.builds(Leaf, st.sampled_from(["n", "f", "b"]), st.just(Op.EQ), st.sampled_from(["12", "true", "FALSE", "a"])),
    st.builds(Leaf, st.just("b"), st.just(Op.EQ), st.booleans()),
    st.builds(Leaf, st.sampled_from(["s", "m"]), st.just(Op.RE), st.sampled_from(["^a", "b.c", "(?i)AB", r"\d+"])),
    st.builds(Leaf, st.just("ip"), st.just(Op.CIDR), st.sampled_from(["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"])),
    st.builds(Leaf, st.just("s"), st.just(Op.FIELDREF), st.just("t")),
)
condition_strategy: st.SearchStrategy[Condition] = st.recursive(
    leaf_strategy,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def detection(number: int, condition: Condition) -> Detection:
    return Detection(RuleMeta(str(number), "", "", "", "low", "v"), "tip_report", condition, True)


@given(st.lists(condition_strategy, min_size=1, max_size=8), rows_strategy)
@example(
    [Leaf("s", Op.CONTAINS, "bc")], [dict.fromkeys("stnfb", None) | {"s": w, "ip": None, "m": []} for w in ("ab", "c")]
)
@settings(max_examples=500, deadline=None)
def test_columns_agree_with_rows(conditions: list[Condition], rows: list[dict[str, Any]]) -> None:
    detections = [detection(number, each) for number, each in enumerate(conditions)]
    found = {each.meta.id: hits.tolist() for each, hits in Matcher(detections).match(Rows(rows))}
    expected = {}
    for each in detections:
        if hits := [number for number, row in enumerate(rows) if holds(each.condition, row)]:
            expected[each.meta.id] = hits
    assert found == expected


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_rule_of_negations_only_looks_at_every_row(rows: int) -> None:
    blank = dict.fromkeys("stnfb", None) | {"ip": None, "m": []}
    (match,) = Matcher([detection(1, Not(Leaf("s", Op.EXISTS, True)))]).match(Rows([blank] * rows)) or [(None, [])]
    assert list(match[1]) == list(range(rows))
