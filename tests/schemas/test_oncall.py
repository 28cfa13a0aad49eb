"""oncall.yml: the demonstration's, and mistakes that are named with file and line and without any secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.channels import Channel, SecretMissingError, resolve
from schemas.durations import seconds_of
from schemas.lifecycle import Matcher
from schemas.matcher_text import parse_matcher
from schemas.oncall import load_oncall
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

FILE = """\
people:
  - id: mira
    name: Mira Falkenrath
    time_zone: Europe/Berlin
    channels:
      - smtp:
          host: 127.0.0.1
          from: tocsin@desk.example
          to: mira@desk.example
          user: tocsin
          password: env:SMTP_PASSWORD
      - webhook:
          url: http://127.0.0.1:9/hook
          secret: file:/run/secrets/hook
        outside: false
      - apprise: env:PAGER
        rate_limit: 5
      - log: true
schedules:
  - id: watch
    name: Watch
    time_zone: Europe/Berlin
    rotations:
      - name: days
        people: [mira]
        start: 2026-01-05
        handover: "08:00"
        restrictions:
          - {days: [mon], from: "08:00", to: "20:00"}
overrides:
  - schedule: watch
    person: mira
    from: 2026-03-01 08:00
    to: 2026-03-01T09:00:00Z
escalation_policies:
  - id: all
    steps:
      - {targets: [watch, mira], timeout: 15m}
default_route:
  policy: all
  group_by: [rule_id]
routes:
  - name: critical
    matchers: [level=critical, 'group.document_number=~"X.+"']
    policy: all
    group_wait: 0s
inhibit_rules:
  - name: near
    source: [level=critical]
    target: [level=low]
    equal: [exercise]
    within: 1h
watchdog:
  every: 1h
  person: mira
