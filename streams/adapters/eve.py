"""Suricata EVE JSON -> cyber_detection, one event an ``alert`` record.

Source: Suricata documentation, "Eve JSON Format". Its severity 1 is the most urgent; records of other types (flow,
dns, ...) are no detections and are refused as such. EVE has no sharing label: the command has to give one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from streams.adapters.base import AdapterError, Candidate, Context, LineReader, Outcome, RefusedLine, shown
from streams.adapters.jsonl import fill_header, parse_object
from streams.ids import source_uuid

FAMILY: Final = "cyber_detection"
SEVERITY: Final = {1: "HIGH", 2: "MEDIUM", 3: "LOW"}


def read_eve(lines: LineReader, context: Context) -> Iterator[Outcome]:
    """Detections of an EVE file; the event id is a hash of the record, so a re-run changes nothing.

    Raises:
        AdapterError: another family, or no TLP label.
    """
    if context.family != FAMILY:
        raise AdapterError(f"format eve gives {FAMILY} events, not {context.family}; use --family {FAMILY}")
    if context.tlp is None:
        raise AdapterError("EVE records have no sharing label: give --tlp, for example --tlp AMBER")
    for line in lines:
        if line.refused is not None:
            yield line.refused
        elif line.text is not None and line.text.strip():
            yield _outcome(line.number, line.text, context)


def _outcome(number: int, text: str, context: Context) -> Outcome:
    record = parse_object(number, text)
    if isinstance(record, RefusedLine):
        return record
    alert = record.get("alert")
    if record.get("event_type") != "alert" or not isinstance(alert, dict):
        found = ascii(str(record.get("event_type"))[:40])
        message = f"event_type {found} is no detection; only alert records are published"
        return RefusedLine(number, "not_an_alert", message, shown(text), "event_type")
    try:
        # Suricata writes +0000, which is ISO 8601 in its basic form.
        occurred_at = datetime.fromisoformat(str(record.get("timestamp")))
    except ValueError:
        message = f"found {str(record.get('timestamp'))[:40]!a}; must be an ISO 8601 time with offset"
        return RefusedLine(number, "time_format", message, shown(text), "timestamp")
    event = _event(record, alert, occurred_at)
    # The whole record, not only what the contract takes from it: two alerts of one packet are two events.
    event["header"]["event_id"] = source_uuid(
        "eve", context.partner, json.dumps(record, sort_keys=True), at=_aware(occurred_at)
    )
    fill_header(event, context)
    return Candidate(number, event, shown(text), key=_text(record.get("src_ip")))


def _aware(moment: datetime) -> datetime | None:
    return moment if moment.tzinfo is not None else None


def _event(record: dict[str, Any], alert: dict[str, Any], occurred_at: datetime) -> dict[str, Any]:
    http, tls = _object(record, "http"), _object(record, "tls")
    source, target = _text(record.get("src_ip")), _text(record.get("dest_ip"))
    domain = _text(http.get("hostname")) or _text(tls.get("sni")) or _dns_name(record)
    path = _text(http.get("url"))
    file_hash = _text(_first(record.get("files"), "sha256")) or _text(_object(record, "fileinfo").get("sha256"))
    severity = alert.get("severity")
    signature = _text(alert.get("signature")) or "unnamed signature"
    entities = [
        {"type": kind, "value": value, "role": role}
        for kind, value, role in (
            ("ip", source, "source"),
            ("ip", target, "target"),
            ("domain", domain, "contacted"),
            ("file_hash", file_hash, "transferred"),
        )
        if value
    ]
    return {
        "header": {
            "occurred_at": occurred_at,
            "source_system": "suricata",
            "entities": entities,
            "summary": f"{signature}: {source or 'unknown source'} to {target or 'unknown target'}.",
        },
        "detection_name": signature,
        "severity": SEVERITY.get(severity, "INFORMATIONAL") if isinstance(severity, int) else "MEDIUM",
        "technique": _technique(alert),
        "asset": _text(record.get("host")),
        "src_ip": source,
        "dst_ip": target,
        "dst_port": record.get("dest_port"),
        "domain": domain,
        "url": f"http://{domain}{path}" if domain and path and path.startswith("/") else path,
        "file_hash": file_hash,
    }


def _technique(alert: dict[str, Any]) -> str | None:
    found = _object(alert, "metadata").get("mitre_technique_id")
    return _text(found[0]) if isinstance(found, list) and found else None


def _dns_name(record: dict[str, Any]) -> str | None:
    dns = _object(record, "dns")
    return (
        _text(dns.get("rrname"))
        or _text(_first(dns.get("query"), "rrname"))
        or _text(_first(dns.get("queries"), "rrname"))
    )


def _object(record: dict[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _first(items: Any, name: str) -> Any:
    return items[0].get(name) if isinstance(items, list) and items and isinstance(items[0], dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
