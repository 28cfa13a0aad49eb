"""An alert as a CAP 1.2 message (OASIS, Common Alerting Protocol Version 1.2, section 3.2).

A message is one state of one alert: with what people did to it the identifier carries the revision, without it the
version that the stream gave. Whoever knows the messages that went before names them, so that receivers replace them.
"""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from processors.export.places import located
from processors.export.tlp import RESTRICTIONS, strictest
from schemas.alerts import Alert
from schemas.lifecycle import AlertState

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
MAX_HEADLINE: Final = 160
"""Section 3.2.2 on <headline>: some displays show no more."""
MAX_AREAS: Final = 50
MAX_REFERENCES: Final = 100
RADIUS_KM: Final = 1
"""Events carry a point; a circle of no extent is drawn by few receivers."""

_SEVERITY: Final = {
    "critical": "Extreme",
    "high": "Severe",
    "medium": "Moderate",
    "low": "Minor",
    "informational": "Minor",
}
_URGENCY_OF_PRIORITY: Final = {"P1": "Immediate", "P2": "Expected", "P3": "Future", "P4": "Future"}
_URGENCY_OF_LEVEL: Final = {"critical": "Immediate", "high": "Expected", "medium": "Future", "low": "Future"}
_CATEGORY: Final = {
    "border_crossing": "Transport",
    "travel_booking": "Transport",
    "precursor_purchase": "CBRNE",
    "cyber_detection": "Infra",
}
_CALLED_OFF: Final = {"benign", "false_positive", "duplicate", "exercise"}
# XML 1.0, section 2.2, production Char, without the controls that it discourages.
_NOT_XML: Final = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9._:@-]")


@dataclass(frozen=True, slots=True)
class Message:
    """A CAP message by what <references> needs; ``sent`` is aware."""

    identifier: str
    sent: dt.datetime


def message_of(alert: Alert, state: AlertState | None = None) -> Message:
    """Identifier and time of the message that :func:`cap_alert` makes of the same arguments."""
    if state is None:
        return Message(_identifier(alert.alert_id, "v", alert.version), alert.updated_at)
    return revision_of(alert.alert_id, state.revision, state.updated_at)


def revision_of(alert_id: str, revision: int, at: dt.datetime) -> Message:
    """The message of an alert in the state that it had from ``at`` on."""
    return Message(_identifier(alert_id, "r", revision), at)


def cap_alert(
    alert: Alert,
    state: AlertState | None = None,
    *,
    sender: str,
    previous: Iterable[Message] = (),
    web: str | None = None,
) -> bytes:
    """The message as UTF-8 XML; valid for any text in the alert.

    ``sender`` is globally unique, such as a domain name or address. ``previous`` are messages about this alert or
    about those that it supersedes; where none is given, a later message refers to the first, which is known. ``web``
    is where to look.
    """
    this = message_of(alert, state)
    before = _before(alert, state, this, previous)
    sender = _id(sender)
    root = ET.Element("alert", xmlns=NAMESPACE)
    _add(root, "identifier", this.identifier)
    _add(root, "sender", sender)
    _add(root, "sent", _stamp(this.sent))
    _add(root, "status", "Exercise" if alert.exercise else "Actual")
    _add(root, "msgType", _kind(alert, state, before))
    _add(root, "scope", "Restricted")
    _add(root, "restriction", RESTRICTIONS[_tlp(alert)])
    _add(root, "note", "EXERCISE: this is a drill, nothing in it is real." if alert.exercise else "")
    _add(root, "references", " ".join(f"{sender},{each.identifier},{_stamp(each.sent)}" for each in before))
    _add(root, "incidents", " ".join(map(_id, [alert.alert_id, *alert.supersedes])))
    _info(ET.SubElement(root, "info"), alert, state, web)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _before(alert: Alert, state: AlertState | None, this: Message, previous: Iterable[Message]) -> list[Message]:
    """The messages that this one replaces, the oldest first."""
    found = {each.identifier: each for each in previous if each.identifier != this.identifier}
    if not found:
        first = _first(alert, state)
        if first.identifier != this.identifier:
            found[first.identifier] = first
    return sorted(found.values(), key=lambda each: (each.sent, each.identifier))[-MAX_REFERENCES:]


def _first(alert: Alert, state: AlertState | None) -> Message:
    if state is None:
        return Message(_identifier(alert.alert_id, "v", 1), alert.created_at)
    return revision_of(alert.alert_id, 1, state.raised_at)


def _kind(alert: Alert, state: AlertState | None, before: Sequence[Message]) -> str:
    if not before:
        return "Alert"
    return "Cancel" if _over(alert, state) else "Update"


def _over(alert: Alert, state: AlertState | None) -> bool:
    """Whether nobody need act on it any more: taken back, replaced, or closed as something else."""
    if alert.status != "open" or alert.superseded_by:
        return True
    if state is None:
        return False
    return state.withdrawn or bool(state.superseded_by) or (state.state == "closed" and state.verdict in _CALLED_OFF)


