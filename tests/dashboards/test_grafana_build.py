"""The dashboard as code: what is committed is what is built, and it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from dashboards.grafana import build
from dashboards.grafana.common import DATASOURCE
from dashboards.palette import LEVEL_COLOURS, LEVELS, TLP_COLOURS, TLP_LABELS, level_rank, tlp_label

WITHOUT_QUERY = {"row", "text"}


def test_committed_dashboard_is_the_built_one() -> None:
    assert build.DASHBOARD_FILE.read_text() == build.text(), "run: tocsin dashboards build"


def test_panels_are_of_kinds_that_grafana_94_has() -> None:
    kinds = {panel["type"] for panel in build.dashboard()["panels"]}
    assert kinds == {"row", "stat", "geomap", "timeseries", "table", "barchart", "text"}


@pytest.mark.parametrize("panel", build.dashboard()["panels"], ids=lambda panel: panel["title"])
def test_every_panel_says_what_it_shows(panel: dict) -> None:
    if panel["type"] == "row":
        return
    assert len(panel["description"]) > 20
    if panel["type"] not in WITHOUT_QUERY:
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == DATASOURCE
        assert [target["refId"] for target in panel["targets"]] == ["A"]


def test_panels_do_not_overlap_and_stay_on_the_grid() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in build.dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} covers {taken.get((x, y))}"
                taken[x, y] = panel["title"]


def test_ids_are_unique_and_the_dashboard_asks_no_other_host() -> None:
    board = build.dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    text = json.dumps(board).replace(build.DEFAULT_DESK_URL, "")
    assert "http:" not in text
    assert "https:" not in text


def test_exercise_shows_all_when_the_dashboard_opens() -> None:
    variables = {each["name"]: each for each in build.dashboard()["templating"]["list"]}
    assert variables["exercise"]["current"]["value"] == "all"
    assert [option["value"] for option in variables["exercise"]["options"]] == ["all", "live", "exercise"]
    assert variables["partner"]["multi"]


def test_provisioning_is_written_with_the_address_of_the_page(tmp_path: Path) -> None:
    build.write_provisioning(tmp_path, "http://10.0.0.1:9999/")
    board = json.loads((tmp_path / build.DASHBOARD_PATH).read_text())
    assert (
        next(each for each in board["templating"]["list"] if each["name"] == "desk")["query"] == "http://10.0.0.1:9999"
    )
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
