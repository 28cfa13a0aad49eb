"""The paragraph that a newcomer reads first."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dashboards.desk.pages.story import concerned, confidence_words, country_name, listed, tell
from tests.dashboards.desk.pages import sample
from tests.dashboards.desk.pages.sample import as_alert, evidence, noon

NAMES = {"bpol-de": "Border Police, Germany", "hub-ke": "Regional Fusion Centre, Kenya"}


def test_the_story_answers_every_question_in_plain_words() -> None:
    vanished = as_alert(sample.records(noon())[0])
    story = tell(vanished, NAMES, noon())
    assert story.parts == (
        ("What", "Document X1234567 was seen by four partners within 40 minutes, from Rotterdam to Nairobi."),
        (
            "Where",
            "It was seen in Rotterdam (Netherlands), Wien Hauptbahnhof (Austria), Frankfurt (Oder) (Germany) and "
            "Nairobi (Kenya).",
        ),
        ("When", "It happened between 1 March 2026, 11:08 and 11:46 UTC, within 38 min; the last event 14 min ago."),
        (
            "Who is concerned",
            "It concerns document X1234567, person JANSEN, MILA and phone number +49 30 5550143. "
            "Border Police, Germany, fiu-nl, Regional Fusion Centre, Kenya and rail-at reported it.",
        ),
        (
            "How sure",
            "This is very likely true (confidence 82 of 100): 5 events from 4 independent partners say so.",
        ),
        (
            "What to do",
            "What to do: Ask the border police at both ends, and hold the later traveller for second-line inspection.",
        ),
    )


def test_fields_and_partners_are_told_in_words() -> None:
    group = {"header.source_system": "gate-7", "document_number": "X1"}
    items = [evidence(number, "bpol-de", noon(), ("document", "X1", "holder")) for number in (1, 2)]
    text = "header.source_system gate-7, document_number X1; 2 events from bpol-de, seen by bpol-de-2"
    told = tell(as_alert(sample.alert("a", items, group=group, story=text)), NAMES, noon())
    assert (
        told.what
        == "source system gate-7, document number X1; 2 events from Border Police, Germany, seen by bpol-de-2."
    )


def test_a_drill_says_so_before_anything_else() -> None:
    drill = as_alert(sample.records(noon())[3])
    assert tell(drill, {}, noon()).what.startswith("This is an exercise, not a real situation. ")


def test_one_event_without_place_or_response_is_told_as_well() -> None:
    item = evidence(1, "bpol-de", noon(), ("document", "X1", "holder"), place="", country="", lat=None, lon=None)
    record = sample.alert("a", [item], countries=[], confidence=30, group={})
    record["rule"]["response"] = ""
    story = tell(as_alert(record), NAMES, noon() + timedelta(seconds=20))
    assert story.where == "No place is known."
    assert story.when == "It happened at 1 March 2026, 12:00 UTC, 20 s ago."
    assert story.who == "It concerns document X1. Border Police, Germany reported it."
    assert story.sure == "This is unlikely to be true (confidence 30 of 100): 1 event from one partner says so."
    assert story.do.startswith("The rule names no response")


def test_a_story_over_days_names_both() -> None:
    items = [evidence(n, "bpol-de", noon() - timedelta(days=n), ("document", "X1", "holder")) for n in (0, 2)]
    when = tell(as_alert(sample.alert("a", items)), {}, noon()).when
    assert when == (
        "It happened between 27 February 2026, 12:00 and 1 March 2026, 12:00 UTC, within 2 d; the last event just now."
    )


def test_what_links_the_evidence_is_named_before_what_does_not() -> None:
    at, document, phone = noon(), ("document", "X1", "holder"), ("phone", "P2", "contact")
    items = [
        evidence(1, "bpol-de", at, phone, document),
        evidence(2, "bpol-de", at, phone),
        evidence(3, "hub-ke", at, document, ("device", "D3", "carried")),
    ]
    assert concerned(as_alert(sample.alert("a", items, group={}))) == ["document X1", "phone number P2"]
    assert concerned(as_alert(sample.alert("a", items, group={"device": "D3"})))[0] == "device D3"


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        (100, "almost certain"),
        (80, "very likely"),
        (79, "likely"),
        (40, "about as likely as not"),
        (0, "hardly possible"),
    ],
)
def test_confidence_in_words(confidence: int, said: str) -> None:
    assert confidence_words(confidence) == said


def test_long_lists_end_in_a_number() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcdef")) == "a, b, c, d and 2 more"


def test_countries_read_as_names() -> None:
    assert country_name("DE") == "Germany"
    assert country_name("XX") == "XX"
    assert country_name("") == ""
