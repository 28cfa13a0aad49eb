"""Alerts as the dashboards and commands read them: one small reader over ClickHouse, no writing.

Times are aware UTC datetimes. Records come from the table ``alerts`` (schemas/clickhouse/0001); the whole alert is the
JSON in its column ``record``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from clickhouse_connect.driver.exceptions import ClickHouseError

from dashboards.palette import LEVELS
from schemas.alerts import Alert
from schemas.settings import Settings
from streams import store as clickhouse

Json = dict[str, Any]

MAX_LIST: Final = 500


class Result(Protocol):
    """Rows of a query as clickhouse-connect gives them."""

    @property
    def column_names(self) -> Any: ...
    @property
    def result_rows(self) -> Any: ...


class Client(Protocol):
    """The part of clickhouse-connect's client that is used."""

    def query(self, query: str, parameters: dict[str, Any]) -> Result: ...


class StoreAwayError(Exception):
    """ClickHouse did not answer, or refused; the message says which address, and what to look at."""


class UnknownAlertError(Exception):
    """No alert, or more than one, has this id or prefix; the message says which."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """What a list shows. ``None`` means no restriction; ``level`` is the lowest level shown."""

    status: str | None = "open"
    level: str | None = None
    exercise: bool | None = None
    partner: str | None = None
    limit: int = 200

    def levels(self) -> list[str]:
        """The chosen level and those above it; empty for no restriction."""
        return list(LEVELS[: LEVELS.index(self.level) + 1]) if self.level in LEVELS else []


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert in a list."""

    alert_id: str
    version: int
    status: str
    superseded_by: str
    rule_title: str
    level: str
    exercise: bool
    tlp: str
    confidence: int
    group: dict[str, str]
    story: str
    partners: list[str]
    families: list[str]
    places: list[str]
    countries: list[str]
    evidence_total: int
    first_event_at: datetime
    last_event_at: datetime
    created_at: datetime
    updated_at: datetime


_TIMES: Final = ("first_event_at", "last_event_at", "created_at", "updated_at")
_COLUMNS: Final = (
    "alert_id, version, status, superseded_by, rule_title, level, exercise, tlp, confidence, `group`, story, partners, "
    "families, places, countries, evidence_total, "
    + ", ".join(f"toUnixTimestamp64Milli({column}) AS {column}_ms" for column in _TIMES)
)


def connect(settings: Settings, *, reader: bool = True, connect_s: int = 5, read_s: int = 60) -> Client:
    """A client of the store; with ``reader`` as the user who cannot write.

    Raises:
        StoreAwayError: it does not answer.
    """
    try:
        client: Client = clickhouse.connect(settings, reader=reader, connect_s=connect_s, read_s=read_s)
    except (ClickHouseError, OSError) as error:
        raise StoreAwayError(_away(settings, error)) from error
    return client


def _away(settings: Settings, error: BaseException) -> str:
    return (
        f"ClickHouse at {settings.clickhouse_url} does not answer as expected ({_reason(error)}). "
        f"Expected a running store with the database '{settings.clickhouse_database}'. "
        f"Is the platform up (tocsin up), and is --data-dir ({settings.data_dir}) its folder?"
    )


def _reason(error: BaseException) -> str:
    """The innermost cause in a few words: drivers wrap a refused connection in several layers."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first[:200]


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _row(values: Json) -> AlertRow:
    times = {column: _utc(values.pop(f"{column}_ms")) for column in _TIMES}
    return AlertRow(**(values | times | {"exercise": bool(values["exercise"])}))


class Store:
    """Reads from ClickHouse; connects when first asked, and again after a failure. Safe to use from several threads."""

    def __init__(self, settings: Settings, connector: Callable[[], Client] | None = None) -> None:
        self._settings = settings
        self._connector = connector or (lambda: connect(settings))
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._failed: tuple[float, StoreAwayError] | None = None

    def rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[Json]:
        """The rows of a query with server-side parameters, as dicts by column name.

        Raises:
            StoreAwayError: no answer, or an error of the store.
        """
        client = self._connected(time.monotonic())
        try:
            result = client.query(sql, parameters=parameters or {})
        except (ClickHouseError, OSError) as error:
            with self._lock:
                self._client = None
            raise StoreAwayError(_away(self._settings, error)) from error
        names = list(result.column_names)
        return [dict(zip(names, row, strict=True)) for row in result.result_rows]

    def _connected(self, asked_at: float) -> Client:
        with self._lock:
            if self._client is None:
                # Who waited here while somebody else tried in vain would try as long for the same answer.
                if self._failed is not None and self._failed[0] > asked_at:
                    raise self._failed[1]
                try:
                    self._client = self._connector()
                except StoreAwayError as error:
                    self._failed = (time.monotonic(), error)
                    raise
            return self._client

    def alerts(self, choice: AlertFilter) -> list[AlertRow]:
        """Alerts that the filter lets through, newest first, at most ``MAX_LIST``.

        Raises:
            StoreAwayError: no answer, or an error of the store.
        """
        conditions = ["1"]
        if choice.status:
            conditions.append("status = {status:String}")
        if choice.levels():
            conditions.append("level IN {levels:Array(String)}")
        if choice.exercise is not None:
            conditions.append("exercise = {exercise:Bool}")
        if choice.partner:
            conditions.append("has(partners, {partner:String})")
        sql = (
            f"SELECT {_COLUMNS} FROM alerts FINAL WHERE {' AND '.join(conditions)} "
            "ORDER BY updated_at DESC, alert_id LIMIT {limit:UInt32}"
        )
        parameters = {
            "status": choice.status or "",
            "levels": choice.levels(),
            "exercise": bool(choice.exercise),
            "partner": choice.partner or "",
            "limit": min(choice.limit, MAX_LIST),
        }
        return [_row(row) for row in self.rows(sql, parameters)]

    def record(self, alert_id: str) -> str | None:
        """The latest record of one alert as it is stored (JSON); ``None`` when there is none of that id.

        Raises:
            StoreAwayError: no answer, or an error of the store.
        """
        found = self.rows("SELECT record FROM alerts FINAL WHERE alert_id = {id:String} LIMIT 1", {"id": alert_id})
        return str(found[0]["record"]) if found else None

    def alert(self, alert_id: str) -> Alert | None:
        """The latest record of one alert; ``None`` when there is none of that id.

        Raises:
            StoreAwayError: no answer, or an error of the store.
            pydantic.ValidationError: the record is not an alert as schemas.alerts has it.
        """
        record = self.record(alert_id)
        return Alert.model_validate_json(record) if record is not None else None

    def resolve(self, prefix: str) -> str:
        """The full id that starts with ``prefix``.

        Raises:
            UnknownAlertError: none or several do.
            StoreAwayError: no answer, or an error of the store.
        """
        found = self.rows(
            "SELECT DISTINCT alert_id FROM alerts WHERE startsWith(alert_id, {prefix:String}) "
            "ORDER BY alert_id = {prefix:String} DESC, alert_id LIMIT 6",
            {"prefix": prefix},
        )
        ids = [str(row["alert_id"]) for row in found]
        if not prefix or not ids:
            raise UnknownAlertError(
                f"No alert has an id that starts with '{prefix}'. See the ids with: tocsin alerts list --all"
            )
        if len(ids) > 1 and ids[0] != prefix:
            raise UnknownAlertError(
                f"'{prefix}' is the start of more than one alert id: {', '.join(ids[:5])}"
                f"{', ...' if len(ids) > 5 else ''}. Give more of it."
            )
        return ids[0]