"""


def load(tmp_path: Path, text: str = FILE) -> str:
    path = tmp_path / "oncall.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_oncall(path)
    return str(caught.value)


def test_the_demonstration_sends_nothing_anywhere() -> None:
    policy = load_oncall(Settings().oncall_file)
    channels = [channel for person in policy.people for channel in person.channels]
    assert policy.watchdog is not None
    assert policy.watchdog.channel is not None
    assert {channel.kind for channel in [*channels, policy.watchdog.channel]} == {"log"}
    assert not any(channel.outside for channel in channels)
    assert len({person.time_zone for person in policy.people}) > 3


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "oncall.yml").write_text(FILE)
    policy = load_oncall(tmp_path / "oncall.yml")
    mail, hook, pager, log = policy.people[0].channels
    assert [each.kind for each in policy.people[0].channels] == ["smtp", "webhook", "apprise", "log"]
    assert [each.outside for each in (mail, hook, pager, log)] == [True, False, True, False]
    assert [each.address for each in (mail, hook, pager, log)] == [
        "mira@desk.example",
        "http://127.0.0.1:9",
        "env:PAGER",
        "log",
    ]
    assert mail.smtp is not None
    assert (mail.smtp.starttls, mail.smtp.port) == (True, 587)
    assert pager.rate_limit == 5
    assert policy.routes[0].matchers[1] == Matcher(field="group.document_number", op="=~", value="X.+")
    assert policy.escalation_policies[0].steps[0].timeout == 900
    assert (policy.default_route.group_wait, policy.routes[0].group_wait) == (30, 0)


def swap(old: str, new: str) -> str:
    assert FILE.count(old) >= 1
    return FILE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (swap("id: mira", "id: Mira"), ":2: people[0].id: found 'Mira'; "),
        (swap("id: mira", "id: watchdog"), ":2: id: 'watchdog' stands for the watchdog's own channel"),
        (swap("Europe/Berlin", "Europe/Berlim"), ":4: people[0].time_zone: found 'Europe/Berlim'; must be a time zone"),
        (swap("Europe/Berlin", "../etc/passwd"), ":4: people[0].time_zone: found '../etc/passwd'; must be a time zone"),
        (swap("127.0.0.1\n", "''\n"), ":7: people[0].channels[0].smtp.host: found ''; must not be empty"),
        (swap("to: mira@desk.example", "to: mira"), ":9: people[0].channels[0].smtp.to: found 'mira'"),
        (
            swap("          user: tocsin\n", ""),
            ":6: people[0].channels[0].smtp: found an object with 4 fields; user and",
        ),
        (swap("user: tocsin", "user: tocsin\n          starttls: false"), "a password is not sent in the clear"),
        (
            swap("env:PAGER", "env:PAGER\n        log: true"),
            ":16: people[0].channels[2]: found an object with 3 fields",
        ),
        (swap("rate_limit: 5", "rate_limit: 0"), ":17: people[0].channels[2].rate_limit: found 0"),
        (swap("http://127.0.0.1:9/hook", "ftp://127.0.0.1/"), ":13: people[0].channels[1].webhook.url: found"),
        (swap("log: true", "log: false"), ":18: people[0].channels[3].log: found False; must be true"),
        (swap("id: watch", "id: mira"), ":20: id: found 'mira' again, first on line 2"),
        (swap("people: [mira]", "people: [mira, tomas]"), ":25: people: no person 'tomas'; there is mira"),
        (
            swap("start: 2026-01-05", "start: soon"),
            ":26: schedules[0].rotations[0].start: found 'soon'; must be a date",
        ),
        (swap('"08:00"', "20:00"), ":27: schedules[0].rotations[0].handover: found 1200; must be a time of day in quo"),
        (
            swap("days: [mon]", "days: [monday]"),
            ":29: schedules[0].rotations[0].restrictions[0].days[0]: found 'monday'",
        ),
        (swap("schedule: watch", "schedule: night"), ":31: schedule: no schedule 'night'; there is watch"),
        (swap("2026-03-01 08:00", "2026-03-01 10:00"), ":34: to: must be after from"),
        (swap("2026-03-01 08:00", "tomorrow"), ":33: overrides[0].from: found 'tomorrow'; must be a date and time"),
        (swap("[watch, mira]", "[watch, x]"), ":38: targets: no person or schedule 'x'; there is mira, watch"),
        (swap("15m", "15"), ":38: escalation_policies[0].steps[0].timeout: found 15; must be a span of time"),
        (swap("15m", "0s"), ":38: escalation_policies[0].steps[0].timeout: found '0s'; must be greater than 0"),
        (swap("policy: all", "policy: none"), ":40: policy: no escalation policy 'none'; there is all"),
        (swap("[rule_id]", "[rule]"), ":41: group_by: an alert has no field rule; did you mean rule_id?"),
        (
            swap("level=critical, '", "level=urgent, '"),
            ":44: routes[0].matchers[0]: found 'level=urgent'; level is one of",
        ),
        (swap("level=critical, '", "region=DE, '"), "an alert has no field region; did you mean countries?"),
        (swap("level=critical, '", "colour=red, '"), "an alert has no field colour; there are rule_id, "),
        (swap("level=critical, '", "critical, '"), "must be FIELD=VALUE, with =, !=, =~ or !~"),
        (swap("X.+", "X("), ":44: routes[0].matchers[1]: found"),
        (swap("equal: [exercise]", "equal: [where]"), ":51: equal: an alert has no field where"),
        (swap("every: 1h\n  person: mira\n", "every: 1h\n"), "needs a person or a channel"),
        (swap("default_route:\n  policy: all\n  group_by: [rule_id]\n", ""), ":1: default_route: missing"),
        (FILE + "colour: red\n", ":56: colour: not in the contract"),
        ("- 1\n", ":1: expected people, escalation_policies, default_route and so on"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    said = load(tmp_path, text)
    assert f"{tmp_path / 'oncall.yml'}{says}" in said if says.startswith(":") else says in said


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (swap("env:SMTP_PASSWORD", "hunter2-invented"), 11),
        (swap("file:/run/secrets/hook", "hunter2-invented"), 14),
        (swap("file:/run/secrets/hook", "20022002"), 14),
        (swap("http://127.0.0.1:9/hook", "http://tocsin:hunter2-invented@127.0.0.1/"), 13),
        (swap("env:PAGER", "json://tocsin:hunter2-invented@127.0.0.1/"), 16),
        (swap("env:PAGER", "tgram://123456789:hunter2_inventedabcdefghijk/12315544/"), 16),
        (swap("env:PAGER", "tgrm://123456789:hunter2-invented/"), 16),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "oncall.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_oncall(tmp_path / "oncall.yml")
    assert f"oncall.yml:{line}: " in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "20022002" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_address_without_secrets_may_stand_in_the_file() -> None:
    assert Channel.model_validate({"apprise": "json://127.0.0.1:8080/alerts"}).address == "json://127.0.0.1"


def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", "invented")
    (tmp_path / "secret").write_text("invented too\n")
    (tmp_path / "empty").write_text("")
    assert resolve("env:TEST_SECRET") == "invented"
    assert resolve(f"file:{tmp_path}/secret") == "invented too"
    for reference, says in (
        ("env:TEST_NONE", "environment variable TEST_NONE is not set"),
        (f"file:{tmp_path}/none", "cannot be read: No such file"),
        (f"file:{tmp_path}/empty", "is empty"),
    ):
        with pytest.raises(SecretMissingError, match=says):
            resolve(reference)


def test_channels_that_are_alike_are_one() -> None:
    parts = {"webhook": {"url": "http://127.0.0.1/", "secret": "env:A"}}
    assert len({Channel.model_validate(parts), Channel.model_validate(parts)}) == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("1d1h1m1s", 90_061)]
)
def test_spans_of_time(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "15", "15 m", "1m1h", "-5m", "1.5h", "m"])
def test_no_spans_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="no span of time"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("level=critical", Matcher(field="level", value="critical")),
        (' level != "low" ', Matcher(field="level", op="!=", value="low")),
        ("countries=~DE|NL", Matcher(field="countries", op="=~", value="DE|NL")),
        ("group.a-b!~'x=1'", Matcher(field="group.a-b", op="!~", value="x=1")),
        ("tags=", Matcher(field="tags", value="")),
    ],
)
def test_matchers_are_read_as_alertmanager_writes_them(text: str, matcher: Matcher) -> None:
    assert parse_matcher(text) == matcher
    assert parse_matcher(matcher.model_dump()) == matcher
