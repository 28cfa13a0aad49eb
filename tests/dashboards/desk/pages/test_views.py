"""What the pages say: chips, history, deliveries, feeds, rules, quarantine, drills; and that nothing from outside gets
through as HTML."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from dashboards.desk import markup
from dashboards.desk.auth.roles import ROLE_PERMISSIONS, Person
from dashboards.desk.feed_queries import Drill, Feed, QuarantineFilter, Refusals, RuleWork
from dashboards.desk.pages import alert_view, backtest, exercises, feeds, graph, quarantine, rules
from dashboards.desk.pages.alert_actions import offered, targets
from dashboards.desk.pages.alert_subject import Subject
from dashboards.desk.pages.parts import partner_names
from dashboards.desk.partner_view import Eyes
from dashboards.desk.similar import Candidate, Similar
from processors.lifecycle.engine import Lifecycle
from processors.oncall import OnCall
from processors.rule_files import load
from schemas.lifecycle import Action, AlertState, Command
from schemas.oncall import load_oncall
from schemas.partners import load_partners
from schemas.settings import PACKAGE_ROOT, Settings
from tests.dashboards.desk.pages import sample
from tests.dashboards.desk.pages.sample import as_alert, noon

HOSTILE = "<img src=x onerror=alert(1)>\"'&"
PARTNERS = load_partners(Settings().partners_file).by_id


def lifecycle_of(*numbers: int) -> Lifecycle:
    engine = Lifecycle(OnCall(load_oncall(Settings().oncall_file)))
    for number in numbers:
        engine.on_alert(as_alert(sample.records(noon())[number]), noon())
    return engine


def state_of(number: int = 0, **changes: object) -> AlertState:
    return next(iter(lifecycle_of(number).states.values())).model_copy(update=changes)


def test_what_comes_from_outside_is_text() -> None:
    made = markup.table(HOSTILE, [HOSTILE], [[HOSTILE]], numeric=[HOSTILE])
    linked = markup.link(HOSTILE, f"/alerts/{HOSTILE}", rule=HOSTILE)
    for text in (made, linked, markup.badge(HOSTILE, title=HOSTILE), markup.sparkline([1], HOSTILE)):
        assert "<img" not in text
        assert 'onerror=alert(1)>"' not in text
    assert "&lt;img src=x" in made


def test_a_hostile_alert_becomes_text_in_every_part_of_the_page() -> None:
    record = sample.records(noon())[0]
    record |= {"story": HOSTILE, "group": {HOSTILE: HOSTILE}, "partners": [HOSTILE]}
    for item in record["evidence"]:
        item |= {"partner": HOSTILE, "place": HOSTILE, "summary": HOSTILE, "clauses": [HOSTILE]}
        item["matched"] = {HOSTILE: HOSTILE}
        item["entities"] = [{"type": "document", "value": HOSTILE, "role": HOSTILE}]
    record["rule"] |= {"title": HOSTILE, "description": HOSTILE, "tags": [HOSTILE]}
    alert = as_alert(record)
    action = Action(
        action_id="1", alert_id="a", verb="note", by=HOSTILE, via="desk", at=noon(), text=HOSTILE, reason=HOSTILE
    )
    parts = [
        alert_view.chips(alert, None, noon()),
        alert_view.about(alert, {}),
        alert_view.evidence(alert, {}),
        alert_view.entities(graph.entities(alert), {}),
        alert_view.explanation(alert),
        alert_view.history([action, action.model_copy(update={"accepted": False})]),
    ]
    assert all("<img" not in part for part in parts)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "open, nobody has taken it"),
        ({"assignee": "anna"}, "open again; anna had it"),
        (
            {"state": "acknowledged", "acknowledged_by": "ben", "acknowledged_until": noon() + timedelta(minutes=12)},
            "acknowledged by ben for 12 min more",
        ),
        ({"state": "assigned", "assignee": "mira"}, "assigned to mira"),
        ({"state": "in_progress", "assignee": "mira"}, "mira works on it"),
        ({"state": "closed", "verdict": "false_positive", "closed_by": "ben"}, "closed as false positive by ben"),
        ({"superseded_by": "b"}, "goes on as another alert"),
    ],
)
def test_the_state_in_words(changes: dict[str, object], said: str) -> None:
    assert alert_view.state_words(state_of(**changes), noon()) == said


def test_history_tells_who_what_when_and_why_and_refusals_as_well() -> None:
    engine = lifecycle_of(0)
    state = next(iter(engine.states.values()))
    first = Command(
        command_id="1", verb="acknowledge", alert_id=state.alert_id, by="ben", via="desk", at=noon(), revision=1,
        text="on it",
    )  # fmt: skip
    second = first.model_copy(update={"command_id": "2", "by": "mira", "verb": "assign", "assignee": "mira"})
    done = [engine.on_command(each, noon()).actions[0] for each in (first, second)]
    made = alert_view.history(reversed(done))
    assert "on it" in made
    assert "→ acknowledged" in made
    assert "refused" in made
    assert made.index("mira") < made.index("on it")


def test_only_what_state_and_role_allow_is_offered() -> None:
    state = state_of()
    assert offered(state, lambda verb: True) == ["acknowledge", "assign", "start", "note", "close", "merge", "silence"]
    assert offered(state, lambda verb: verb == "silence") == ["silence"]
    assert offered(state, lambda verb: False) == []
    closed = state.model_copy(update={"state": "closed", "verdict": "benign"})
    assert offered(closed, lambda verb: True) == ["note", "reopen"]


def test_merging_offers_what_shares_the_group_first() -> None:
    states = list(lifecycle_of(0, 1, 2).states.values())
    mine = next(state for state in states if state.alert_id == sample.VANISHED)
    assert list(targets(mine, states)) == [sample.TWO_BORDERS, sample.EARLIER]


def test_the_table_of_similar_alerts_says_how_each_ended() -> None:
    made = alert_view.similar([])
    assert "None." in made
    past = Candidate("x", "r", "R", "high", False, "story", {}, (), noon(), verdict="true_positive")
    assert "true positive" in alert_view.similar([Similar(past, 3, ("same rule",))])


def feed(partner: str, silent_s: float = 0, transport: tuple[float, float] = (300.0, 500.0)) -> Feed:
    last = noon() - timedelta(seconds=silent_s)
    return Feed(partner, "border_crossing", 1.0, 100, 0, 0, (0.0, 0.0), transport, last, (1,) * 60)


def test_partners_that_need_attention_come_first() -> None:
    found = feeds.summarise(
        PARTNERS,
        [
            feed("hub-ke"),
            feed("bpol-de", silent_s=300),
            feed("fiu-nl"),
            feed("rail-at", transport=(90_000.0, 99_000.0)),
        ],
        [Refusals("fiu-nl", "financial_transaction", {"undecodable": 9})],
        noon(),
    )
    assert [(each.partner.id, each.status) for each in found[:4]] == [
        ("bpol-de", "silent"),
        ("fiu-nl", "refusing"),
        ("rail-at", "late"),
        ("cert-fr", "never"),
    ]
    assert found[-1].status == "ok"
    assert "3 of 8 partners need attention: Border Police, Germany (silent)" in feeds.headline(found)
    made = feeds.partner_table(found)
    assert "/quarantine?partner=fiu-nl&amp;reason=undecodable" in made
    assert "9 (8.3%, limit 2%)" in made


def test_rules_show_their_quality_by_closing_verdicts() -> None:
    book = load([PACKAGE_ROOT / "processors" / "rules" / "border" / "document_two_continents.yml"])
    rule = book.correlations[0].meta
    work = RuleWork(rule.id, rule.title, 8, 2, {"true_positive": 3, "false_positive": 1, "open": 4}, noon())
    gone = RuleWork("gone", "A rule of yesterday", 1, 0, {"open": 1}, noon())
    found = rules.lines(book, [work, gone], {rule.id: 40})
    assert [(each.rule_id, each.signals, each.owner) for each in found] == [
        (rule.id, 40, "border-desk"),
        ("gone", 0, ""),
    ]
    assert found[0].share("true_positive") == 0.75
    assert found[1].share("true_positive") is None
    made = rules.rule_table(found, 7, rule.id)
    assert "75% of 4" in made
    assert "not in force" in made
    assert "Hold the later traveller" in rules.describe(book, rule.id)


def test_rules_are_read_again_when_a_file_changes(tmp_path: Path) -> None:
    source = PACKAGE_ROOT / "processors" / "rules" / "border" / "document_two_continents.yml"
    copy = tmp_path / "a.yml"
    copy.write_text(source.read_text())
    books = rules.Books(tmp_path)
    assert books.at_hand() is None
    assert len(books.get().correlations) == 1
    assert books.at_hand() is books.get()
    copy.unlink()
    assert books.at_hand() is None


def test_a_back_test_is_read_and_drawn() -> None:
    outcome = backtest.outcome_of(
        {
            "from": "2026-03-01T00:00:00Z",
            "to": "2026-03-08T00:00:00Z",
            "events": 12_000,
            "alerts_per_day": {"2026-03-02": 3, "2026-03-05": 1},
            "per_rule": [{"title": "A", "alerts": 4}, {"title": "B", "alerts": 0}],
            "new": [{}],
            "gone": [],
        }
    )
    assert outcome.rules == (("A", 4),)
    assert outcome.text.startswith("4 alerts over 12,000 events")
    assert backtest.options(outcome)["series"][0]["data"] == [3, 1]
    assert backtest.told(outcome) == "Alerts a day: 2026-03-02 3, 2026-03-05 1"


async def test_a_back_test_that_fails_says_what_the_command_said(tmp_path: Path) -> None:
    said: list[str] = []
    nowhere = tmp_path / "no-rules"
    with pytest.raises(backtest.BacktestError, match="no such file or folder"):
        await backtest.run(Settings(data_dir=tmp_path), nowhere, 1, said.append)
    assert said


async def test_one_back_test_at_a_time_at_a_low_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = '{"from": "a", "to": "b", "events": 7, "alerts_per_day": {}, "per_rule": [], "new": [], "gone": []}'
    # Answers once it is nice enough, which it is made from outside.
    script = f"import os, time\nwhile os.nice(0) < {backtest.NICE}: time.sleep(0.01)\nprint('{told}')"
    monkeypatch.setattr(backtest, "command", lambda *_: [sys.executable, "-c", script])
    settings, other = Settings(data_dir=tmp_path), Settings(data_dir=tmp_path / "other")

    def go(which: Settings) -> asyncio.Task[backtest.Outcome]:
        return asyncio.create_task(backtest.run(which, tmp_path, 1, lambda _: None))

    first, second, elsewhere = go(settings), go(settings), go(other)
    with pytest.raises(backtest.BacktestError, match="Another back-test runs"):
        await second
    assert (await first).events == (await elsewhere).events == 7
    again = go(settings)
    await asyncio.sleep(0)
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again
    assert (await go(settings)).events == 7


def test_an_alert_is_seen_by_whom_record_and_state_both_concern() -> None:
    record, state = as_alert(sample.records(noon())[0]), state_of()
    pat = Person("pat", "partner", "Pat", ROLE_PERMISSIONS["partner"], partner=record.partners[0])
    others = [each for each in record.partners if each != pat.partner]
    assert Subject(record.alert_id, Eyes(), record, state).seen_by(pat)
    assert Subject(record.alert_id, Eyes(), None, state).seen_by(pat)
    assert not Subject(record.alert_id, Eyes(), record, state.model_copy(update={"partners": others})).seen_by(pat)
    assert not Subject(record.alert_id, Eyes()).seen_by(pat)


def test_refused_bytes_are_readable() -> None:
    assert quarantine.hexdump(bytes(range(60, 78)).hex()).splitlines() == [
        "000000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK",
        "000010  4c 4d                                            LM",
    ]
    assert quarantine.hexdump("") == ""


def test_the_address_chooses_refused_records_and_nonsense_is_left_out() -> None:
    assert quarantine.choice_of({"partner": "fiu-nl", "limit": "7"}) == QuarantineFilter("fiu-nl", limit=7)
    assert quarantine.choice_of({"limit": "-4"}).limit == 100
    assert quarantine.choice_of({"limit": "99999"}).limit == 100
    form = quarantine.filters(QuarantineFilter(partner=HOSTILE), [], {})
    assert "<img" not in form
    assert 'selected=""' in form


def test_drills_are_scored_by_what_they_were_to_bring_about() -> None:
    def drill(number: int, verdict: str, taken_s: int | None) -> Drill:
        created = noon() + timedelta(seconds=2)
        taken = created + timedelta(seconds=taken_s) if taken_s else None
        return Drill(str(number), "R", "high", "s", ("rail-at",), noon(), created, "closed", verdict, taken)

    found = exercises.scores([drill(1, "exercise", 60), drill(2, "false_positive", 120), drill(3, "", None)])
    assert found == [exercises.Score("R", 3, 1, 1, 1, 2.0, 90.0)]
    assert exercises.headline([]) == "No exercise gave an alert in the last 30 days."


def test_a_broken_list_of_partners_leaves_the_names_known_last(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, partners_file=tmp_path / "partners.yml")
    assert partner_names(settings) == {}
    good = Settings().partners_file.read_text()
    settings.partners_file.write_text(good)
    known = partner_names(settings)
    assert known["hub-ke"]
    settings.partners_file.write_text("- id: [")
    os.utime(settings.partners_file, (1, 1))
    assert partner_names(settings) == known
    settings.partners_file.unlink()
    assert partner_names(settings) == known
