"""Grafana's alerts about the platform, as its webhook sends them, to alerts of ours.

Each firing of a Grafana alert becomes one platform alert, which is retracted when Grafana says that it is resolved.
Deciding is pure; whoever receives the webhook publishes what comes of it. Payload: Grafana documentation, "Configure
webhook notifications".
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from processors.alerts import NAMESPACE, platform_alert
from schemas.alerts import LEVELS, Alert, AlertRule
from schemas.lifecycle import AlertState

GRAFANA: Final = "tocsin.grafana"
RULES_VERSION: Final = "1"
TAG: Final = "platform.grafana"
DEFAULT_LEVEL: Final = "medium"
MAX_ALERTS: Final = 500
_NOT_SHOWN: Final = frozenset(
    {"alertname", "rulename", "grafana_folder", "datasource_uid", "ref_id", "level", "tocsin"}
)
"""Labels that say which rule it is and not about what, or that go elsewhere in the alert."""

Text = Annotated[str, Field(max_length=5_000)]
Texts = Annotated[dict[Annotated[str, Field(max_length=200)], Text], Field(max_length=64)]


class GrafanaAlert(BaseModel):
    """One alert of a notification. ``fingerprint`` follows from its labels; ``started_at`` is when it began to fire,
    by Grafana's clock. What other versions of Grafana send besides is overlooked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    status: Literal["firing", "resolved"]
    labels: Texts
    annotations: Texts | None = None
    started_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: str = Field(pattern=r"^[0-9a-f]{1,64}$")


class GrafanaNotification(BaseModel):
    """The body of Grafana's webhook."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    alerts: list[GrafanaAlert] = Field(min_length=1, max_length=MAX_ALERTS)


@dataclass(frozen=True, slots=True)
class Known:
    """A platform alert that was told before; ``pending`` while somebody may still have to look at it. Aware UTC."""

    alert_id: str
    version: int
    started_at: dt.datetime
    created_at: dt.datetime
    withdrawn: bool
    pending: bool

    def is_of(self, fingerprint: str) -> bool:
        """Whether it came of the Grafana alert with this fingerprint."""
        return self.alert_id == grafana_alert_id(fingerprint, self.started_at)


def known_alerts(states: Iterable[AlertState], told: Iterable[Alert]) -> list[Known]:
    """Alerts that came from Grafana, by the lifecycle's states and by what was told since, whichever is later."""
    found = {
        each.alert_id: Known(
            each.alert_id, each.alert_version, each.first_event_at, each.raised_at, each.withdrawn, each.is_active
        )
        for each in states
        if each.rule_id.startswith(GRAFANA)
    }
    for alert in told:
        before, over = found.get(alert.alert_id), alert.status != "open"
        if before is None or alert.version > before.version:
            found[alert.alert_id] = Known(
                alert.alert_id, alert.version, alert.first_event_at, alert.created_at, over, not over
            )
    return list(found.values())


def platform_alerts(received: Sequence[GrafanaAlert], known: Iterable[Known], now: dt.datetime) -> list[Alert]:
    """What is new to tell at ``now`` (aware). Repetitions, which Grafana sends for as long as an alert fires, are not.

    A resolved alert is found by its fingerprint alone: Grafana may give it another start than it had while it fired.
    """
    before = {each.alert_id: each for each in known}
    found: dict[str, Alert] = {}
    for each in received:
        mine = [one for one in before.values() if one.is_of(each.fingerprint)]
        if each.status == "resolved":
            for one in mine:
                if not one.withdrawn:
                    found[one.alert_id] = _retracted(each, one, now)
            continue
        alert_id = grafana_alert_id(each.fingerprint, each.started_at)
        if alert_id not in before and not any(one.pending for one in mine):
            found.setdefault(alert_id, _alert(each, alert_id, 1, each.started_at, now))
    return list(found.values())


def grafana_alert_id(fingerprint: str, started_at: dt.datetime) -> str:
    """UUIDv5 over the fingerprint and the start in milliseconds (RFC 9562, section 5.5)."""
    return str(uuid.uuid5(NAMESPACE, f"{GRAFANA}\x1f{fingerprint}\x1f{int(started_at.timestamp() * 1000)}"))


def _retracted(received: GrafanaAlert, known: Known, now: dt.datetime) -> Alert:
    alert = _alert(received, known.alert_id, known.version + 1, known.started_at, now)
    return alert.model_copy(update={"status": "retracted", "created_at": known.created_at})


def _alert(received: GrafanaAlert, alert_id: str, version: int, started_at: dt.datetime, now: dt.datetime) -> Alert:
    labels, annotations = received.labels, received.annotations or {}
    name = labels.get("alertname") or "Grafana alert"
    # Of a query that fails or finds nothing Grafana makes an alert of its own, which names the rule beside.
    title = f"{labels['rulename']}: {name}" if labels.get("rulename") else name
    level = labels.get("level", DEFAULT_LEVEL)
    rule = AlertRule(
        id=f"{GRAFANA}.{re.sub(r'[^a-z0-9]+', '_', title.lower()).strip('_')}",
        title=title,
        version=RULES_VERSION,
        level=level if level in LEVELS else DEFAULT_LEVEL,
        tags=[TAG],
        description=annotations.get("description", ""),
        type="platform",
        response=annotations.get("response") or annotations.get("runbook_url", ""),
    )
    about = {key: value for key, value in labels.items() if key not in _NOT_SHOWN and not key.startswith("__")}
    story = annotations.get("summary") or ", ".join([title, *(f"{key} {value}" for key, value in about.items())])
    alert = platform_alert(rule, alert_id, version, story, started_at, now, labels.get("partner") or None)
    return alert.model_copy(update={"group": about})
