"""CAP messages: valid by the specification's XML schema for any text, repeatable, and telling what they replace."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from lxml import etree

from processors.export.cap import Message, cap_alert, message_of, revision_of
from schemas.alerts import Alert
from schemas.lifecycle import AlertState
from tests.dashboards.engine import evidence
from tests.processors.export.samples import SUPERSEDED, alert_with, alerts_and_states, later_than, state_of

SCHEMA = etree.XMLSchema(etree.parse(str(Path(__file__).with_name("CAP-v1.2.xsd"))))
SENDER = "watch@tocsin.example"


def exported(
    alert: Alert, state: AlertState | None = None, previous: tuple[Message, ...] = (), web: str | None = None
) -> etree._Element:
    """The message, valid, without its name space."""
    text = cap_alert(alert, state, sender=SENDER, previous=previous, web=web)
    root = etree.fromstring(text)
    SCHEMA.assertValid(root)
    for each in root.iter():
        each.tag = etree.QName(each).localname
    return root


def parameters(root: etree._Element) -> dict[str, str]:
    return {each.findtext("valueName"): each.findtext("value") for each in root.iterfind("info/parameter")}


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(alerts_and_states())
def test_any_alert_gives_a_valid_message_and_again_the_same(drawn: tuple[Alert, AlertState | None]) -> None:
    alert, state = drawn
    root = exported(alert, state, web="https://desk.example/alerts/1")
    assert cap_alert(alert, state, sender=SENDER) == cap_alert(alert.model_copy(deep=True), state, sender=SENDER)
    assert root.findtext("status") == ("Exercise" if alert.exercise else "Actual")
    assert root.findtext("scope") == "Restricted"
    assert root.findtext("restriction").startswith("TLP:")
    assert not set(root.findtext("identifier")) & set(" ,<&\t\n")
    assert (root.findtext("msgType") == "Alert") is (root.find("references") is None)
    assert all(area.findtext("areaDesc") for area in root.iterfind("info/area"))
    assert root.find("info/area") is not None
    assert len(root.findtext("info/headline") or "") <= 160


def test_a_live_alert_as_receivers_read_it() -> None:
    alert = alert_with(exercise=False, tlp="AMBER_STRICT")
    alert.rule.response = "Call the duty officer."
    root = exported(alert, state_of(alert), web="https://desk.example/alerts/1")
    assert root.findtext("identifier") == f"{alert.alert_id}.r1"
    assert root.findtext("sender") == SENDER
    assert root.findtext("sent") == alert.updated_at.strftime("%Y-%m-%dT%H:%M:%S-00:00")
    assert root.findtext("status") == "Actual"
    assert root.findtext("msgType") == "Alert"
    assert root.findtext("restriction").startswith("TLP:AMBER+STRICT.")
    assert root.find("note") is None
    assert [each.text for each in root.iterfind("info/category")] == ["Security", "Transport"]
    assert root.findtext("info/event") == "One document at two distant borders"
    assert root.findtext("info/urgency") == "Expected"
    assert root.findtext("info/severity") == "Severe"
    assert root.findtext("info/certainty") == "Likely"
    assert root.findtext("info/instruction") == "Call the duty officer."
    assert root.findtext("info/web") == "https://desk.example/alerts/1"
    areas = [(each.findtext("areaDesc"), each.findtext("circle")) for each in root.iterfind("info/area")]
    assert areas[0] == ("Frankfurt (Oder), DE", "52.34000,14.55000 1")
    assert len(areas) == 4
    told = parameters(root)
    assert told["alert_id"] == alert.alert_id
    assert told["rule_id"] == "c0ffee"
    assert told["priority"] == "P2"


def test_a_drill_cannot_be_taken_for_an_alert() -> None:
    root = exported(alert_with(exercise=True))
    assert root.findtext("status") == "Exercise"
    assert root.findtext("note").startswith("EXERCISE")
    assert root.findtext("info/headline").startswith("EXERCISE: ")
    assert root.findtext("info/description").startswith("EXERCISE: ")


def test_an_update_refers_to_its_predecessors() -> None:
    first = alert_with(2)
    later = later_than(first, 4, version=3)
    original = exported(first)
    root = exported(later)
    assert root.findtext("msgType") == "Update"
    assert root.findtext("references") == ",".join(original.findtext(name) for name in ("sender", "identifier", "sent"))
    second = Message(f"{first.alert_id}.v2", first.updated_at + timedelta(minutes=1))
    both = exported(later, previous=(second, message_of(first), message_of(later)))
    assert [each.split(",")[1] for each in both.findtext("references").split()] == [
        f"{first.alert_id}.v1",
        f"{first.alert_id}.v2",
    ]


def test_an_alert_that_goes_on_under_another_id_refers_to_the_old_one() -> None:
    old = Message(f"{SUPERSEDED}.v2", alert_with().created_at)
    root = exported(alert_with(supersedes=[SUPERSEDED]), previous=(old,))
    assert root.findtext("msgType") == "Update"
    assert f",{SUPERSEDED}.v2," in root.findtext("references")
    assert SUPERSEDED in root.findtext("incidents").split()
    assert parameters(root)["supersedes"] == SUPERSEDED


@pytest.mark.parametrize(
    ("alert_changes", "state_changes", "kind", "urgency", "certainty"),
    [
        ({"status": "retracted", "version": 2}, None, "Cancel", "Past", "Unlikely"),
        ({"status": "superseded", "superseded_by": SUPERSEDED, "version": 2}, None, "Cancel", "Past", "Likely"),
        ({}, {"revision": 3, "state": "closed", "verdict": "false_positive"}, "Cancel", "Past", "Unlikely"),
        ({}, {"revision": 3, "state": "closed", "verdict": "duplicate"}, "Cancel", "Past", "Likely"),
        ({}, {"revision": 3, "state": "closed", "verdict": "true_positive"}, "Update", "Past", "Observed"),
        ({}, {"revision": 2, "state": "acknowledged", "priority": "P1"}, "Update", "Immediate", "Likely"),
        ({"confidence": 40}, {"revision": 2, "priority": "P4"}, "Update", "Future", "Possible"),
    ],
)
def test_what_became_of_it_shows(
    alert_changes: dict[str, object],
    state_changes: dict[str, object] | None,
    kind: str,
    urgency: str,
    certainty: str,
) -> None:
    alert = alert_with(**alert_changes)
    state = state_of(alert, **state_changes) if state_changes else None
    root = exported(alert, state)
    assert root.findtext("msgType") == kind
    assert root.findtext("info/urgency") == urgency
    assert root.findtext("info/certainty") == certainty
    first = revision_of(alert.alert_id, 1, alert.created_at).identifier if state else f"{alert.alert_id}.v1"
    assert root.findtext("references").split(",")[1] == first


def test_without_coordinates_places_and_countries_are_named() -> None:
    items = [evidence(number, lat=None, lon=200.0) for number in range(2)]
    root = exported(alert_with(evidence=items, lat=None, lon=None))
    (area,) = root.iterfind("info/area")
    assert area.findtext("areaDesc") == "Frankfurt (Oder), Wien Hauptbahnhof, AT, DE"
    assert area.find("circle") is None
    assert [each.findtext("value") for each in area.iterfind("geocode")] == ["AT", "DE"]
    nowhere = exported(alert_with(evidence=items, lat=None, lon=None, places=[], countries=[]))
    assert nowhere.findtext("info/area/areaDesc") == "Place not known"


def test_text_that_xml_cannot_carry_is_left_out() -> None:
    alert = alert_with(story="a\x00b\x1b]0;c\x07 <script>&amp;\r\nnext\u2028\ufffe\U0001f6a8")
    root = exported(alert, previous=(Message("x", alert.created_at),))
    assert "ab]0;c <script>&amp;\nnext\u2028\U0001f6a8" in root.findtext("info/description")


def test_two_hundred_pieces_of_evidence() -> None:
    items = [evidence(number, lat=number / 10, lon=-number / 10) for number in range(200)]
    root = exported(alert_with(evidence=items))
    assert len(list(root.iterfind("info/area"))) == 50
