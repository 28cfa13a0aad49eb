"""A desk with the sample watch: the real engine of ClickHouse as its store, and the real lifecycle in this process
instead of behind Kafka. ``python -m tests.dashboards.desk.pages.served FOLDER PORT`` prints one JSON line when it
serves: a session of each role.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from nicegui import app as nicegui_app

from dashboards.alerts import Store
from dashboards.desk.app import create_app
from dashboards.desk.auth.access_log import AccessLog, Entry
from dashboards.desk.live import Change, Live, Standing
from processors.lifecycle.effects import Effects
from processors.lifecycle.engine import Lifecycle
from processors.oncall import OnCall
from schemas.lifecycle import Action, Command, Notification, Silence
from schemas.oncall import load_oncall
from schemas.settings import Settings
from tests.dashboards.desk.pages import sample
from tests.dashboards.engine import EngineClient, apply_schema

AWAY = "store-away"
"""While this file is in the folder, the store is away."""


class LockedEngine:
    """The engine speaks with one at a time, and with nobody while the file ``away`` is there."""

    def __init__(self, engine: EngineClient, away: Path) -> None:
        self._engine, self._away, self._lock = engine, away, threading.Lock()

    def query(self, query: str, parameters: dict[str, Any]) -> Any:
        self._check()
        with self._lock:
            return self._engine.query(query, parameters)

    def put_accesses(self, entries: Sequence[Entry]) -> None:
        """Rows of the access log, as the desk writes them."""
        self._check()
        rows = [asdict(each) | {"at": each.at.isoformat()} for each in entries]
        with self._lock:
            self._engine.insert("access_log", rows)

    def _check(self) -> None:
        if self._away.exists():
            raise ConnectionRefusedError("nobody listens there")


class LocalLive(Live):
    """Is fed by the lifecycle in this process."""

    first: list[Change]

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.feed(self.first)
        self.stand(Standing(True, True, 0))


class LocalLifecycle:
    """The lifecycle engine without its worker: answers commands at once and tells ``live``."""

    def __init__(self, settings: Settings, live: LocalLive, client: EngineClient) -> None:
        self.engine = Lifecycle(OnCall(load_oncall(settings.oncall_file)))
        self.live, self.client, self.position = live, client, 0

    def changes(self, effects: Effects) -> list[Change]:
        models = {"silence": Silence, "notification": Notification}
        found = [self._change("alert", state.alert_id, state) for state in effects.states]
        for key, value in effects.records.items():
            kind, _, name = key.partition("/")
            if kind in models:
                found.append(self._change(kind, name, models[kind].model_validate_json(value) if value else None))
        found += [self._change("action", action.action_id, action) for action in effects.actions]
        return found

    def _change(self, kind: str, key: str, value: Any) -> Change:
        self.position += 1
        return Change(kind, key, value, self.position)

    async def ask(self, command: Command) -> Action:
        effects = self.engine.on_command(command, datetime.now(UTC))
        self.live.feed(self.changes(effects))
        return next(action for action in effects.actions if action.command_id == command.command_id)


def put_lifecycle(client: EngineClient, effects: Effects) -> None:
    """States and actions, as the worker stores them."""
    if effects.states:
        client.insert("alert_states", [sample.state_row(state) for state in effects.states])
    rows = []
    for action in effects.actions:
        row = json.loads(action.model_dump_json())
        rows.append(
            row | {"before": row["before"] or "", "after": row["after"] or "", "details": json.dumps(row["details"])}
        )
    if rows:
        client.insert("alert_actions", rows)


def main(folder: Path, port: int) -> None:
    """Fill the store and serve until the process is ended."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = {name: folder / getattr(Settings(), name).name for name in ("partners_file", "oncall_file")}
    for name, path in copies.items():
        shutil.copyfile(getattr(Settings(), name), path)
    nowhere = "127.0.0.1:9"  # the discard port: nothing of this desk reaches another platform on the machine
    settings = Settings(
        data_dir=folder,
        **copies,
        kafka_bootstrap=nowhere,
        clickhouse_url=f"http://{nowhere}",
    )
    engine = EngineClient(folder / "engine")
    apply_schema(engine)
    now = datetime.now(UTC)
    made = sample.records(now)
    sample.put_alerts(engine, made)
    sample.put_feeds(engine, now)
    sample.put_deliveries(engine, now)
    live = LocalLive(settings)
    lifecycle = LocalLifecycle(settings, live, engine)
    live.first = fill(lifecycle, engine, made)
    shared = LockedEngine(engine, folder / AWAY)
    store = Store(settings, connector=lambda: shared)
    access = AccessLog(settings, insert=shared.put_accesses, flush_every_s=0.1)
    app = create_app(settings, live=live, store=store, access_log=access)
    object.__setattr__(nicegui_app.state.desk, "commands", lifecycle)
    sessions = login(nicegui_app.state.desk.accounts)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning")
    print(json.dumps(sessions), flush=True)
    uvicorn.Server(config).run()


def fill(lifecycle: LocalLifecycle, engine: EngineClient, made: list[dict[str, Any]]) -> list[Change]:
    """The lifecycle's view of the sample: one alert closed, one acknowledged."""
    changes: list[Change] = []
    for record in sorted(made, key=lambda each: str(each["created_at"])):
        if record["status"] == "superseded":
            continue
        at = datetime.fromisoformat(record["created_at"]) + timedelta(seconds=1)
        effects = lifecycle.engine.on_alert(sample.as_alert(record), at)
        for verb, alert_id, fields in COMMANDS:
            if alert_id == record["alert_id"]:
                later = at + timedelta(minutes=3)
                command = Command(command_id=f"c-{verb}-{alert_id}", verb=verb, alert_id=alert_id, by="ben", via="desk",
                                  at=later, **fields)  # fmt: skip
                put_lifecycle(engine, effects)
                changes += lifecycle.changes(effects)
                effects = lifecycle.engine.on_command(command, later)
        put_lifecycle(engine, effects)
        changes += lifecycle.changes(effects)
    return changes


COMMANDS: tuple[tuple[Any, str, dict[str, Any]], ...] = (
    ("close", sample.EARLIER, {"verdict": "benign", "text": "A family visit, confirmed by telephone."}),
    ("acknowledge", sample.DRILL, {}),
    ("close", sample.DRILL, {"verdict": "exercise"}),
)


def login(accounts: Any) -> dict[str, str]:
    """A session for each role; the accounts' passwords are changed, so that the desk lets them in."""
    found = {}
    for role, partner in (("watch_officer", None), ("analyst", None), ("partner", "fiu-nl"), ("administrator", None),
                          ("oversight", None)):  # fmt: skip
        name = role.replace("_", "-")
        one_time = accounts.add(name, role, partner=partner, display=name.title())
        accounts.change_password(name, one_time.password, f"correct-horse-{name}-battery", "127.0.0.1")
        found[role] = accounts.sessions.start(name, "127.0.0.1")
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
