"""``tocsin rules run`` over files as they come, and ``tocsin rules backtest`` where it needs no platform."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deploy import rules_run_cli
from deploy.backtest import Deployed, differences
from deploy.cli import app
from deploy.json_lines import MAX_LINE, JsonLines
from processors.event_time import EventTime
from processors.offline import OfflineAlert
from processors.predicates import Leaf, Op
from processors.rulebook import Detection, RuleMeta
from schemas.settings import Settings

BRUTE = """
title: Failed log-on
id: 11111111-1111-4111-8111-111111111111
name: failed
status: test
logsource: {product: windows, service: security}
detection:
  selection: {EventID: 4625, User.Name|startswith: adm}
  condition: selection
---
title: Brute force
id: 22222222-2222-4222-8222-222222222222
level: high
correlation:
  type: event_count
  rules: [failed]
  group-by: [Host]
  timespan: 5m
  condition: {gte: 3}
"""
START = 1_772_366_400
runner = CliRunner()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "brute.yml"
    file.write_text(BRUTE)
    return file


def log_on(second: int, host: str = "a", **fields: Any) -> dict[str, Any]:
    return {
        "EventID": 4625,
        "event_id": 4625,
        "Host": host,
        "User": {"Name": "Admin"},
        "time": START + second,
        **fields,
    }


def write(file: Path, events: list[dict[str, Any] | str]) -> Path:
    file.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in events))
    return file


def run(rules: Path, *words: str | Path, stdin: str | None = None) -> Result:
    return runner.invoke(app, ["rules", "run", "--rules", str(rules), *map(str, words)], input=stdin)


def alerts(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_any_log_is_matched_in_order_of_time(rules: Path, tmp_path: Path) -> None:
    events = [log_on(200), log_on(0), log_on(0, "b"), {"EventID": "4625", "time": "never"}, log_on(100), log_on(2000)]
    result = run(rules, "--events", write(tmp_path / "log.jsonl", [*events]), "--ignore-logsource")
    assert result.exit_code == 0, result.output
    (alert,) = alerts(result)
    assert list(alert) == ["rule", "title", "group", "first", "last", "events", "level", "count"]
    assert alert == {
        "rule": "22222222-2222-4222-8222-222222222222",
        "title": "Brute force",
        "group": {"Host": "a"},
        "first": "2026-03-01T12:00:00Z",
        "last": "2026-03-01T12:03:20Z",
        "events": [1, 2, 5],
        "level": "high",
        "count": 3,
    }
    assert f"{tmp_path / 'log.jsonl'}:4: refused: no readable time: time is 'never'" in result.stderr
    assert "time taken from time: events 5" in result.stderr
    assert "events read 5, refused 1, alerts 1;" in result.stderr


def test_a_single_event_rule_gives_a_line_an_event(tmp_path: Path) -> None:
    file = tmp_path / "one.yml"
    file.write_text(BRUTE.split("---")[0])
    result = run(file, "--events", write(tmp_path / "log.jsonl", [log_on(9), log_on(5)]), "--ignore-logsource")
    assert [(each["group"], each["events"], each["count"]) for each in alerts(result)] == [({}, [2], 1), ({}, [1], 1)]


def test_base_rules_alert_too_where_the_correlation_generates(rules: Path, tmp_path: Path) -> None:
    rules.write_text(BRUTE.replace("timespan: 5m", "timespan: 5m\n  generate: true"))
    log = write(tmp_path / "log.jsonl", [log_on(n) for n in range(3)])
    found = alerts(run(rules, "--events", log, "--ignore-logsource"))
    assert sorted(each["events"] for each in found) == [[1], [1, 2, 3], [2], [3]]


def test_several_files_and_standard_input_are_one_stream(rules: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", [log_on(10), "", log_on(30)])
    result = run(rules, "--events", one, "--events", "-", "--ignore-logsource", stdin=json.dumps(log_on(20)) + "\n")
    (alert,) = alerts(result)
    assert (alert["events"], alert["files"]) == ([1, 3, 1], [str(one), str(one), "-"])


def test_what_is_no_event_is_refused_with_its_place(rules: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    lines = [
        b'\xef\xbb\xbf{"time": 1}',
        b"{",
        b"[1]",
        b'"\xff"',
        b"",
        b'{"x": 1}',
        b'{"time": true}',
        b'{"time": "1"}\r',
    ]
    file.write_bytes(b"\n".join(lines) + b'\n{"time": 2, "long": "' + b"x" * MAX_LINE + b'"}\n{"time": 2}')
    result = run(rules, "--events", file, "--ignore-logsource")
    assert result.exit_code == 0
    refused = [line.split(": refused: ") for line in result.stderr.splitlines() if ": refused: " in line]
    assert [int(place.rsplit(":", 1)[1]) for place, _ in refused] == [2, 3, 4, 6, 7, 9]
    for (_, reason), words in zip(
        refused,
        ["not JSON", "a JSON list, not an object", "not JSON", "no time: a field", "time is 'True'", "longer than"],
        strict=True,
    ):
        assert words in reason
    assert "events read 3, refused 6," in result.stderr


def test_the_exit_code_says_that_nothing_could_be_read(rules: Path, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.jsonl", ["{", "nonsense"])
    assert run(rules, "--events", bad, "--ignore-logsource").exit_code == 1
    assert run(rules, "--events", write(tmp_path / "empty.jsonl", []), "--ignore-logsource").exit_code == 0
    missing = run(rules, "--events", tmp_path / "none.jsonl", "--ignore-logsource")
    assert missing.exit_code == 1
    assert "none.jsonl: No such file" in missing.stderr


def test_the_time_field_may_be_named(rules: Path, tmp_path: Path) -> None:
    events = [log_on(0, Event={"created": f"2026-03-01T0{n}:00:00"}) for n in range(3)]
    log = write(tmp_path / "log.jsonl", events)
    assert len(alerts(run(rules, "--events", log, "--ignore-logsource"))) == 1
    assert alerts(run(rules, "--events", log, "--ignore-logsource", "--time-field", "Event.created")) == []


def test_windows_end_with_the_last_event_and_batches_do_not_show(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(7)
    events = [
        log_on(rng.randrange(20_000), rng.choice("abc"), EventID=rng.choice([4625, "4625", 1])) for _ in range(400)
    ]
    log = write(tmp_path / "log.jsonl", [*events])
    whole = alerts(run(rules, "--events", log, "--ignore-logsource"))
    assert len(whole) > 20
    assert [each["first"] for each in whole] == sorted(each["first"] for each in whole)
    monkeypatch.setattr(rules_run_cli, "BATCH", 7)
    assert alerts(run(rules, "--events", log, "--ignore-logsource")) == whole


def test_events_for_publishing_meet_the_shipped_rules(tmp_path: Path) -> None:
    base = {
        "family": "tip_report",
        "tlp": "TLP:AMBER",
        "text": "plate seen",
        "severity": "HIGH",
        "partner": "tipline-uk",
    }
    entities = [{"type": "vehicle", "value": "KLM-1"}]
    events: list[dict[str, Any] | str] = [
        {**base, "occurred_at": f"2026-03-01T12:0{n}:00Z", "published_at": "2026-03-01T13:00:00Z", "entities": entities}
        for n in range(5)
    ]
    result = run(Settings().rules_path, "--events", write(tmp_path / "tips.jsonl", events))
    assert result.exit_code == 0
    assert {"entity.vehicle": "KLM-1"} in [each["group"] for each in alerts(result)]


def test_a_rule_that_cannot_be_used_is_named(tmp_path: Path, rules: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text("title: x\n")
    log = write(tmp_path / "log.jsonl", [log_on(n) for n in range(3)])
    alone = run(bad, "--events", log)
    assert alone.exit_code == 1
    assert f"refused {bad}:1" in alone.stderr
    both = run(tmp_path, "--events", log, "--ignore-logsource")
    assert both.exit_code == 0
    assert (len(alerts(both)), f"refused {bad}:1" in both.stderr) == (1, True)
    assert run(rules, "--events", rules, "--family", "none").exit_code == 2


@pytest.mark.parametrize("command", ["run", "backtest"])
def test_help_teaches_with_an_example(command: str) -> None:
    shown = runner.invoke(app, ["rules", command, "--help"])
    assert shown.exit_code == 0
    assert f"• tocsin rules {command} --rules " in " ".join(shown.output.split())


def test_files_are_read_in_bounded_pieces(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [{"time": START - n} for n in range(1000)])
    with JsonLines([log], EventTime(), lambda *_: None) as lines:
        lines.read(lambda _: None)
        batches = list(lines.batches(300))
    assert [len(each.events) for each in batches] == [300, 300, 300, 100]
    times = [at for each in batches for at in each.occurred_us]
    assert times == sorted(times)
    assert lines.line(batches[0].numbers[0]) == (str(log), 1000)


def meta(rule_id: str) -> Detection:
    return Detection(RuleMeta(rule_id, "", rule_id, "", "low", "v"), "", Leaf("x", Op.EXISTS, True), True)


def test_alerts_of_two_rulebooks_are_the_same_when_they_share_evidence() -> None:
    def offline(rule: str, number: int, **group: str) -> OfflineAlert:
        return OfflineAlert(meta(rule), group, 0, 0, (number,), False, "")

    def deployed(rule: str, number: int, judged: bool = True, **group: str) -> Deployed:
        return Deployed(rule, "", group, 0, 0, 1, False, "", frozenset({f"e{number}"}), judged)

    alerts = [offline("r", 1, k="a"), offline("r", 2, k="b"), offline("r", 3, k="c"), offline("s", 1, k="a")]
    known = [deployed("r", 1, k="a"), deployed("r", 9, k="b"), deployed("r", 3, k="x"), deployed("r", 8, False, k="a")]
    new, gone = differences(alerts, lambda alert: {f"e{number}" for number in alert.numbers}, known)
    assert new == alerts[1:]
    assert gone == known[1:3]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--from", "soon"], "is no time"),
        (["--from", "2026-03-02", "--to", "2026-03-01"], "is not before"),
        (["--from", "7d", "--family", "none"], "no family"),
    ],
)
def test_a_backtest_that_makes_no_sense_is_refused(rules: Path, words: list[str], reason: str) -> None:
    result = runner.invoke(app, ["rules", "backtest", "--rules", str(rules), *words])
    assert result.exit_code == 2
    assert reason in " ".join(result.output.replace("│", "").split())


def test_a_backtest_without_a_platform_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_CLICKHOUSE_URL", "http://127.0.0.1:9")
    words = ["--rules", str(Settings().rules_path), "--from", "24h", "--data-dir", str(tmp_path)]
    result = runner.invoke(app, ["rules", "backtest", *words])
    assert result.exit_code == 2
    assert "is the platform up" in result.output
