"""Brings data source, folder, dashboards and alerting to a Grafana that cannot read files, over its API.

Reads what is there, has :mod:`dashboards.grafana.sync_plan` decide, and makes the changes one after the other. Grafana
documentation, "HTTP API": data source, folder, folder permissions, dashboard, alerting provisioning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException

from dashboards.grafana import alert_rules, provisioned
from dashboards.grafana.build import DEFAULT_DESK_URL
from dashboards.grafana.model import DATASOURCE, TAG, Json
from dashboards.grafana.sync_plan import Change, Found, Present, Wanted, plan, stamp
from schemas.settings import Settings

OLDEST: Final = (9, 4)
OLDEST_PLUGIN: Final = (3, 3)
TIMEOUT_S: Final = 10.0
MOST_DASHBOARDS: Final = 5_000
_NOT_FOUND: Final = 404


class SyncError(Exception):
    """Grafana cannot be brought up to date; the message says what, where and what to do."""


def wanted(settings: Settings, dashboards: Mapping[str, Json]) -> Wanted:
    """What Grafana is to have by these settings."""
    store = urlsplit(settings.grafana_clickhouse_url or settings.clickhouse_url)
    secure = store.scheme == "https"
    return Wanted(
        data_source=provisioned.data_source(
            store.hostname or "",
            store.port or (8443 if secure else 8123),
            settings.clickhouse_reader_user,
            settings.clickhouse_database,
            secure=secure,
        ),
        dashboards=dashboards,
        rules={each["uid"]: each for each in alert_rules.api_rules(provisioned.FOLDER_UID)},
        webhook=provisioned.webhook(settings.grafana_desk_url or settings.desk_url or DEFAULT_DESK_URL),
    )


class Sync:
    """A session with one Grafana; blocks. Nothing is asked before the first call.

    Raises:
        SyncError: the address is none, or the token is missing.
    """

    def __init__(self, url: str, token: str, settings: Settings) -> None:
        if not url:
            raise SyncError("there is no Grafana: set TOCSIN_GRAFANA_URL to its address")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SyncError(f"'{url}' is no address of a Grafana; it looks like https://grafana.example:3000")
        if not token:
            raise SyncError(
                "there is no token: make a service account with the role Admin in Grafana (Administration, Service "
                "accounts), add a token, and set TOCSIN_GRAFANA_TOKEN"
            )
        self._url, self._settings = url.rstrip("/"), settings
        # The slash matters: what follows the host is put before "api" as it is.
        self._api = GrafanaApi.from_url(f"{self._url}/", credential=token, timeout=TIMEOUT_S)

    def plan(self, wanted: Wanted, *, secrets: bool = False) -> list[Change]:
        """What there is to do.

        Raises:
            SyncError: no answer, a version or plugin that is too old, or a token that may not do this.
            NotOursError: something that is not ours is in the way.
        """
        self._check_version()
        changes = plan(wanted, self._present(wanted), secrets=secrets)
        self._check_plugin()
        if not self._settings.grafana_desk_token and any(
            each.kind == "contact point" and (secrets or each.before is None) for each in changes
        ):
            raise SyncError(
                "the contact point needs a token for the desk: tocsin accounts add grafana --role watch_officer "
                "--machine; tocsin accounts token grafana --scope report --expires 365d; then set "
                "TOCSIN_GRAFANA_DESK_TOKEN"
            )
        return changes

    def apply(self, changes: list[Change]) -> Iterator[Change]:
        """Make the changes, each when the next is asked for; the one made is given.

        Raises:
            SyncError: Grafana refuses one; those before it are made, and another sync goes on from there.
        """
        for change in changes:
            self._ask(str(change), lambda change=change: self._make(change))  # type: ignore[misc]
            yield change

    def _check_version(self) -> None:
        health = self._ask("read its version", lambda: self._api.client.GET("/health"))
        # A Grafana may hide its version from those who have not logged in.
        version = isinstance(health, dict) and (
            health.get("version") or (self._ask("read its version", self._api.health.check) or {}).get("version")
        )
        numbers = _version(version)
        if not numbers:
            raise SyncError(f"{self._url} is no Grafana: {self._url}/api/health does not say a version")
        if numbers < OLDEST:
            raise SyncError(f"{self._url} is Grafana {version}; sync needs {OLDEST[0]}.{OLDEST[1]} or newer: update it")

    def _check_plugin(self) -> None:
        name = DATASOURCE["type"]
        found = self._found("read its plugins", f"/plugins/{name}/settings")
        if found is None:
            raise SyncError(
                f"{self._url} lacks the plugin {name}: grafana cli plugins install {name}, and restart Grafana"
            )
        version = (found.get("info") or {}).get("version")
        if _version(version) < OLDEST_PLUGIN:
            raise SyncError(f"{self._url} has the plugin {name} {version}; needed is 3.3 or newer: update it")

    def _present(self, wanted: Wanted) -> Present:
        api = self._api
        folders = self._ask("read folders", api.folder.get_all_folders)
        ours = any(each["uid"] == provisioned.FOLDER_UID for each in folders)
        return Present(
            data_sources=self._ask("read data sources", api.datasource.list_datasources),
            folders=folders,
            permissions=self._ask(
                "read the folder's permissions", lambda: api.folder.get_folder_permissions(provisioned.FOLDER_UID)
            )
            if ours
            else (),
            dashboards=list(self._dashboards(wanted)),
            rules=self._ask("read alert rules", api.alertingprovisioning.get_alertrules_all),
            contact_points=self._ask("read contact points", api.alertingprovisioning.get_contactpoints),
            policy=self._ask("read notification policies", api.alertingprovisioning.get_notification_policy_tree),
        )

    def _dashboards(self, wanted: Wanted) -> Iterator[Found]:
        tagged = self._ask(
            "search dashboards",
            lambda: self._api.search.search_dashboards(tag=TAG, type_="dash-db", limit=MOST_DASHBOARDS),
        )
        for uid in dict.fromkeys([*wanted.dashboards, *(each["uid"] for each in tagged)]):
            path = f"/dashboards/uid/{quote(uid, safe='')}"
            found = self._found("read dashboards", path)
            if found is None:
                continue
            versions = self._ask(
                "read versions of dashboards",
                lambda path=path: self._api.client.GET(f"{path}/versions", params={"limit": 1}),  # type: ignore[misc]
            )
            # A list before version 11, and within an object since.
            listed = versions.get("versions", []) if isinstance(versions, dict) else versions
            meta = found.get("meta") or {}
            yield Found(
                content=found["dashboard"],
                folder_uid=meta.get("folderUid") or "",
                message=(listed[0].get("message") or "") if listed else "",
                provisioned=bool(meta.get("provisioned")),
            )

    def _make(self, change: Change) -> None:
        api, payload, deletes = self._api, change.payload, change.after is None
        if change.kind == "data source":
            body = payload | {"secureJsonData": {"password": self._settings.clickhouse_reader_password}}
            if change.before is None:
                api.datasource.create_datasource(body)
            else:
                api.datasource.update_datasource_by_uid(change.uid, body)
        elif change.kind == "folder":
            if change.before is None:
                api.folder.create_folder(payload["title"], payload["uid"])
            else:
                api.folder.update_folder(change.uid, payload["title"], overwrite=True)
        elif change.kind == "permissions":
            api.folder.update_folder_permissions(change.uid, payload)
        elif change.kind == "dashboard":
            if deletes:
                api.dashboard.delete_dashboard(change.uid)
            else:
                message = stamp(payload)
                api.dashboard.update_dashboard(
                    {"dashboard": payload, "folderUid": provisioned.FOLDER_UID, "message": message, "overwrite": False}
                )
        else:
            self._make_alerting(change)

    def _make_alerting(self, change: Change) -> None:
        api, payload = self._api.alertingprovisioning, change.payload
        if change.kind == "contact point":
            token = self._settings.grafana_desk_token or "[REDACTED]"  # which leaves the one that is there
            body = payload | {"settings": payload["settings"] | {"authorization_credentials": token}}
            if change.before is None:
                api.create_contactpoint(body)
            else:
                api.update_contactpoint(change.uid, body)
        elif change.kind == "alert rule":
            if change.after is None:
                api.delete_alertrule(change.uid)
            elif change.before is None:
                api.create_alertrule(payload)
            else:
                api.update_alertrule(change.uid, payload)
        else:
            # The tree is not ours alone: who changed it by hand before can do so afterwards.
            by_hand = not payload.get("provenance")
            tree = {name: value for name, value in payload.items() if name != "provenance"}
            api.set_notification_policy_tree(tree, disable_provenance=by_hand)

    def _found(self, what: str, path: str) -> Json | None:
        """What is at the path; None when nothing is."""

        def get() -> Any:
            try:
                return self._api.client.GET(path)
            except GrafanaClientError as error:
                if error.status_code == _NOT_FOUND:
                    return None
                raise

        found: Json | None = self._ask(what, get)
        return found

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GrafanaException as error:
            raise SyncError(self._reason(what, error)) from error
        except OSError as error:  # the HTTP client's own errors; one is that the answer is no JSON
            if isinstance(error, ValueError):
                raise SyncError(f"{self._url} does not answer as Grafana does: could not {what}: {error}") from error
            raise SyncError(f"{self._url} does not answer: {_cause(error)}. Is TOCSIN_GRAFANA_URL right?") from error

    def _reason(self, what: str, error: GrafanaException) -> str:
        if error.status_code == 0:
            return f"{self._url} does not answer within {TIMEOUT_S:.0f} s: could not {what}"
        if error.status_code == 401:
            return (
                f"{self._url} does not know the token (401): is it of this Grafana, and not expired or revoked? Make "
                "another and set TOCSIN_GRAFANA_TOKEN"
            )
        if error.status_code == 403:
            return f"{self._url} does not let the token {what} (403): its service account needs the role Admin"
        return f"{self._url} refuses: could not {what}: {error.message}"


def _cause(error: BaseException) -> BaseException:
    """What is behind the HTTP client's errors about its own errors: that the connection was refused, for example."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return error


def _version(text: object) -> tuple[int, ...]:
    """``(9, 4)`` of ``9.4.17-cloud``; empty of what is no version."""
    match = re.match(r"(\d+)\.(\d+)", str(text))
    return (int(match[1]), int(match[2])) if match else ()
