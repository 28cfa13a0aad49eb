"""Hypothesis strategies for events, walked out of the .avsc files (not of the models, which are what is tested)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from schemas.registry import AVRO_DIR, load_schema

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TIMES = st.datetimes(datetime(1700, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "header.event_id": st.uuids().map(str),
    "header.partner": st.sampled_from(["fiu-nl", "x"]),
    "header.confidence": st.integers(0, 100),
    "header.location.lat": st.floats(-90, 90),
    "header.location.lon": st.floats(-180, 180),
    "header.handling.retain_days": st.integers(1, 2**31 - 1),
    "dst_port": st.integers(0, 65_535),
    "information_credibility": st.integers(1, 6),
    "amount_minor": st.integers(-(2**63), 2**63 - 1),
    "currency": st.sampled_from(["EUR", "JPY"]),
}


@cache
def records(family: str, folder: Path = AVRO_DIR) -> st.SearchStrategy[dict[str, Any]]:
    """Valid records of a family, as ``to_avro`` gives them."""
    return _of(load_schema(family, folder), "", "")


def _of(schema: Any, path: str, doc: str) -> st.SearchStrategy[Any]:
    if isinstance(schema, list):
        return st.none() | _of(schema[1], path, doc)
    if path in SPECIAL:
        return SPECIAL[path]
    if "alpha-2" in doc:
        return st.sampled_from(["NL", "KE"])
    kind = schema if isinstance(schema, str) else schema["type"]
    logical = None if isinstance(schema, str) else schema.get("logicalType")
    if logical == "timestamp-micros":
        return TIMES
    if logical == "date":
        return st.dates(date(1, 1, 1), date(9999, 12, 31))
    if kind == "record":
        fields = schema["fields"]
        return st.fixed_dictionaries(
            {f["name"]: _of(f["type"], f"{path}.{f['name']}".strip("."), f["doc"]) for f in fields}
        )
    if kind == "array":
        return st.lists(_of(schema["items"], f"{path}[]", ""), max_size=3)
    if kind == "enum":
        return st.sampled_from(schema["symbols"])
    simple: dict[str, st.SearchStrategy[Any]] = {
        "string": TEXT,
        "boolean": st.booleans(),
        "int": st.integers(0, 2**31 - 1),
        "long": st.integers(0, 2**63 - 1),
        "double": st.floats(allow_nan=False, allow_infinity=False),
    }
    return simple[kind]
