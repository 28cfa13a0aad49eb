"""A group as bytes: what a worker holds in memory between signals, and what the state topic keeps.

Layout: a fixed head (when the group is due, and whether it has something to tell again), a JSON list, and the evidence
of each held signal on a line of its own, untouched. A million groups are kept so; only those that a batch touches
become objects.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import orjson

from processors.correlate import Group, Held, Told
from processors.rulebook import Correlation

_HEAD = struct.Struct(">q?")


def pack(group: Group, due_us: int) -> bytes:
    """The group's bytes; ``due_us`` is event time in microseconds since 1970 UTC."""
    speaks = bool(group.told or group.withdrawn)
    rules = {rule: number for number, rule in enumerate(group.correlation.watched)}
    body = [
        group.values,
        group.exercise,
        group.clock,
        group.revision,
        group.capped,
        group.bridges,
        group.withdrawn,
        {
            key: [t.version, t.status, t.anchor, t.created_us, t.superseded_by, t.dropped, t.last.decode()]
            for key, t in group.told.items()
        },
        orjson.Fragment(b"[" + b",".join([each.row or _row(each, rules) for each in group.held]) + b"]"),
    ]
    return b"\n".join([_HEAD.pack(due_us, speaks) + orjson.dumps(body), *(each.evidence for each in group.held)])


def _row(held: Held, rules: dict[str, int]) -> bytes:
    row: list[Any] = [held.at, held.partner, held.event_id, rules[held.rule_id], held.value]
    if held.fired or held.since is not None or held.sent:
        values = sorted(held.values) if held.values is not None else None
        whole = held.observed if isinstance(held.observed, int) else str(held.observed)
        row += [held.fired, held.since, whole, values, held.sent]
    held.row = orjson.dumps(row)
    return held.row


def head(state: bytes) -> tuple[int, bool]:
    """(when the group is due, whether it has told anything) without reading the rest."""
    due, speaks = _HEAD.unpack_from(state)
    return due, speaks


def unpack(correlation: Correlation, state: bytes) -> Group:
    """Rebuild a group from :func:`pack`.

    Raises:
        ValueError: the bytes are not a state of this version.
    """
    text, *evidence = state[_HEAD.size :].split(b"\n")
    values, exercise, clock, revision, capped, bridges, withdrawn, told, rows = orjson.loads(text)
    group = Group(correlation, tuple(values), exercise)
    group.clock, group.revision, group.capped = clock, revision, capped
    group.bridges = [(start, end) for start, end in bridges]
    group.withdrawn = [(key, at, _targets(targets)) for key, at, targets in withdrawn]
    group.told = {key: Told(*(*each[:-1], each[-1].encode())) for key, each in told.items()}
    for row, piece in zip(rows, evidence, strict=True):
        held = Held(row[0], row[1], row[2], correlation.watched[row[3]], row[4], piece)
        if len(row) > 5:
            held.fired, held.since, observed, shares, sent = row[5:]
            held.observed = observed if isinstance(observed, int) else Fraction(observed)
            held.values = None if shares is None else frozenset(shares)
            held.sent = (sent[0], sent[1], _targets(sent[2])) if sent else None
        group.held.append(held)
    return group


def _targets(found: list[Any]) -> list[tuple[str, tuple[str, ...], str | None]]:
    return [(rule, tuple(values), value) for rule, values, value in found]
