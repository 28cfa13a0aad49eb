"""What has to change in a Grafana so that it has what we want: pure, from what is wanted and what is there.

Ours is what carries our uid and our mark: the data source and the contact point by uid and type, dashboards by uid
prefix, tag and folder, alert rules by uid prefix, label and folder, of the notification policies one branch. What has
our uid without our mark is somebody else's, and refused; nothing else is looked at.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from dashboards.grafana import alert_rules, provisioned
from dashboards.grafana.model import TAG, Json

PREFIX: Final = "tocsin-"
VIEW: Final = 1
STAMP: Final = "tocsin dashboards sync"
Kind = Literal["data source", "folder", "permissions", "dashboard", "contact point", "alert rule", "policy"]
_WHOLE: Final = frozenset({"labels", "annotations"})
"""Of these an entry too many is a difference; elsewhere Grafana adds fields of its own."""


class NotOursError(Exception):
    """Something has one of our uids or names and is not ours; nothing was changed. ``reasons`` name each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = list(reasons)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What Grafana is to have, as its API takes it, without secrets. Dashboards and rules by uid."""

    data_source: Json
    dashboards: Mapping[str, Json]
    rules: Mapping[str, Json]
    webhook: Json


@dataclass(frozen=True, slots=True)
class Found:
    """A dashboard that is there; ``message`` is that of its latest version, ``provisioned`` that it is of a file."""

    content: Json
    folder_uid: str
    message: str = ""
    provisioned: bool = False

    @property
    def uid(self) -> str:
        return str(self.content["uid"])

    @property
    def is_ours(self) -> bool:
        """Whether it is a dashboard that sync made, wanted still or dropped since."""
        ours = self.uid.startswith(PREFIX) and TAG in (self.content.get("tags") or ())
        return ours and self.folder_uid == provisioned.FOLDER_UID and not self.provisioned


@dataclass(frozen=True, slots=True)
class Present:
    """What Grafana has, as its API gives it: all data sources, folders, rules and contact points; of the dashboards
    those with our tag and those with a wanted uid; the permissions of our folder."""

    data_sources: Sequence[Json] = ()
    folders: Sequence[Json] = ()
    permissions: Sequence[Json] = ()
    dashboards: Sequence[Found] = ()
    rules: Sequence[Json] = ()
    contact_points: Sequence[Json] = ()
    policy: Json | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do. ``before`` and ``after`` are what they differ by, None where there is nothing; ``payload`` is
    what the API is sent."""

    kind: Kind
    uid: str
    before: Json | None
    after: Json | None
    payload: Json

    @property
    def verb(self) -> str:
        return "create" if self.before is None else "delete" if self.after is None else "update"

    def __str__(self) -> str:
        secret = " (its secret is sent again)" if self.before == self.after else ""
        return f"{self.verb} {self.kind} {self.uid}{secret}"

    def diff(self) -> str:
        """Unified diff of both as JSON, empty when only a secret is sent again."""
        name = f"{self.kind} {self.uid}"
        lines = difflib.unified_diff(_lines(self.before), _lines(self.after), f"Grafana: {name}", f"wanted: {name}")
        return "".join(lines)


def plan(wanted: Wanted, present: Present, *, secrets: bool = False) -> list[Change]:
    """Changes in the order in which they can be made; none when all is as it should be.

    Secrets cannot be read back. They go along with what is created or changed, and with ``secrets`` in any case.

    Raises:
        NotOursError: something that is not ours is in the way.
    """
    reasons = list(_in_the_way(wanted, present))
    if reasons:
        raise NotOursError(reasons)
    return [
        *_data_source(wanted.data_source, present.data_sources, secrets),
        *_folder(present),
        *_dashboards(wanted.dashboards, present.dashboards),
        *_contact_point(wanted.webhook, present.contact_points, secrets),
        *_rules(wanted.rules, present.rules),
        *_policy(present.policy or {}),
    ]


def stamp(dashboard: Json) -> str:
    """Message of the version that this content is saved as. Newer versions of Grafana rewrite a dashboard when they
    read it; by the message we know our own all the same."""
    text = json.dumps(_content(dashboard), sort_keys=True)
    return f"{STAMP} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _in_the_way(wanted: Wanted, present: Present) -> Iterator[str]:
    source = wanted.data_source
    for each in present.data_sources:
        if each["uid"] == source["uid"] and each.get("type") != source["type"]:
            yield f"data source {each['uid']} is of the type {each.get('type')}, not {source['type']}: delete it"
        elif each["uid"] == source["uid"] and each.get("readOnly"):
            yield f"data source {each['uid']} comes from a provisioning file: this Grafana needs no sync"
        elif each["uid"] != source["uid"] and each.get("name") == source["name"]:
            yield f"data source {each['uid']} is named '{source['name']}' and is not ours: rename it"
    for each in present.folders:
        if each["uid"] != provisioned.FOLDER_UID and each.get("title") == provisioned.FOLDER:
            yield (
                f"folder {each['uid']} is named '{provisioned.FOLDER}' and is not ours: rename it, or, if provisioning "
                "files made it, leave out sync"
            )
    for found in present.dashboards:
        if found.uid in wanted.dashboards and not found.is_ours:
            why = (
                "comes from a provisioning file"
                if found.provisioned
                else f"lies in the folder {found.folder_uid or 'General'}"
                if found.folder_uid != provisioned.FOLDER_UID
                else f"lacks the tag {TAG}"
            )
            yield f"dashboard {found.uid} is not ours, it {why}: save it under another uid, or delete it"
    for each in present.rules:
        if each["uid"] in wanted.rules and not _is_our_rule(each):
            yield f"alert rule {each['uid']} is not ours (folder {each.get('folderUID')}): delete it, or copy it"
        elif each["uid"] in wanted.rules and each.get("provenance") == "file":
            yield f"alert rule {each['uid']} comes from a provisioning file: this Grafana needs no sync"
    for each in present.contact_points:
        if each.get("uid") == provisioned.CONTACT_POINT_UID and each.get("type") != "webhook":
            yield f"contact point {each['uid']} is of the type {each.get('type')}, not webhook: delete it, or copy it"
        elif each.get("uid") == provisioned.CONTACT_POINT_UID and each.get("provenance") == "file":
            yield f"contact point {each['uid']} comes from a provisioning file: this Grafana needs no sync"
    if (present.policy or {}).get("provenance") == "file" and _policy(present.policy or {}):
        yield "the notification policies come from a provisioning file and lack our branch: add it there"


