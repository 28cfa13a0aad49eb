"""What a silence would have hidden, and how a row, an alarm and a sound come about."""

from __future__ import annotations

import io
import wave
from datetime import timedelta

import pytest

from dashboards.alerts import Store, StoreAwayError
from dashboards.desk.dialogs import matchers_of, preview_text
from dashboards.desk.frame import is_urgent
from dashboards.desk.rows import marks_of, row_of, who_has
from dashboards.desk.scope import Scope, preview
from dashboards.desk.sound import alarm
from schemas.lifecycle import Matcher
from schemas.settings import Settings
from tests.dashboards.desk.pages.sample import state_row
from tests.dashboards.desk.states import NOW, state
from tests.dashboards.engine import EngineClient

RULE = [Matcher(field="rule_id", value="c0ffee")]


def away() -> Store:
    def connect() -> None:
        raise StoreAwayError("away")

    return Store(Settings(), connector=connect)  # type: ignore[arg-type]


def test_scope_counts_what_matches_within_seven_days() -> None:
    old = NOW - timedelta(days=8)
    known = [
        state("a", raised_at=NOW - timedelta(hours=1), rule_title="Latest"),
        state("b", state="closed", priority="P1"),
        state("other", rule_id="beef"),
        state("old", raised_at=old, last_event_at=old),
    ]
    found = preview(away(), RULE, None, NOW, known=known)
    assert (found.total, found.active, found.complete) == (2, 1, False)
    assert found.counts == {"P1": 1, "P2": 1, "P3": 0, "P4": 0}
    assert found.alert_ids == ["b", "a"]


def test_scope_is_said_in_a_sentence() -> None:
    assert preview_text(Scope()) == "In the last 7 days it would have hidden nothing."
    hidden = [state("a", priority="P1", rule_title="Latest"), state("b", state="closed")]
    found = Scope(hidden, alerts=9, complete=False)
    assert preview_text(found) == (
        "In the last 7 days it would have hidden 2 alerts (1 P1, 1 P2); 1 of them active now. Latest: Latest. "
        "Not all could be looked at: some may be missing."
    )


def test_a_silence_begins_with_the_alert_and_hides_it() -> None:
    seen = state("a", exercise=True)
    assert [each.field for each in matchers_of(seen)] == ["rule_id", "group.document_number", "exercise"]
    assert preview(away(), matchers_of(seen), None, NOW, known=[seen, state("live")]).alert_ids == ["a"]


def test_a_maintenance_window_hides_alerts_about_its_feed() -> None:
    feed = state("feed", kind="platform", group={"partner": "fiu-nl"}, rule_id="feed")
    known = [feed, state("other", partners=["fiu-nl"]), state("dog", tags=["platform.watchdog"])]
    found = preview(away(), [], "fiu-nl", NOW, known=known)
    assert (found.alert_ids, found.alerts) == (["feed"], 2)
    assert preview(away(), RULE, "fiu-nl", NOW, known=known).alert_ids == ["other", "feed"]


def test_without_memory_the_store_has_to_answer() -> None:
    with pytest.raises(StoreAwayError):
        preview(away(), RULE, None, NOW)


def test_what_is_forgotten_is_found_in_the_store(engine: EngineClient, store: Store) -> None:
    long_ago = NOW - timedelta(days=20)
    stored = [
        state("closed", state="closed"),
        state("grown", raised_at=long_ago),
        state("touched", raised_at=long_ago, last_event_at=long_ago),
        state("known", state="closed", rule_id="beef"),
    ]
    engine.insert("alert_states", [state_row(each) for each in stored])
    found = preview(store, RULE, None, NOW, known=[state("known")])
    assert (sorted(found.alert_ids), found.alerts, found.complete) == (["closed", "grown", "known"], 3, True)
    assert preview(store, RULE, None, NOW, days=30).total == 3


def test_rows_say_who_has_it_and_why_it_is_held_back() -> None:
    assert who_has(state("a")) == ""
    assert who_has(state("a", state="acknowledged", acknowledged_by="anna")) == "anna"
    assert who_has(state("a", state="in_progress", assignee="bruno")) == "bruno"
    assert who_has(state("a", state="closed", closed_by="anna", verdict="benign")) == "anna, Benign"
    assert marks_of(state("a", silences=["s"], merged_into="b")) == "silenced, merged"
    row = row_of(state("a", story="word " * 90, level="odd", places=["A", "B", "A", "C", "D"]))
    assert row["story"].endswith(" …")
    assert len(row["story"]) < 230
    assert (row["level"], row["where"], row["tlp"]) == ("informational", "A, B, C +1", "TLP:AMBER")


def test_what_is_urgent() -> None:
    assert is_urgent(state("a", priority="P1"))
    assert is_urgent(state("a", level="critical"))
    assert not is_urgent(state("a"))
    for taken in ({"state": "acknowledged"}, {"silences": ["s"]}, {"inhibited_by": "i"}, {"withdrawn": True}):
        assert not is_urgent(state("a", priority="P1", **taken))


def test_the_alarm_is_a_short_sound_that_does_not_clip() -> None:
    with wave.open(io.BytesIO(alarm())) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert 0.3 < file.getnframes() / file.getframerate() < 2
        frames = file.readframes(file.getnframes())
    samples = memoryview(frames).cast("h")
    assert max(samples) < 20_000
    assert abs(samples[0]) < 500
