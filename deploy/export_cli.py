"""``tocsin alerts export``: one alert for other systems, as STIX 2.1 or CAP 1.2. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dashboards.alerts import Store
from deploy.alerts_cli import AlertId, open_store, readable_errors
from deploy.options import DataDir
from processors.export.cap import Message, cap_alert, message_of, revision_of
from schemas.lifecycle import AlertState
from schemas.partners import load_partners
from schemas.settings import Settings
from schemas.yaml_lines import ConfigError

NO_SENDER = "tocsin.invalid"
"""Ends in a name that nobody can own (RFC 2606), so that receivers see that no sender was set."""


class Format(StrEnum):
    """What an alert can be exported as."""

    STIX = "stix"
    CAP = "cap"


def export(
    alert_id: AlertId,
    wanted: Annotated[Format, typer.Option("--format", help="STIX 2.1 bundle (JSON) or CAP 1.2 message (XML).")],
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
    sender: Annotated[
        str, typer.Option(envvar="TOCSIN_CAP_SENDER", help="CAP sender: globally unique, such as a domain of yours.")
    ] = NO_SENDER,
    data_dir: DataDir = None,
) -> None:
    """Export one alert for other systems. The same alert in the same state gives the same bytes.

    Each object is marked with the strictest TLP level of its evidence; whom you may send it to is for you to judge.
    """
    with readable_errors():
        text = _exported(open_store(data_dir), alert_id, wanted, sender, Settings.load(data_dir))
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_bytes(text)
    typer.echo(f"wrote {out} ({len(text)} bytes)", err=True)


def _exported(store: Store, prefix: str, wanted: Format, sender: str, settings: Settings) -> bytes:
    alert_id = store.resolve(prefix)
    alert = store.alert(alert_id)
    if alert is None:
        typer.echo(f"The alert '{alert_id}' is gone from the store.", err=True)
        raise typer.Exit(1)
    state = state_of(store, alert_id)
    if wanted is Format.STIX:
        # Loading the library takes longer than most commands run.
        from processors.export.stix import bundle, to_json

        return to_json(bundle(alert, state, _partner_names(settings.partners_file))).encode()
    previous = [each for other in (alert_id, *alert.supersedes) for each in _messages(store, other)]
    web = f"{settings.desk_url.rstrip('/')}/alerts/{alert_id}" if settings.desk_url else None
    return cap_alert(alert, state, sender=sender, previous=previous, web=web)


def state_of(store: Store, alert_id: str) -> AlertState | None:
    """What people did to the alert; None where the lifecycle worker has not seen it yet.

    Raises:
        StoreAwayError: no answer, or an error of the store.
        pydantic.ValidationError: the record is no state as schemas.lifecycle has it.
    """
    found = store.rows("SELECT record FROM alert_states FINAL WHERE alert_id = {id:String} LIMIT 1", {"id": alert_id})
    return AlertState.model_validate_json(found[0]["record"]) if found else None


def _messages(store: Store, alert_id: str) -> list[Message]:
    """Messages that exports of this alert have been or would be, up to now."""
    alert, state = store.alert(alert_id), state_of(store, alert_id)
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
