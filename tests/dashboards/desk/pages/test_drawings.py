"""Timeline, map, graph: what is drawn, and that each says in words what it shows."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.desk.pages import graph, timeline, worldmap
from schemas.settings import PACKAGE_ROOT
from tests.dashboards.desk.pages import sample
from tests.dashboards.desk.pages.sample import as_alert, evidence, noon

VANISHED = as_alert(sample.records(noon())[0])
NAMES = {"bpol-de": "Border Police, Germany"}


def test_one_lane_a_partner_in_the_order_of_their_first_events() -> None:
    rows = timeline.lanes(timeline.events_of(VANISHED), NAMES)
    assert [lane.partner for lane in rows] == ["fiu-nl", "rail-at", "bpol-de", "hub-ke"]
    assert [[event.number for event in lane.events] for lane in rows] == [[1], [2], [3, 4], [5]]
    assert rows[2].name == "Border Police, Germany"
    assert rows[0].name == "fiu-nl"


def test_the_chart_has_every_event_once_with_its_time_and_lane() -> None:
    rows = timeline.lanes(timeline.events_of(VANISHED), NAMES)
    options = timeline.options(rows)
    points = sorted(
        (point["value"][2], point["value"][1], point["value"][0], series["name"])
        for series in options["series"]
        for point in series["data"]
    )
    assert [(number, lane, family) for number, lane, _, family in points] == [
        (1, 0, "financial transaction"),
        (2, 1, "travel booking"),
        (3, 2, "border crossing"),
        (4, 2, "border crossing"),
        (5, 3, "border crossing"),
    ]
    assert points[4][2] == round((noon() - timedelta(minutes=14)).timestamp() * 1000)
    assert len({series["symbol"] for series in options["series"]}) == 3
    assert "event 5 at 11:46:00" in options["aria"]["label"]["description"]


@given(st.lists(st.integers(0, 3600), min_size=1, max_size=20))
def test_neighbours_in_a_lane_never_cover_each_other(seconds: list[int]) -> None:
    items = [
        evidence(number, "bpol-de", noon() + timedelta(seconds=second), ("document", "X", "holder"))
        for number, second in enumerate(seconds)
    ]
    rows = timeline.lanes(timeline.events_of(as_alert(sample.alert("a", items))), {})
    offset = timeline.offsets(rows)
    moments = [event.at.timestamp() for event in rows[0].events]
    near = timeline.CLOSE * (max(moments) - min(moments))
    for one, other in zip(rows[0].events, rows[0].events[1:], strict=False):
        if other.at.timestamp() - one.at.timestamp() <= near:
            assert offset[one.number] != offset[other.number]


def test_places_carry_the_numbers_of_their_events_and_the_path_their_order() -> None:
    events = timeline.events_of(VANISHED)
    spots = worldmap.spots(events)
    assert [(spot.name, spot.numbers) for spot in spots] == [
        ("Rotterdam, NL", (1,)),
        ("Wien Hauptbahnhof, AT", (2,)),
        ("Frankfurt (Oder), DE", (3, 4)),
        ("Nairobi, KE", (5,)),
    ]
    assert worldmap.path(events) == [(spot.lat, spot.lon) for spot in spots]
    assert worldmap.told(events).endswith("Frankfurt (Oder), DE (events 3–4); then Nairobi, KE (event 5)")


def test_a_way_back_is_drawn_and_an_event_without_place_is_not() -> None:
    at = noon()
    document = ("document", "X", "holder")
    items = [
        evidence(1, "bpol-de", at, document),
        evidence(2, "hub-ke", at + timedelta(minutes=1), document),
        evidence(3, "rail-at", at + timedelta(minutes=2), document, lat=None, lon=None),
        evidence(4, "bpol-de", at + timedelta(minutes=3), document),
    ]
    events = timeline.events_of(as_alert(sample.alert("a", items)))
    assert [spot.label for spot in worldmap.spots(events)] == ["1, 4", "2"]
    assert [lat for lat, _ in worldmap.path(events)] == [52.34, -1.29, 52.34]


@pytest.mark.parametrize(
    ("numbers", "label"),
    [((1,), "1"), ((1, 3), "1, 3"), ((1, 2, 3), "1–3"), ((1, 2, 5), "1–2, 5"), ((1, 3, 5, 6), "1, 3…")],
)
def test_a_place_says_which_events_it_has_in_little_room(numbers: tuple[int, ...], label: str) -> None:
    assert worldmap.Spot(0.0, 0.0, "here", numbers).label == label


def test_the_map_names_no_other_host() -> None:
    options = json.dumps(worldmap.options(timeline.events_of(VANISHED)))
    assert "http" not in options
    script = (PACKAGE_ROOT / "dashboards" / "desk" / "static" / "offline-map.js").read_text()
    assert "http" not in script


def test_the_world_is_there_with_closed_rings_in_range() -> None:
    world = json.loads((PACKAGE_ROOT / "dashboards" / "desk" / "static" / "world.json").read_text())
    names = {country["name"] for country in world["countries"]}
    assert {"Germany", "Kenya", "United Kingdom", "Netherlands"} <= names
    for country in world["countries"]:
        for ring in country["rings"]:
            lats = [sum(ring[1 : index + 1 : 2]) for index in range(1, len(ring), 2)]
            assert len(ring) >= 6
            assert max(map(abs, lats)) <= 9000, country["name"]


def test_entities_that_link_most_partners_come_first() -> None:
    nodes = graph.entities(VANISHED)
    assert [(node.value, node.events, len(node.partners)) for node in nodes[:3]] == [
        ("X1234567", (2, 3, 4, 5), 3),
        ("JANSEN, MILA", (1, 2, 3), 3),
        ("+49 30 5550143", (1, 2), 2),
    ]
    assert [node.links for node in nodes] == [True, True, True, False, False, False]
    assert graph.told(nodes).startswith("document X1234567 links 4 events of 3 partners; ")


def test_every_link_of_the_graph_ends_in_nodes_that_are_drawn() -> None:
    options = graph.options(VANISHED, graph.entities(VANISHED))
    series = options["series"][0]
    ids = [node["id"] for node in series["data"]]
    assert len(ids) == len(set(ids)) == 5 + 6
    assert {end for link in series["links"] for end in (link["source"], link["target"])} <= set(ids)
    assert len(series["links"]) == 4 + 3 + 2 + 1 + 1 + 1
    shapes = {category["name"]: category["symbol"] for category in series["categories"]}
    assert shapes["document"] != shapes["person"]


def test_a_crowd_of_entities_is_cut_to_those_that_link() -> None:
    at = noon()
    crowd = [("phone", f"P{number}", "contact") for number in range(40)]
    items = [
        evidence(1, "bpol-de", at, *crowd, ("document", "X", "holder")),
        evidence(2, "hub-ke", at, ("document", "X", "holder")),
    ]
    alert = as_alert(sample.alert("a", items))
    drawn = graph.shown(graph.entities(alert))
    assert len(drawn) == graph.MAX_ENTITIES
    assert drawn[0].value == "X"
    assert graph.height(alert, graph.entities(alert)) > graph.ROW_HEIGHT * graph.MAX_ENTITIES


def test_without_links_it_says_so() -> None:
    item = evidence(1, "bpol-de", noon(), ("document", "X", "holder"))
    assert graph.told(graph.entities(as_alert(sample.alert("a", [item])))) == (
        "No entity is named by more than one event."
    )
