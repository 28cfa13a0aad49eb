"""Builds the dashboards and their provisioning; the committed JSON is exactly what this builds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from dashboards.grafana import alert_detail, feeds, pipeline_health, rules_response, situation, watch_floor
from dashboards.grafana.model import Dashboard, Json
from dashboards.grafana.variables import desk

PROVISIONING: Final = Path(__file__).resolve().parent / "provisioning"
JSON_FOLDER: Final = Path("dashboards") / "json"
DEFAULT_DESK_URL: Final = "http://127.0.0.1:8090"
DASHBOARDS: Final[tuple[Callable[[], Dashboard], ...]] = (
    watch_floor.dashboard,
    alert_detail.dashboard,
    situation.dashboard,
    feeds.dashboard,
    pipeline_health.dashboard,
    rules_response.dashboard,
)


def boards(desk_url: str = DEFAULT_DESK_URL) -> list[Dashboard]:
    """All dashboards; ``desk_url`` is where their links to alerts lead.

    Raises:
        ValueError: two have the same uid.
    """
    made = [board() for board in DASHBOARDS]
    uids = [board.uid for board in made]
    if twice := {uid for uid in uids if uids.count(uid) > 1}:
        raise ValueError(f"dashboards share the uid {', '.join(sorted(twice))}; give each its own")
    return [replace(board, variables=(*board.variables, desk(desk_url))) for board in made]


def dashboards(desk_url: str = DEFAULT_DESK_URL) -> dict[str, Json]:
    """Each dashboard's JSON by its uid."""
    return {board.uid: board.json() for board in boards(desk_url)}


def texts(desk_url: str = DEFAULT_DESK_URL) -> dict[str, str]:
    """Each dashboard's file name and text as committed: sorted keys, so that a diff shows what changed alone."""
    return {
        f"{uid}.json": json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for uid, board in dashboards(desk_url).items()
    }


def stale(folder: Path) -> list[Path]:
    """Files of a folder of dashboards that are missing, differ from what the code builds, or that no code builds."""
    built = texts()
    differing = [
        folder / name
        for name, text in built.items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    ]
    return differing + [path for path in sorted(folder.glob("*.json")) if path.name not in built]


def write(folder: Path, desk_url: str = DEFAULT_DESK_URL) -> None:
    """Make the JSON files of ``folder`` those that the code builds: write each, remove the others.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    built = texts(desk_url)
    for path in folder.glob("*.json"):
        if path.name not in built:
            path.unlink()
    for name, text in built.items():
        (folder / name).write_text(text)


def write_provisioning(folder: Path, desk_url: str = DEFAULT_DESK_URL) -> Path:
    """Copy the provisioning tree to ``folder`` with links that lead to ``desk_url``; returns ``folder``.

    For a Grafana whose watch desk has an address known only at start. Files already there are replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    shutil.copytree(PROVISIONING, folder, dirs_exist_ok=True)
    write(folder / JSON_FOLDER, desk_url)
    return folder
