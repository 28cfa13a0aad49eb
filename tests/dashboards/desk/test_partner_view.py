"""What a partner's account is shown: nothing that is not its own leaks, whatever the alert says."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dashboards.desk.partner_view import HELD_BACK, Eyes, as_seen
from dashboards.desk.similar import Candidate
from schemas.alerts import TLP_ORDER, Alert
from schemas.lifecycle import Action
from tests.dashboards.desk.states import NOW, state
from tests.dashboards.engine import alert, evidence

SECRET = "SECRET"
"""Is in whatever a partner must not see of others, and in nothing else."""
MINE = "fiu-nl"


def eyes(*visible: str) -> Eyes:
    return Eyes(MINE, {f"{SECRET}-anna": "watch_officer"}, visible.__contains__)


@st.composite
def items(draw: st.DrawFn) -> dict[str, Any]:
    number, partner, tlp = (
        draw(st.integers(0, 3)),
        draw(st.sampled_from([MINE, "bka-de"])),
        draw(st.sampled_from(TLP_ORDER)),
    )
    hidden = partner != MINE and tlp in ("AMBER_STRICT", "RED")
    word = SECRET if hidden else "plain"
    return evidence(
        number,
        partner=partner,
        tlp=tlp,
        event_id=word,
        place=word,
        country=word,
        summary=word,
        rule_id=word,
        rule_title=word,
        topic=word,
        clauses=[word],
        matched={word: word},
        entities=[{"type": "person", "value": word, "role": word}],
        lat=draw(st.floats(1, 2)),
        lon=draw(st.floats(1, 2)),
    )


@settings(max_examples=200)
@given(st.lists(items(), min_size=1, max_size=5))
def test_only_evidence_that_may_be_shown_is(found: list[dict[str, Any]]) -> None:
    whole = Alert.model_validate(alert("a", evidence=found, evidence_total=len(found)))
    held = [SECRET in each.summary for each in whole.evidence]
    if any(held):
        told = {"story": SECRET, "explain": {SECRET: SECRET}, "places": [SECRET], "countries": [SECRET]}
        whole = whole.model_copy(update=told)
    seen = as_seen(whole, eyes())
    assert SECRET not in seen.model_dump_json()
    assert len(seen.evidence) == len(whole.evidence)
    for before, after, is_held in zip(whole.evidence, seen.evidence, held, strict=True):
        assert (after == before) is not is_held
        assert (after.partner, after.family, after.occurred_at) == (before.partner, before.family, before.occurred_at)
        assert not is_held or (after.lat, after.lon, after.entities, after.summary) == (None, None, [], HELD_BACK)
    assert any(held) or seen == whole


@given(st.sampled_from(TLP_ORDER), st.data())
def test_states_name_no_officer_and_no_alert_of_others(tlp: str, data: st.DataObject) -> None:
    strict = tlp in ("AMBER_STRICT", "RED")
    ids = ["seen", f"{SECRET}-alert"]
    chosen = {name: data.draw(st.sampled_from(ids)) for name in ("inhibited_by", "merged_into", "superseded_by")}
    lists = {name: data.draw(st.lists(st.sampled_from(ids))) for name in ("merged", "supersedes")}
    officers = dict.fromkeys(("assignee", "acknowledged_by", "closed_by"), f"{SECRET}-anna")
    told = {"story": SECRET, "places": [SECRET], "countries": [SECRET], "lat": 1.5} if strict else {}
    whole = state("a", tlp=tlp, notes=3, silences=[SECRET], group_key=SECRET, **chosen, **lists, **officers, **told)
    seen = as_seen(whole, eyes("seen"))
    assert SECRET not in seen.model_dump_json()
    assert (seen.assignee, seen.notes, bool(seen.silences)) == ("watch officer", 0, True)
    for name, value in chosen.items():
        assert getattr(seen, name) == ("seen" if value == "seen" else None)
    assert seen.lat == whole.lat or strict


@given(
    st.sampled_from(["note", "close", "merge", "split", "assign", "silence", "inhibited", "updated"]),
    st.sampled_from(["desk", "api", "cli"]),
    st.booleans(),
)
def test_history_says_what_was_done_not_by_whom_or_why(verb: Any, via: Any, accepted: bool) -> None:
    other = f"{SECRET}-alert"
    details = {
        **dict.fromkeys(("target", "taken_from", "merge", "split", "superseded_by", "inhibited_by"), other),
        **{name: [other] for name in ("supersedes", "silences", "before")},
        "assignee": f"{SECRET}-ben",
        "silence": {"reason": SECRET},
        "verdict": "benign",
    }
    whole = Action(
        action_id="1", command_id=SECRET, alert_id=other, verb=verb, by=f"{SECRET}-anna", via=via, at=NOW,
        accepted=accepted, reason=SECRET, text=SECRET, details=details,
    )  # fmt: skip
    seen = as_seen(whole, eyes())
    assert SECRET not in seen.model_dump_json()
    assert (seen.verb, seen.at, seen.by, seen.details["verdict"]) == (verb, NOW, "watch officer", "benign")
    by_machine = whole.model_copy(update={"by": "anna (cli)"})
    assert as_seen(by_machine, eyes()).by == "watch desk"


def test_similar_alerts_are_named_by_their_rule() -> None:
    whole = Candidate("a", "r", "A rule", "high", False, SECRET, {}, (MINE,), NOW - timedelta(days=1))
    assert SECRET not in str(dataclasses.asdict(as_seen(whole, eyes())))


def test_everybody_else_sees_everything() -> None:
    whole = state("a", tlp="RED", assignee="anna", inhibited_by="x")
    assert as_seen(whole, Eyes()) is whole