def _data_source(wanted: Json, present: Sequence[Json], secrets: bool) -> Iterator[Change]:
    found = next((each for each in present if each["uid"] == wanted["uid"]), None)
    before = None if found is None else _seen(found, wanted)
    if secrets or before != wanted:
        yield Change("data source", wanted["uid"], before, wanted, wanted)


def _folder(present: Present) -> Iterator[Change]:
    uid = provisioned.FOLDER_UID
    wanted: Json = {"uid": uid, "title": provisioned.FOLDER}
    found = next((each for each in present.folders if each["uid"] == uid), None)
    before = None if found is None else _seen(found, wanted)
    if before != wanted:
        yield Change("folder", uid, before, wanted, wanted)
    # Administrators may do everything whatever is set; everybody else looks.
    may: Json = {"items": [{"role": role, "permission": VIEW} for role in ("Editor", "Viewer")]}
    may_now = None if found is None else _permissions(present.permissions)
    if may_now != may:
        yield Change("permissions", uid, may_now or {"items": []}, may, may)


def _permissions(items: Sequence[Json]) -> Json:
    """Who may what in a folder, by itself and not through a folder above."""
    kept = []
    for each in items:
        who = {name: each[name] for name in ("role", "userId", "teamId") if each.get(name)}
        if who and not each.get("inherited") and who.get("role") != "Admin":
            kept.append({**who, "permission": each.get("permission")})
    return {"items": sorted(kept, key=str)}


def _dashboards(wanted: Mapping[str, Json], present: Sequence[Found]) -> Iterator[Change]:
    by_uid = {each.uid: each for each in present}
    for uid, dashboard in wanted.items():
        found = by_uid.get(uid)
        before, after = None if found is None else _content(found.content), _content(dashboard)
        if found is not None and (before == after or found.message == stamp(dashboard)):
            continue
        # With the version that we saw, and not with "overwrite", which would also take what has the same title.
        version = {} if found is None else {"version": found.content.get("version")}
        yield Change("dashboard", uid, before, after, {**after, **version, "id": None})
    for found in present:
        if found.is_ours and found.uid not in wanted:
            yield Change("dashboard", found.uid, _content(found.content), None, {})


def _content(dashboard: Json) -> Json:
    """A dashboard without what Grafana counts by itself."""
    return {name: value for name, value in dashboard.items() if name not in ("id", "version")}


def _contact_point(webhook: Json, present: Sequence[Json], secrets: bool) -> Iterator[Change]:
    uid = provisioned.CONTACT_POINT_UID
    wanted: Json = {"uid": uid, "name": provisioned.CONTACT_POINT, "type": "webhook", "settings": webhook}
    found = next((each for each in present if each.get("uid") == uid), None)
    before = None if found is None else _seen(found, wanted)
    if secrets or before != wanted:
        yield Change("contact point", uid, before, wanted, wanted)


def _rules(wanted: Mapping[str, Json], present: Sequence[Json]) -> Iterator[Change]:
    by_uid = {each["uid"]: each for each in present}
    for uid, rule in wanted.items():
        before = _seen(by_uid[uid], rule) if uid in by_uid else None
        if before != rule:
            yield Change("alert rule", uid, before, rule, rule)
    for each in present:
        if _is_our_rule(each) and each["uid"] not in wanted:
            yield Change("alert rule", each["uid"], {"title": each.get("title")}, None, {})


def _is_our_rule(rule: Json) -> bool:
    name, value = alert_rules.OWN_LABEL
    labelled = (rule.get("labels") or {}).get(name) == value
    return labelled and rule.get("folderUID") == provisioned.FOLDER_UID and str(rule["uid"]).startswith(PREFIX)


def _policy(tree: Json) -> list[Change]:
    """Our branch comes first, so that none before it takes our alerts; all others stay as they are."""
    wanted, routes = provisioned.route(), list(tree.get("routes") or ())
    at = next((number for number, each in enumerate(routes) if _is_our_route(each)), None)
    before = None if at is None else _seen(routes[at], wanted)
    if before == wanted:
        return []
    if at is None:
        routes.insert(0, wanted)
    else:
        routes[at] = wanted
    return [Change("policy", provisioned.CONTACT_POINT, before, wanted, {**tree, "routes": routes})]


def _is_our_route(route: Json) -> bool:
    names = {matcher[0] for matcher in route.get("object_matchers") or ()}
    return route.get("receiver") == provisioned.CONTACT_POINT and alert_rules.OWN_LABEL[0] in names


def _seen(found: Any, wanted: Any, name: str = "") -> Any:
    """What is there as far as ``wanted`` speaks of it: Grafana adds fields of its own to what it is given."""
    if isinstance(found, dict) and isinstance(wanted, dict) and name not in _WHOLE:
        return {key: _seen(found[key], value, key) for key, value in wanted.items() if key in found}
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        return [_seen(one, other) for one, other in zip(found, wanted, strict=True)]
    return found


def _lines(value: Json | None) -> list[str]:
    if value is None:
        return []
    return [f"{line}\n" for line in json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines()]
