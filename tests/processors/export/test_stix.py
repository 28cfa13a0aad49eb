"""STIX bundles: valid by the specification's JSON schemas and best practices, read back by the library, repeatable."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import stix2
from hypothesis import HealthCheck, Phase, given, settings
from stix2validator import ValidationOptions, validate_parsed_json

from processors.export.stix import bundle, to_json
from schemas.alerts import Alert
from schemas.lifecycle import AlertState
from tests.dashboards.engine import evidence
from tests.processors.export.samples import (
    ENTITY_TYPES,
    SUPERSEDED,
    alert_with,
    alerts_and_states,
    later_than,
    state_of,
)

# UUIDv4 for domain objects is what the specification recommends; ours are UUIDv5 so that an export can be repeated.
STRICT = ValidationOptions(version="2.1", strict=True, disabled="uuid-check", enforce_refs=True)
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Json = dict[str, Any]


def exported(alert: Alert, state: AlertState | None = None) -> Json:
    """The bundle, valid, and the same after the library has read it."""
    text = to_json(bundle(alert, state, {"bpol-de": "Border Police, Germany"}))
    found: Json = json.loads(text)
    results = validate_parsed_json(found, STRICT)
    assert [str(each) for each in (*results.errors, *results.warnings)] == []
    assert to_json(stix2.parse(text)) == text
    return found


def of_type(found: Json, kind: str) -> list[Json]:
    return [each for each in found["objects"] if each["type"] == kind]


def tlp_of(found: Json, each: Json) -> str:
    names = {marking["id"]: str(marking["name"]) for marking in of_type(found, "marking-definition")}
    (ref,) = each["object_marking_refs"]
    return names[ref]


# The validator takes long, so that a failure is shown as it was found.
@settings(SLOW, max_examples=12, phases=set(Phase) - {Phase.shrink})
@given(alerts_and_states())
def test_any_alert_gives_a_valid_bundle(drawn: tuple[Alert, AlertState | None]) -> None:
    exported(*drawn)


@settings(SLOW, max_examples=60)
@given(alerts_and_states())
def test_exporting_again_gives_the_same_bytes_and_the_library_reads_them(
    drawn: tuple[Alert, AlertState | None],
) -> None:
    alert, state = drawn
    text = to_json(bundle(alert, state))
    assert to_json(bundle(alert.model_copy(deep=True), state)) == text
    assert to_json(stix2.parse(text)) == text
    objects = json.loads(text)["objects"]
    ids = [each["id"] for each in objects]
    assert len(ids) == len(set(ids))
    refs = {ref for each in objects for name in each if name.endswith("_refs") for ref in each[name]}
    assert refs <= set(ids)


def test_a_report_holds_sightings_by_partner_over_one_observation_a_piece() -> None:
    found = exported(alert_with(6))
    (report,) = of_type(found, "report")
    sightings = of_type(found, "sighting")
    assert {each["count"] for each in sightings} == {1, 2}
    assert sum(each["count"] for each in sightings) == len(of_type(found, "observed-data")) == 6
    (incident,) = of_type(found, "incident")
    assert {each["sighting_of_ref"] for each in sightings} == {incident["id"]}
    names = {each["id"]: each["name"] for each in of_type(found, "identity")}
    assert {names[ref] for each in sightings for ref in each["where_sighted_refs"]} == {
        *("Border Police, Germany", "hub-ke", "rail-at", "tipline-uk")
    }
    assert names[report["created_by_ref"]] == "Tocsin"
    assert {*(each["id"] for each in sightings), incident["id"]} <= set(report["object_refs"])
    assert {each["country"] for each in of_type(found, "location")} == {"DE", "AT", "KE", "GB"}


def test_entities_become_the_objects_that_stix_has_for_them() -> None:
    values = {"ip": "2001:DB8::7", "domain": "Mail.example.", "file_hash": "A" * 64, "device": "00-53-00-AA-BB-CC"}
    entities = [{"type": kind, "value": values.get(kind, f"the {kind}"), "role": "seen"} for kind in ENTITY_TYPES]
    found = exported(alert_with(evidence=[evidence(0, entities=[*entities, {"type": "ip", "value": "192.0.2.7"}])]))
    (observed,) = of_type(found, "observed-data")
    assert len(observed["object_refs"]) == len(ENTITY_TYPES) + 1
    assert of_type(found, "ipv6-addr")[0]["value"] == "2001:db8::7"
    assert of_type(found, "ipv4-addr")[0]["value"] == "192.0.2.7"
    assert of_type(found, "domain-name")[0]["value"] == "mail.example"
    assert of_type(found, "file")[0]["hashes"] == {"SHA-256": "a" * 64}
    assert of_type(found, "mac-addr")[0]["value"] == "00:53:00:aa:bb:cc"
    assert of_type(found, "user-account")[0]["user_id"] == "the account"
    classes = {each["name"]: each["identity_class"] for each in of_type(found, "identity")}
    assert classes["the person"] == "individual"
    assert classes["the organisation"] == "organization"
    ours = {each["entity_type"] for each in of_type(found, "tocsin-entity")}
    assert ours == {"person", "document", "phone", "vehicle", "organisation", "place"}
    (extension,) = [each for each in of_type(found, "extension-definition") if each["name"] == "tocsin-entity"]
    assert all(extension["id"] in each["extensions"] for each in of_type(found, "tocsin-entity"))
    (said,) = observed["extensions"].values()
    assert [each["role"] for each in said["entities"][:-1]] == ["seen"] * len(ENTITY_TYPES)
    assert {each["field"]: each["value"] for each in said["matched"]}["document_number"] == "X1234567"


def test_every_object_has_the_strictest_level_of_its_evidence() -> None:
    shared, own = {"type": "document", "value": "X1"}, {"type": "document", "value": "X2"}
    items = [evidence(0, tlp="GREEN", entities=[shared, own]), evidence(1, tlp="AMBER_STRICT", entities=[shared])]
    found = exported(alert_with(evidence=items, tlp="GREEN"))
    levels = {
        each.get("value") or each["type"]: tlp_of(found, each)
        for each in found["objects"]
        if "id" in each and "object_marking_refs" in each
    }
    assert levels["X1"] == "TLP:AMBER+STRICT"
    assert levels["X2"] == "TLP:GREEN"
    assert levels["report"] == levels["incident"] == "TLP:AMBER+STRICT"
    assert {tlp_of(found, each) for each in of_type(found, "sighting")} == {"TLP:GREEN", "TLP:AMBER+STRICT"}
    unmarked = {each["type"] for each in found["objects"] if "object_marking_refs" not in each}
    assert unmarked == {"marking-definition"}
    red = exported(alert_with(tlp="A level that nobody knows"))
    assert tlp_of(red, of_type(red, "report")[0]) == "TLP:RED"


def test_markings_are_the_published_ones() -> None:
    found = exported(alert_with(2, tlp="AMBER"))
    amber = next(each for each in of_type(found, "marking-definition") if each["name"] == "TLP:AMBER")
    assert amber == {
        "type": "marking-definition",
        "spec_version": "2.1",
        "id": "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
        "created": "2022-10-01T00:00:00.000Z",
        "name": "TLP:AMBER",
        "extensions": {
            "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {
                "extension_type": "property-extension",
                "tlp_2_0": "amber",
            }
        },
    }


@pytest.mark.parametrize("exercise", [True, False])
def test_a_drill_is_labelled_wherever_it_shows(exercise: bool) -> None:
    items = [evidence(number, exercise=exercise) for number in range(2)]
    found = exported(alert_with(evidence=items, exercise=exercise), state_of(alert_with(), state="closed"))
    for kind in ("report", "incident", "sighting", "observed-data", "note"):
        for each in of_type(found, kind):
            assert ("exercise" in each.get("labels", [])) is exercise, kind
    assert of_type(found, "report")[0]["name"].startswith("EXERCISE: ") is exercise


def test_a_closed_alert_has_its_verdict_as_a_note_without_the_officers_name() -> None:
    alert = alert_with()
    assert of_type(exported(alert, state_of(alert)), "note") == []
    closed_at = alert.updated_at + timedelta(hours=1)
    state = state_of(
        alert,
        revision=4,
        state="closed",
        verdict="false_positive",
        closed_at=closed_at,
        closed_by="m.example",
        updated_at=closed_at,
    )
    found = exported(alert, state)
    (note,) = of_type(found, "note")
    assert note["content"] == "The alert was closed as false positive."
    assert note["object_refs"] == [of_type(found, "report")[0]["id"]]
    assert "m.example" not in json.dumps(found)


def test_a_later_version_is_a_later_version_of_the_same_objects() -> None:
    first = alert_with(2)
    later = later_than(first, 4, version=2, supersedes=[SUPERSEDED])
    before, after = exported(first), exported(later)
    (report,), (again,) = of_type(before, "report"), of_type(after, "report")
    assert report["id"] == again["id"]
    assert report["created"] == again["created"]
    assert report["modified"] < again["modified"]
    predecessor = next(each for each in again["external_references"] if each["external_id"] == SUPERSEDED)
    assert "supersedes" in predecessor["description"]
    kept = {each["id"]: each for each in of_type(after, "observed-data")}
    assert [kept[each["id"]] for each in of_type(before, "observed-data")] == of_type(before, "observed-data")


def test_two_hundred_pieces_of_evidence() -> None:
    text = to_json(bundle(alert_with(200)))
    assert len(of_type(json.loads(text), "observed-data")) == 200
    assert to_json(stix2.parse(text)) == text
