"""One alert for other systems, as STIX 2.1 or CAP 1.2, for ``tocsin alerts export`` and the desk. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from dashboards.alerts import Store, UnknownAlertError
from dashboards.desk import queries
from processors.export.cap import Message, cap_alert, message_of, revision_of
from schemas.partners import load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError


class Format(StrEnum):
    """What an alert can be exported as."""

    STIX = "stix"
    CAP = "cap"


MEDIA_TYPES = {Format.STIX: "application/stix+json;version=2.1", Format.CAP: "application/cap+xml"}
SUFFIXES = {Format.STIX: "stix.json", Format.CAP: "cap.xml"}


def exported(settings: Settings, store: Store, alert_id: str, wanted: Format, sender: str) -> bytes:
    """The alert with this whole id; the same alert in the same state gives the same bytes. ``sender`` is CAP's.

    Raises:
        UnknownAlertError: no alert has the id.
        StoreAwayError: no answer, or an error of the store.
        pydantic.ValidationError: a stored record is not as the schemas have it.
    """
    alert = store.alert(alert_id)
    if alert is None:
        raise UnknownAlertError(f"The store has no alert with the id '{alert_id}'.")
    state = queries.state(store, alert_id)
    if wanted is Format.STIX:
        # Loading the library takes longer than most commands run.
        from processors.export.stix import bundle, to_json

        return to_json(bundle(alert, state, _partner_names(settings.partners_file))).encode()
    previous = [each for other in (alert_id, *alert.supersedes) for each in _messages(store, other)]
    web = f"{settings.desk_url.rstrip('/')}/alerts/{alert_id}" if settings.desk_url else None
    return cap_alert(alert, state, sender=sender, previous=previous, web=web)


def _messages(store: Store, alert_id: str) -> list[Message]:
    """Messages that exports of this alert have been or would be, up to now."""
    alert, state = store.alert(alert_id), queries.state(store, alert_id)
    if alert is None:
        return []
    if state is None:
        return [message_of(alert.model_copy(update={"version": 1, "updated_at": alert.created_at})), message_of(alert)]
    rows = store.rows(
        "SELECT revision, toUnixTimestamp64Milli(min(at)) AS at_ms FROM alert_actions FINAL "
        "WHERE alert_id = {id:String} AND accepted AND revision < {now:UInt64} GROUP BY revision ORDER BY revision",
        {"id": alert_id, "now": state.revision},
    )
    earlier = [
        revision_of(alert_id, int(row["revision"]), datetime.fromtimestamp(int(row["at_ms"]) / 1000, UTC))
        for row in rows
    ]
    return [*earlier, message_of(alert, state)]


def _partner_names(path: Path) -> Mapping[str, str]:
    """Names of partners by id; none where the file cannot be read, since ids say it too."""
    try:
        return {each.id: each.name for each in load_partners(path)}
    except (ConfigError, OSError):
        return {}
