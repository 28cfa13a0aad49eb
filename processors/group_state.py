"""A group as bytes: what a worker holds in memory between signals, and what the state topic keeps.

Layout of a head: a fixed part (when the group is due, and whether it has something to tell again), a JSON list, and the
evidence of each of its signals on a line of its own, untouched. A million groups are kept so; only those that a batch
touches become objects.

A group that holds many signals would be written anew, all of it, with each that comes. So what lies behind the latest
goes into chunks, which are never written again: a chunk of which anything changes is given up for one of another
number. A head names its chunks. Written in the order new chunks, head, chunks given up, what a crash leaves of it is
either the group before or the group after, and chunks that no head names.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter
from typing import Any

import orjson

from processors.correlate import Group, Held, Told
from processors.rulebook import Correlation
from schemas.alerts import STATE_TOPIC
from streams.state import StateError

CHUNK = 24
"""Signals of a chunk; a head holds fewer than two chunks of them."""
_HEAD = struct.Struct(">q?")


@dataclass(frozen=True, slots=True)
class Packed:
    """A group's head, the chunks that are new since it was packed before, and the numbers of those given up."""

    head: bytes
    chunks: dict[int, bytes]
    gone: list[int]


def pack(group: Group, due_us: int) -> Packed:
    """The group's bytes; ``due_us`` is event time in microseconds since 1970 UTC."""
    rules = {rule: number for number, rule in enumerate(group.correlation.watched)}
    gone = _give_up(group) if group.chunks else []
    latest = [each for each in group.held if not each.chunk] if group.chunks else group.held
    chunks: dict[int, bytes] = {}
    while len(latest) >= 2 * CHUNK:
        members, latest = latest[:CHUNK], latest[CHUNK:]
        group.last_chunk += 1
        group.chunks[group.last_chunk] = CHUNK
        for each in members:
            each.chunk = group.last_chunk
        chunks[group.last_chunk] = _lines(_rows(members, rules), members)
    body: list[Any] = [
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
        orjson.Fragment(_rows(latest, rules)),
    ]
    if group.last_chunk:
        body += [group.last_chunk, list(group.chunks.items())]
    speaks = bool(group.told or group.withdrawn)
    return Packed(_HEAD.pack(due_us, speaks) + _lines(orjson.dumps(body), latest), chunks, gone)


def _give_up(group: Group) -> list[int]:
    """Take the signals of chunks that are not what they were out of them; returns the numbers of these chunks."""
    left = Counter(map(attrgetter("chunk"), group.held))
    changed = {each.chunk for each in group.held if each.row is None}
    gone = [number for number, size in group.chunks.items() if left[number] != size or number in changed]
    for number in gone:
        del group.chunks[number]
    if gone:
        for each in group.held:
            if each.chunk and each.chunk not in group.chunks:
                each.chunk = 0
    return gone


def _rows(members: Iterable[Held], rules: dict[str, int]) -> bytes:
    return b"[" + b",".join([each.row or _row(each, rules) for each in members]) + b"]"


def _lines(first: bytes, members: Iterable[Held]) -> bytes:
    return b"\n".join([first, *(each.evidence for each in members)])


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


def named(correlation: Correlation, state: bytes) -> list[int]:
    """Numbers of the chunks that a head names.

    Raises:
        StateError: the bytes are not a head of this version.
    """
    try:
        body = orjson.loads(state[_HEAD.size :].split(b"\n", 1)[0])
        return [number for number, _ in body[10]] if len(body) > 9 else []
    except (ValueError, TypeError, LookupError) as error:
        raise _unreadable(correlation, error) from error


def unpack(correlation: Correlation, state: bytes, chunks: Mapping[int, bytes]) -> Group:
    """Rebuild a group from its head and its chunks by number.

    Raises:
        StateError: the bytes are not a state of this version, or a chunk is missing that the head names.
    """
    try:
        return _unpack(correlation, state, chunks)
    except (ValueError, TypeError, LookupError) as error:
        raise _unreadable(correlation, error) from error


def _unpack(correlation: Correlation, state: bytes, chunks: Mapping[int, bytes]) -> Group:
    text, *evidence = state[_HEAD.size :].split(b"\n")
    values, exercise, clock, revision, capped, bridges, withdrawn, told, rows, *more = orjson.loads(text)
    group = Group(correlation, tuple(values), exercise)
    group.clock, group.revision, group.capped = clock, revision, capped
    group.bridges = [(start, end) for start, end in bridges]
    group.withdrawn = [(key, at, _targets(targets)) for key, at, targets in withdrawn]
    group.told = {key: Told(*(*each[:-1], each[-1].encode())) for key, each in told.items()}
    group.held = _held(correlation, rows, evidence, 0)
    if more:
        group.last_chunk, group.chunks = more[0], dict(more[1])
        for number in group.chunks:
            text, *evidence = chunks[number].split(b"\n")
            group.held += _held(correlation, orjson.loads(text), evidence, number)
        group.held.sort(key=lambda each: each.key)
    return group


def _unreadable(correlation: Correlation, error: Exception) -> StateError:
    return StateError(STATE_TOPIC, f"a group of rule {correlation.meta.id}", error)


def _held(correlation: Correlation, rows: list[list[Any]], evidence: list[bytes], chunk: int) -> list[Held]:
    members = []
    for row, piece in zip(rows, evidence, strict=True):
        held = Held(row[0], row[1], row[2], correlation.watched[row[3]], row[4], piece)
        if len(row) > 5:
            held.fired, held.since, observed, shares, sent = row[5:]
            held.observed = observed if isinstance(observed, int) else Fraction(observed)
            held.values = None if shares is None else frozenset(shares)
            held.sent = (sent[0], sent[1], _targets(sent[2])) if sent else None
        if chunk:
            # As it was written: without it the chunk would count as changed.
            held.chunk, held.row = chunk, orjson.dumps(row)
        members.append(held)
    return members


def _targets(found: list[Any]) -> list[tuple[str, tuple[str, ...], str | None]]:
    return [(rule, tuple(values), value) for rule, values, value in found]
