"""Builds the dashboard and its provisioning; the committed JSON is exactly what this builds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Final

from dashboards.grafana import alerts, feeds
from dashboards.grafana.common import ALL_PARTNERS, DATASOURCE, Json, Panel, Place, render

PROVISIONING: Final = Path(__file__).resolve().parent / "provisioning"
DASHBOARD_PATH: Final = Path("dashboards") / "json" / "tocsin-overview.json"
DASHBOARD_FILE: Final = PROVISIONING / DASHBOARD_PATH
DEFAULT_DESK_URL: Final = "http://127.0.0.1:8090"
PARTNER_QUERY: Final = "SELECT DISTINCT CAST(partner, 'String') AS partner FROM feed_minutes ORDER BY partner"

_HELP: Final = """\
**Read from left to right.** What is open now, where, and when it was raised; below it, whether the feeds that alerts
depend on are alive: rate and age by partner, what was refused and why, how late events come, how far behind we are.

Every time is UTC. *Kind* says whether an alert is a drill (EXERCISE) or live; choose one with the selector above.
A story in the table opens the alert's page with its evidence."""


def panels() -> list[Panel]:
    """All panels in reading order."""
    return [
        Panel("row", "Alerts", "", Place(0, 0, 24, 1)),
        alerts.open_alerts(Place(0, 1, 5, 9)),
        alerts.alert_map(Place(5, 1, 11, 9)),
        alerts.alerts_over_time(Place(16, 1, 8, 9)),
        alerts.alert_table(Place(0, 10, 24, 10)),
        Panel("row", "Feed health", "", Place(0, 20, 24, 1)),
        feeds.feed_rate(Place(0, 21, 12, 9)),
        feeds.last_event_age(Place(12, 21, 12, 9)),
        feeds.refused(Place(0, 30, 8, 8)),
        feeds.late_events(Place(8, 30, 8, 8)),
        feeds.latency(Place(16, 30, 8, 8)),
        feeds.consumer_lag(Place(0, 38, 12, 8)),
        Panel(
            "text",
            "How to read this",
            "What the parts of this dashboard say, and what the selectors do.",
            Place(12, 38, 12, 8),
            options={"mode": "markdown", "content": _HELP},
        ),
    ]


def _option(text: str, value: str, selected: bool) -> Json:
    return {"text": text, "value": value, "selected": selected}


def variables(desk_url: str) -> list[Json]:
    """The selectors above the dashboard: exercise, partner, and the hidden address of the alert page."""
    choices = (("Exercise and live", "all"), ("Live only", "live"), ("Exercise only", "exercise"))
    return [
        {
            "name": "exercise",
            "label": "Show",
            "description": "Drills run on the live path; this chooses what is shown.",
            "type": "custom",
            "query": ",".join(f"{text} : {value}" for text, value in choices),
            "options": [_option(text, value, value == "all") for text, value in choices],
            "current": _option("Exercise and live", "all", True),
            "multi": False,
            "includeAll": False,
            "hide": 0,
        },
        {
            "name": "partner",
            "label": "Partner",
            "description": "Partners whose events are stored.",
            "type": "query",
            "datasource": DATASOURCE,
            "definition": PARTNER_QUERY,
            "query": PARTNER_QUERY,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": f"'{ALL_PARTNERS}'",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "options": [],
            "hide": 0,
        },
        {
            "name": "desk",
            "label": "Watch desk",
            "description": "Address of the watch desk, to which alerts link.",
            "type": "constant",
            "query": desk_url,
            "current": _option(desk_url, desk_url, False),
            "options": [_option(desk_url, desk_url, True)],
            "hide": 2,
            "skipUrlSync": True,
        },
    ]


def dashboard(desk_url: str = DEFAULT_DESK_URL) -> Json:
    """The whole dashboard; ``desk_url`` is where its links to alerts lead, without a slash at the end."""
    return {
        "uid": "tocsin-overview",
        "title": "Tocsin: alerts and feed health",
        "description": "Open alerts with their stories, and whether the partners' feeds are alive.",
        "tags": ["tocsin"],
        "schemaVersion": 37,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "utc",
        "refresh": "5s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
        "annotations": {"list": []},
        "links": [
            {"title": "Watch desk", "type": "link", "icon": "external link", "url": "${desk}", "targetBlank": True}
        ],
        "templating": {"list": variables(desk_url.rstrip("/"))},
        "panels": [render(panel, number) for number, panel in enumerate(panels(), start=1)],
    }


def text(desk_url: str = DEFAULT_DESK_URL) -> str:
    """The dashboard as it is committed: sorted keys, so that a diff shows what changed and nothing else."""
    return json.dumps(dashboard(desk_url), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_provisioning(folder: Path, desk_url: str = DEFAULT_DESK_URL) -> Path:
    """Copy the provisioning tree to ``folder`` with links that lead to ``desk_url``; returns ``folder``.

    For a Grafana whose alert page has an address known only at start. Files already there are replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    shutil.copytree(PROVISIONING, folder, dirs_exist_ok=True)
    (folder / DASHBOARD_PATH).write_text(text(desk_url))
    return folder
