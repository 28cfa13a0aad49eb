"""Silences in numbers: what is over costs nothing, and what cannot be is refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from processors.lifecycle import engine, marks
from processors.lifecycle.engine import Lifecycle
from processors.lifecycle.memory import Memory
from processors.lifecycle.silences import refused
from schemas.lifecycle import Command, Silence
from tests.processors.lifecycle.conftest import Begin
from tests.processors.lifecycle.rota import rota
from tests.processors.lifecycle.test_decisions import silence
from tests.processors.lifecycle.timeline import START, Timeline


def restored(*silences: Silence, now: dt.datetime) -> Lifecycle:
    line = Timeline(rota()).alert("a")
    records = {f"silence/{each.silence_id}": each.model_dump_json().encode() for each in silences}
    found = Lifecycle(rota())
    found.restore(line.records | records)
    found.use(rota(), now)
    return found


def many(number: int, **fields: Any) -> list[Silence]:
    return [silence(silence_id=f"s{each}", partner="customs-a", **fields) for each in range(number)]


def marked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often all alerts are marked."""
    found: list[int] = []

    def counting(*arguments: Any) -> None:
        found.append(1)
        marks.mark_all(*arguments)

    monkeypatch.setattr(engine, "mark_all", counting)
    return found


def test_silences_that_are_over_mark_nothing_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = START + dt.timedelta(days=2)
    found = restored(*many(50), now=now)
    calls = marked(monkeypatch)
    found.tick(now + dt.timedelta(minutes=1))
    assert calls == []
    found.tick(now + dt.timedelta(days=40))
    assert found.silences == {}, "they are forgotten all the same"


def test_silences_that_begin_together_mark_once(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = START + dt.timedelta(minutes=5)
    found = restored(*many(50, starts_at=soon, ends_at=soon + dt.timedelta(hours=1)), now=START)
    calls = marked(monkeypatch)
    found.tick(soon)
    assert calls == [1]


def test_silences_that_were_to_be_forgotten_while_nobody_ran_are(monkeypatch: pytest.MonkeyPatch) -> None:
    now = START + dt.timedelta(days=60)
    found = restored(*many(3), now=now)
    found.tick(now)
    assert found.silences == {}


def test_a_silence_holds_ninety_days_at_most() -> None:
    days = START + dt.timedelta(days=90)
    assert refused(silence(partner="a", ends_at=days), None, START) == ""
    reason = refused(silence(partner="a", ends_at=days + dt.timedelta(seconds=1)), None, START)
    assert reason == "a silence holds at most 90 days; end it by 2026-05-31 03:00 UTC and set another one then"


def test_a_silence_whose_times_cannot_be_kept_is_not_stored() -> None:
    memory = Memory()
    with pytest.raises(OverflowError):
        memory.put_silence(silence(partner="a", ends_at=dt.datetime.max.replace(tzinfo=dt.UTC)), START)
    assert not memory.silences
    assert not memory.effects()


@pytest.mark.parametrize(
    "change", [{"at": dt.datetime(2026, 3, 2)}, {"for_s": 86_401}, {"silence": {"starts_at": "2026-03-02T03:00:00"}}]
)
def test_commands_without_a_zone_or_a_sensible_time_are_none(change: dict[str, Any]) -> None:
    made = Command(command_id="c", verb="silence", by="m", via="cli", at=START, for_s=86_400, silence=silence())
    fields = made.model_dump(mode="json")
    fields["silence"] |= change.pop("silence", {})
    with pytest.raises(ValidationError):
        Command.model_validate(fields | change)


def test_a_clock_that_comes_late_tells_by_the_silences_that_hold_then(begin: Begin) -> None:
    line = begin()
    line.at("0:00").silence("0:00", "1:00", level="high").alert("a")
    line.now += dt.timedelta(seconds=200)  # no tick in between, as while no worker runs
    line.alert("b", level="medium").at("3:20")
    assert line.got() == ["mira first a,b"]
