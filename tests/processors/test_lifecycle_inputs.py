"""Reading alerts and commands out of batches, and a configuration file that changes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.lifecycle_read import alerts_in, commands_in
from processors.reloaded import Reloaded
from processors.watchdog import WATCHDOG_ID, watchdog_alert
from schemas.lifecycle import Command
from schemas.yaml_lines import ConfigError
from streams.batching import PartitionBatch

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def batch(*values: tuple[str | None, bytes | None]) -> PartitionBatch:
    """Records of these keys and values."""
    records = [
        SimpleNamespace(offset=number, timestamp=0, timestamp_type=1, key=key.encode() if key else None, value=value)
        for number, (key, value) in enumerate(values)
    ]
    return PartitionBatch(records, "alerts.v1", 0)


def told(key: str, version: int) -> tuple[str, bytes]:
    alert = watchdog_alert(NOW).model_copy(update={"alert_id": key, "version": version})
    return key, alert.model_dump_json().encode()


def read(found: PartitionBatch) -> tuple[list[tuple[str, int]], list[int]]:
    refused: list[int] = []
    alerts = alerts_in(found, lambda record, _: refused.append(record.offset))
    return [(each.alert_id, each.version) for each in alerts], refused


def test_of_many_versions_the_highest_is_read() -> None:
    assert read(batch(told("a", 1), told("b", 1), told("a", 3), told("a", 2))) == ([("b", 1), ("a", 3)], [])


def test_what_is_no_alert_is_said_and_hides_no_version_before_it() -> None:
    broken: list[Any] = [("a", b'{"version": 9'), (None, b"\xff\xfe"), ("c", b"{}"), ("d", None)]
    found, refused = read(batch(told("a", 1), *broken, told("b", 1)))
    assert sorted(found) == [("a", 1), ("b", 1)]
    assert sorted(refused) == [1, 2, 3], "a tombstone is nothing to complain of"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), min_size=1))
def test_reading_the_latest_loses_no_alert(versions: list[tuple[str, int]]) -> None:
    found, refused = read(batch(*(told(*each) for each in versions)))
    highest = {key: max(version for other, version in versions if other == key) for key, _ in versions}
    assert dict(found) == highest
    assert len(found) == len(highest)
    assert refused == []


def test_commands_keep_their_order_and_broken_ones_are_said() -> None:
    commands = [
        Command(command_id=str(number), verb="note", alert_id="a", by="m. falk", via="cli", at=NOW, text="seen")
        for number in range(3)
    ]
    texts: list[tuple[str | None, bytes | None]] = [(None, each.model_dump_json().encode()) for each in commands]
    texts[1:1] = [("x", b"no json"), ("x", b'{"verb": "explode"}'), ("x", None)]
    reasons: list[str] = []
    found = list(commands_in(batch(*texts), lambda _, reason: reasons.append(reason)))
    assert found == commands
    assert len(reasons) == 3
    assert "verb" in reasons[1]


def test_the_watchdog_alert_goes_on_from_its_last_version() -> None:
    first, second = watchdog_alert(NOW), watchdog_alert(NOW + dt.timedelta(minutes=1))
    assert first.alert_id == second.alert_id == WATCHDOG_ID
    assert second.version > first.version


def test_a_file_is_read_anew_when_it_changes_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "words.yml"
    refused: list[int] = []

    def load(path: Path) -> str:
        text = path.read_text()
        if text == "broken":
            raise ConfigError(f"{path}:1: broken")
        return text

    path.write_text("one")
    words = Reloaded(path, load, lambda: refused.append(1))
    assert (words.content, words.refresh()) == ("one", False)
    for text, changed, content in (
        ("three", True, "three"),
        ("broken", False, "three"),
        ("seventeen", True, "seventeen"),
    ):
        path.write_text(text)
        assert words.refresh() is changed
        assert words.refresh() is False
        assert words.content == content
    assert refused == [1]
