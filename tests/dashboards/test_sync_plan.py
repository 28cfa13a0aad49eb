"""What sync decides to change, without a Grafana: laws that hold whatever is there, and what is in the way."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.grafana import provisioned
from dashboards.grafana.model import Json
from dashboards.grafana.sync import wanted as wanted_by
from dashboards.grafana.sync_plan import Change, Found, NotOursError, Present, Wanted, plan, stamp
from schemas.settings import Settings

UID = provisioned.FOLDER_UID


def board(uid: str, title: str = "Watch floor", **changes: Any) -> Json:
    return {
        "uid": uid,
        "title": title,
        "tags": ["tocsin"],
        "version": 1,
        "panels": [{"id": 1, "type": "stat"}],
    } | changes


BOARDS = {uid: board(uid, uid) for uid in ("tocsin-watch-floor", "tocsin-feeds")}
WANTED = wanted_by(Settings(grafana_desk_url="https://desk.example"), BOARDS)
DEFAULT_POLICY: Json = {"receiver": "grafana-default-email", "group_by": ["grafana_folder"], "routes": []}


def stored(value: Json) -> Json:
    """As Grafana gives it back: with fields of its own, at every level where it adds some."""
    kept = copy.deepcopy(value) | {"id": 7, "updated": "2026-03-01T12:00:00Z"}
    for each in kept.get("data", ()):
        each["queryType"] = ""
    if "jsonData" in kept:
        kept["jsonData"]["maxOpenConns"] = "50"
        kept["secureJsonFields"] = {"password": True}
    if "settings" in kept:
        kept["settings"]["authorization_credentials"] = "[REDACTED]"
    return kept


def made(present: Present, changes: Sequence[Change]) -> Present:
    """What is there once the changes are made."""
    lists: dict[str, list[Any]] = {
        "data source": list(present.data_sources),
        "folder": list(present.folders),
        "alert rule": list(present.rules),
        "contact point": list(present.contact_points),
    }
    dashboards = {each.uid: each for each in present.dashboards}
    permissions, policy = list(present.permissions), present.policy
    for change in changes:
        if change.kind == "dashboard":
            dashboards.pop(change.uid, None)
            if change.after is not None:
                dashboards[change.uid] = Found(stored(change.payload) | {"version": 3}, UID, stamp(change.payload))
        elif change.kind == "permissions":
            permissions = [each | {"inherited": False} for each in change.payload["items"]]
        elif change.kind == "policy":
            policy = copy.deepcopy(change.payload)
        else:
            kept = [each for each in lists[change.kind] if each["uid"] != change.uid]
            lists[change.kind] = [*kept, *([stored(change.payload)] if change.after is not None else [])]
    return Present(
        data_sources=lists["data source"],
        folders=lists["folder"],
        permissions=permissions,
        dashboards=list(dashboards.values()),
        rules=lists["alert rule"],
        contact_points=lists["contact point"],
        policy=policy,
    )


EMPTY = Present(policy=DEFAULT_POLICY)
SYNCED = made(EMPTY, plan(WANTED, EMPTY))


def summary(changes: Sequence[Change]) -> list[str]:
    return [str(each) for each in changes]


def test_a_fresh_grafana_gets_everything_in_an_order_that_works() -> None:
    changes = plan(WANTED, EMPTY)
    rules = [f"create alert rule {uid}" for uid in WANTED.rules]
    assert len(rules) == 5
    assert summary(changes) == [
        "create data source tocsin-clickhouse",
        "create folder tocsin",
        "update permissions tocsin",
        "create dashboard tocsin-watch-floor",
        "create dashboard tocsin-feeds",
        "create contact point tocsin-desk",
        *rules,
        "create policy Tocsin",
    ]
    assert "password" not in str(changes)
    assert changes[0].diff().startswith("--- Grafana: data source tocsin-clickhouse\n+++ wanted")


def test_the_second_time_there_is_nothing_to_do() -> None:
    assert plan(WANTED, SYNCED) == []
    sent = plan(WANTED, SYNCED, secrets=True)
    assert summary(sent) == [
        "update data source tocsin-clickhouse (its secret is sent again)",
        "update contact point tocsin-desk (its secret is sent again)",
    ]
    assert [each.diff() for each in sent] == ["", ""]


def test_what_was_changed_by_hand_is_put_back() -> None:
    edited = [
        replace(each, content=each.content | {"title": "Mine", "version": 9}, message="tidied")
        for each in SYNCED.dashboards
    ]
    (change, _) = plan(WANTED, replace(SYNCED, dashboards=edited))
    assert str(change) == "update dashboard tocsin-watch-floor"
    assert '-  "title": "Mine"' in change.diff()
    # The version that was seen: somebody who saves at this moment is not overwritten.
    assert change.payload["version"] == 9

    louder = [each | {"labels": each["labels"] | {"team": "x"}} for each in SYNCED.rules]
    assert [each.verb for each in plan(WANTED, replace(SYNCED, rules=louder))] == ["update"] * 5
    editors = [
        {"role": "Editor", "permission": 2},
        {"role": "Viewer", "permission": 1},
        {"role": "Admin", "permission": 4},
    ]
    assert summary(plan(WANTED, replace(SYNCED, permissions=editors))) == ["update permissions tocsin"]
    somebody = [*SYNCED.permissions, {"userId": 4, "permission": 4}]
    assert summary(plan(WANTED, replace(SYNCED, permissions=somebody))) == ["update permissions tocsin"]


def test_a_dashboard_that_grafana_rewrote_is_known_by_the_version_that_we_saved() -> None:
    rewritten = [
        replace(each, content=each.content | {"schemaVersion": 41, "panels": []}) for each in SYNCED.dashboards
    ]
    assert plan(WANTED, replace(SYNCED, dashboards=rewritten)) == []


def test_what_we_dropped_is_removed() -> None:
    fewer = replace(
        WANTED,
        dashboards={"tocsin-feeds": BOARDS["tocsin-feeds"]},
        rules={uid: rule for uid, rule in WANTED.rules.items() if uid != "tocsin-silent-feed"},
    )
    assert summary(plan(fewer, SYNCED)) == [
        "delete dashboard tocsin-watch-floor",
        "delete alert rule tocsin-silent-feed",
    ]


OTHERS = Present(
    data_sources=[{"uid": "abc", "name": "Prometheus", "type": "prometheus", "isDefault": True}],
    folders=[{"uid": "ops", "title": "Operations"}],
    dashboards=[
        Found(board("tocsin-copy"), "ops"),
        Found(board("tocsin-untagged", tags=[]), UID),
        Found(board("my-tocsin"), UID),
        Found(board("tocsin-of-a-file"), UID, provisioned=True),
    ],
    rules=[
        {"uid": "tocsin-mine", "title": "Mine", "folderUID": "ops", "labels": {"tocsin": "platform"}},
        {"uid": "tocsin-unlabelled", "title": "Too", "folderUID": UID, "labels": {}},
    ],
    contact_points=[{"uid": "mail", "name": "Tocsin", "type": "email", "settings": {}}],
    policy={
        "receiver": "mail",
        "routes": [{"receiver": "pager", "object_matchers": [["severity", "=", "page"]]}, {"receiver": "Tocsin"}],
        "mute_time_intervals": ["night"],
    },
)


def test_what_is_not_ours_is_left_alone() -> None:
    changes = plan(WANTED, OTHERS)
    theirs = {each.uid for each in OTHERS.dashboards} | {each["uid"] for each in OTHERS.rules} | {"abc", "ops", "mail"}
    assert not theirs & {each.uid for each in changes}
    assert not [each for each in changes if each.verb == "delete"]
    after = made(OTHERS, changes)
    assert after.policy is not None
    assert OTHERS.policy is not None
    assert after.policy["routes"] == [provisioned.route(), *OTHERS.policy["routes"]]
    assert after.policy | {"routes": None} == OTHERS.policy | {"routes": None}
    assert plan(WANTED, after) == []


ROW = {"uid": "tocsin-clickhouse", "name": "Tocsin", "type": "grafana-clickhouse-datasource"}
RULE = {"uid": "tocsin-silent-feed", "folderUID": UID, "labels": {"tocsin": "platform"}}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"data_sources": [ROW | {"type": "prometheus"}]}, "of the type prometheus"),
        ({"data_sources": [ROW | {"readOnly": True}]}, "provisioning file"),
        ({"data_sources": [ROW | {"uid": "theirs"}]}, "data source theirs is named 'Tocsin'"),
        ({"folders": [{"uid": "theirs", "title": "Tocsin"}]}, "folder theirs is named 'Tocsin'"),
        ({"dashboards": [Found(board("tocsin-feeds"), "ops")]}, "tocsin-feeds is not ours, it lies in the folder ops"),
        ({"dashboards": [Found(board("tocsin-feeds"), "")]}, "the folder General"),
        ({"dashboards": [Found(board("tocsin-feeds", tags=["x"]), UID)]}, "it lacks the tag tocsin"),
        ({"dashboards": [Found(board("tocsin-feeds"), UID, provisioned=True)]}, "it comes from a provisioning file"),
        ({"rules": [RULE | {"folderUID": "ops"}]}, "alert rule tocsin-silent-feed is not ours (folder ops)"),
        ({"rules": [RULE | {"labels": None}]}, "alert rule tocsin-silent-feed is not ours"),
        ({"rules": [RULE | {"provenance": "file"}]}, "provisioning file"),
        (
            {"contact_points": [{"uid": "tocsin-desk", "type": "email"}]},
            "contact point tocsin-desk is of the type email",
        ),
        ({"contact_points": [{"uid": "tocsin-desk", "type": "webhook", "provenance": "file"}]}, "provisioning file"),
        ({"policy": DEFAULT_POLICY | {"provenance": "file"}}, "lack our branch"),
    ],
)
def test_what_is_in_the_way_is_named(there: dict[str, Any], said: str) -> None:
    with pytest.raises(NotOursError) as refused:
        plan(WANTED, replace(EMPTY, **there))
    (reason,) = refused.value.reasons
    assert said in reason


names = st.sampled_from(["tocsin-watch-floor", "tocsin-feeds", "tocsin-old", "tocsin-copy", "theirs"])
found = st.builds(
    Found,
    content=st.builds(
        board, names, st.sampled_from(["a", "b"]), tags=st.sampled_from([["tocsin"], [], ["tocsin", "x"]])
    ),
    folder_uid=st.sampled_from([UID, "ops", ""]),
    message=st.just(""),
    provisioned=st.booleans(),
)
rule = st.builds(
    lambda uid, folder, labels: {"uid": uid, "title": uid, "folderUID": folder, "labels": labels},
    st.sampled_from(["tocsin-silent-feed", "tocsin-old", "theirs"]),
    st.sampled_from([UID, "ops"]),
    st.sampled_from([None, {}, {"tocsin": "platform"}, {"tocsin": "else"}]),
)
route = st.builds(
    lambda receiver, matchers: {"receiver": receiver, "object_matchers": matchers},
    st.sampled_from(["Tocsin", "mail"]),
    st.sampled_from([None, [["tocsin", "=", "platform"]], [["severity", "=", "page"]]]),
)
somewhere = st.builds(
    Present,
    folders=st.sampled_from([[], [{"uid": UID, "title": "Renamed"}], [{"uid": "ops", "title": "Operations"}]]),
    dashboards=st.lists(found, max_size=5, unique_by=lambda each: each.uid),
    rules=st.lists(rule, max_size=3, unique_by=lambda each: each["uid"]),
    policy=st.builds(lambda routes: DEFAULT_POLICY | {"routes": routes}, st.lists(route, max_size=3)),
)


@given(somewhere)
def test_whatever_is_there_a_second_sync_changes_nothing_and_others_keep_what_they_have(there: Present) -> None:
    try:
        changes = plan(WANTED, there)
    except NotOursError:
        return
    after = made(there, changes)
    assert plan(WANTED, after) == []
    kept = {each.uid: each for each in after.dashboards}
    for each in there.dashboards:
        if not each.is_ours:
            assert kept[each.uid] == each
        elif each.uid not in WANTED.dashboards:
            assert each.uid not in kept
    assert after.policy is not None
    assert there.policy is not None
    ours = provisioned.route()
    before = [each for each in there.policy["routes"] if each["receiver"] == "mail"]
    assert [each for each in after.policy["routes"] if each["receiver"] == "mail"] == before
    assert ours in after.policy["routes"]


def test_wanted_follows_the_settings() -> None:
    found = wanted_by(Settings(clickhouse_url="https://ch.example", desk_url="https://desk.example/"), {})
    assert isinstance(found, Wanted)
    assert (found.data_source["jsonData"]["host"], found.data_source["jsonData"]["port"]) == ("ch.example", 8443)
    assert found.data_source["jsonData"]["secure"] is True
    assert found.webhook["url"] == "https://desk.example/api/v1/platform-alerts"
    inside = Settings(grafana_clickhouse_url="http://clickhouse:8123", grafana_desk_url="http://desk:8090")
    assert wanted_by(inside, {}).data_source["jsonData"]["host"] == "clickhouse"
    assert wanted_by(inside, {}).webhook["url"].startswith("http://desk:8090/")