def _info(info: ET.Element, alert: Alert, state: AlertState | None, web: str | None) -> None:
    exercise = "EXERCISE: " if alert.exercise else ""
    _add(info, "language", "en")
    for category in sorted({"Security", *(_CATEGORY.get(each, "Security") for each in alert.families)}):
        _add(info, "category", category)
    _add(info, "event", _plain(alert.rule.title) or "Alert", always=True)
    _add(info, "urgency", _urgency(alert, state))
    _add(info, "severity", _SEVERITY.get(alert.level, "Unknown"))
    _add(info, "certainty", _certainty(alert, state))
    _add(info, "onset", _stamp(alert.first_event_at))
    _add(info, "senderName", "Tocsin")
    _add(info, "headline", _short(exercise + (alert.story or alert.rule.title)))
    _add(info, "description", exercise + _description(alert))
    _add(info, "instruction", alert.rule.response)
    _add(info, "web", web or "")
    for name, value in _parameters(alert, state):
        _pair(info, "parameter", name, value)
    for area in _areas(alert):
        area_element = ET.SubElement(info, "area")
        _add(area_element, "areaDesc", area.name, always=True)
        _add(area_element, "circle", area.circle)
        for country in area.countries:
            _pair(area_element, "geocode", "ISO 3166-1", country)


def _urgency(alert: Alert, state: AlertState | None) -> str:
    if _over(alert, state) or (state and state.state == "closed"):
        return "Past"
    if state:
        return _URGENCY_OF_PRIORITY[state.priority]
    return _URGENCY_OF_LEVEL.get(alert.level, "Unknown")


def _certainty(alert: Alert, state: AlertState | None) -> str:
    """Section 3.2.2: Likely is more than an even chance, Possible less, Unlikely about none."""
    if state and state.verdict == "true_positive":
        return "Observed"
    if alert.status == "retracted" or (state and state.verdict == "false_positive"):
        return "Unlikely"
    if alert.confidence > 50:
        return "Likely"
    return "Possible" if alert.confidence > 5 else "Unlikely"


def _description(alert: Alert) -> str:
    who = ", ".join(alert.partners)
    span = f"{_stamp(alert.first_event_at)} to {_stamp(alert.last_event_at)}"
    counted = f"{alert.evidence_total} events from {who}, {span}." if who else f"{alert.evidence_total} events, {span}."
    return "\n".join(part for part in (alert.story, alert.rule.description, counted) if part)


def _parameters(alert: Alert, state: AlertState | None) -> Iterator[tuple[str, str]]:
    yield "alert_id", alert.alert_id
    yield "alert_version", str(alert.version)
    yield "alert_status", alert.status
    yield "rule_id", alert.rule.id
    yield "rule_version", alert.rule.version
    yield "level", alert.level
    yield "confidence", str(alert.confidence)
    yield "tlp", _tlp(alert)
    for partner in alert.partners:
        yield "partner", partner
    for other in alert.supersedes:
        yield "supersedes", other
    after = alert.superseded_by or (state.superseded_by if state else None)
    if after:
        yield "superseded_by", after
    if state:
        yield "state", state.state
        yield "priority", state.priority
        yield "verdict", state.verdict or ""


@dataclass(frozen=True, slots=True)
class _Area:
    """``circle`` is ``lat,lon radius`` in degrees and kilometres, or empty."""

    name: str
    circle: str = ""
    countries: tuple[str, ...] = ()


def _areas(alert: Alert) -> list[_Area]:
    """One area for each place of the evidence; where nothing has coordinates, the names of places and countries."""
    areas: dict[_Area, None] = {}
    for item in alert.evidence:
        if located(item.lat, item.lon):
            country = _plain(item.country)
            name = ", ".join(part for part in (_plain(item.place), country) if part)
            circle = _circle(item.lat, item.lon)
            areas[_Area(name or circle, circle, (country,) if country else ())] = None
    if areas:
        return list(areas)[:MAX_AREAS]
    names = [name for each in (*alert.places, *alert.countries) if (name := _plain(each))]
    circle = _circle(alert.lat, alert.lon) if located(alert.lat, alert.lon) else ""
    countries = tuple(name for each in alert.countries if (name := _plain(each)))
    return [_Area(", ".join(names) or circle or "Place not known", circle, countries)]


def _circle(lat: float | None, lon: float | None) -> str:
    return f"{lat:.5f},{lon:.5f} {RADIUS_KM}"


def _tlp(alert: Alert) -> str:
    return strictest([alert.tlp, *(each.tlp for each in alert.evidence)])


def _identifier(alert_id: str, letter: str, number: int) -> str:
    return f"{_id(alert_id)}.{letter}{number}"


def _id(text: str) -> str:
    """Identifiers hold no space, comma, < or & (section 3.2.1)."""
    return _NOT_IN_IDS.sub("_", text) or "_"


def _stamp(time: dt.datetime) -> str:
    """To the second with the offset in digits, which for UTC is -00:00 (section 3.3.2)."""
    utc = time.astimezone(dt.UTC)
    return f"{utc.year:04d}-{utc:%m-%dT%H:%M:%S}-00:00"


def _plain(text: str) -> str:
    """The text without what XML cannot carry, line ends as line feeds."""
    return _NOT_XML.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _short(text: str) -> str:
    line = " ".join(_plain(text).split())
    return line if len(line) <= MAX_HEADLINE else line[: MAX_HEADLINE - 1].rstrip() + "…"


def _add(parent: ET.Element, name: str, text: str, always: bool = False) -> None:
    plain = _plain(text)
    if plain or always:
        ET.SubElement(parent, name).text = plain


def _pair(parent: ET.Element, name: str, key: str, value: str) -> None:
    if plain := _plain(value):
        pair = ET.SubElement(parent, name)
        _add(pair, "valueName", key)
        _add(pair, "value", plain)
