"""Sync with a real Grafana: GRAFANA_URL is one that may be written to, GRAFANA_TOKEN that of an administrator.

What the tests make they remove again, but for what sync owns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_client.api import GrafanaApi

from dashboards.grafana import build, provisioned
from dashboards.grafana.sync import Sync, SyncError, wanted
from dashboards.grafana.sync_plan import NotOursError
from schemas.settings import Settings

URL, TOKEN = os.environ.get("GRAFANA_URL", ""), os.environ.get("GRAFANA_TOKEN", "")
pytestmark = pytest.mark.skipif(
    not (URL and TOKEN), reason="no Grafana: set GRAFANA_URL and GRAFANA_TOKEN to one with the ClickHouse plugin"
)
SETTINGS = Settings(grafana_desk_token="tocsin_invented", clickhouse_reader_password="invented")
BOARDS = build.dashboards()
THEIRS = "not-ours-of-the-tests"


@pytest.fixture
def api() -> GrafanaApi:
    return GrafanaApi.from_url(f"{URL.rstrip('/')}/", credential=TOKEN)


@pytest.fixture
def synced() -> Sync:
    sync = Sync(URL, TOKEN, SETTINGS)
    assert list(sync.apply(sync.plan(wanted(SETTINGS, BOARDS), secrets=True)))
    return sync


@pytest.fixture
def folder(api: GrafanaApi) -> Iterator[str]:
    """A folder of somebody else."""
    api.folder.create_folder("Not ours, of the tests", THEIRS)
    yield THEIRS
    api.folder.delete_folder(THEIRS)


def save(api: GrafanaApi, folder: str, **fields: Any) -> None:
    board = {"id": None, "panels": [], "schemaVersion": 37} | fields
    api.dashboard.update_dashboard({"dashboard": board, "folderUid": folder, "overwrite": True})


def test_the_second_sync_changes_nothing(synced: Sync) -> None:
    assert [str(each) for each in synced.plan(wanted(SETTINGS, BOARDS))] == []


def test_what_was_changed_by_hand_is_put_back(synced: Sync, api: GrafanaApi) -> None:
    uid = next(iter(BOARDS))
    save(api, provisioned.FOLDER_UID, uid=uid, title="Edited", tags=["tocsin"])
    changes = synced.plan(wanted(SETTINGS, BOARDS))
    assert [str(each) for each in changes] == [f"update dashboard {uid}"]
    list(synced.apply(changes))
    assert api.dashboard.get_dashboard(uid)["dashboard"]["title"] == BOARDS[uid]["title"]


def test_what_we_dropped_is_removed(synced: Sync, api: GrafanaApi) -> None:
    save(api, provisioned.FOLDER_UID, uid="tocsin-dropped", title="Dropped", tags=["tocsin"])
    changes = synced.plan(wanted(SETTINGS, BOARDS))
    assert [str(each) for each in changes] == ["delete dashboard tocsin-dropped"]
    list(synced.apply(changes))
    assert synced.plan(wanted(SETTINGS, BOARDS)) == []


def test_a_dashboard_that_is_not_ours_is_untouched(synced: Sync, api: GrafanaApi, folder: str) -> None:
    save(api, folder, uid="tocsin-theirs", title="Theirs", tags=["tocsin"])
    before = api.dashboard.get_dashboard("tocsin-theirs")
    assert synced.plan(wanted(SETTINGS, BOARDS)) == []
    list(synced.apply(synced.plan(wanted(SETTINGS, BOARDS), secrets=True)))
    assert api.dashboard.get_dashboard("tocsin-theirs") == before
    with pytest.raises(NotOursError, match="tocsin-theirs is not ours"):
        synced.plan(wanted(SETTINGS, BOARDS | {"tocsin-theirs": next(iter(BOARDS.values()))}))


def test_other_notification_policies_stay(synced: Sync, api: GrafanaApi) -> None:
    before = api.alertingprovisioning.get_notification_policy_tree()
    ours = [each for each in before["routes"] if each["receiver"] == provisioned.CONTACT_POINT]
    rest = [each for each in before["routes"] if each not in ours]
    tree = {name: value for name, value in before.items() if name != "provenance"} | {"routes": rest}
    api.alertingprovisioning.set_notification_policy_tree(tree, disable_provenance=not before.get("provenance"))
    changes = synced.plan(wanted(SETTINGS, BOARDS))
    assert [str(each) for each in changes] == [f"create policy {provisioned.CONTACT_POINT}"]
    list(synced.apply(changes))
    after = api.alertingprovisioning.get_notification_policy_tree()
    assert [each for each in after["routes"] if each["receiver"] != provisioned.CONTACT_POINT] == rest


def test_everybody_may_look_and_nobody_may_change(synced: Sync, api: GrafanaApi) -> None:
    found = api.folder.get_folder_permissions(provisioned.FOLDER_UID)
    may = {each.get("role"): each["permission"] for each in found if each.get("role") in ("Viewer", "Editor")}
    assert may == {"Viewer": 1, "Editor": 1}


def test_a_wrong_token_is_told() -> None:
    with pytest.raises(SyncError, match="does not know the token"):
        Sync(URL, "glsa_wrong", SETTINGS).plan(wanted(SETTINGS, BOARDS))
