"""An alert in one paragraph of plain words: what, where, when, who is concerned, how sure, what to do. Pure functions.

Times are aware UTC datetimes. How sure: the words of estimative probability that STIX 2.1, Appendix A, gives for a
confidence from 0 to 100 (DNI scale).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pycountry

from dashboards.desk.markup import fields_of, in_words, words
from dashboards.explain import between
from schemas.alerts import Alert

MAX_NAMED: Final = 4
_SURE: Final = (
    (90, "almost certain"),
    (80, "very likely"),
    (60, "likely"),
    (40, "about as likely as not"),
    (20, "unlikely"),
    (10, "very unlikely"),
    (0, "hardly possible"),
)
_TRUE: Final = {
    "almost certain": "almost certainly true",
    "very likely": "very likely true",
    "likely": "likely true",
    "about as likely as not": "about as likely true as not",
    "unlikely": "unlikely to be true",
    "very unlikely": "very unlikely to be true",
    "hardly possible": "hardly to be believed",
}
_ENTITY_WORDS: Final = {"ip": "IP address", "file_hash": "file", "phone": "phone number", "account": "account"}


@dataclass(frozen=True, slots=True)
class Story:
    """The answers, each a sentence or two."""

    what: str
    where: str
    when: str
    who: str
    sure: str
    do: str

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """(question, answer) in the order of the paragraph; empty answers left out."""
        named = (
            ("What", self.what),
            ("Where", self.where),
            ("When", self.when),
            ("Who is concerned", self.who),
            ("How sure", self.sure),
            ("What to do", self.do),
        )
        return tuple((question, answer) for question, answer in named if answer)


def country_name(code: str) -> str:
    """The short English name of an ISO 3166 alpha-2 code; the code where there is none."""
    found = pycountry.countries.get(alpha_2=code) if len(code) == 2 else None
    if found is None:
        return code
    return str(getattr(found, "common_name", found.name)).split(",")[0]


def listed(items: Sequence[str], most: int = MAX_NAMED) -> str:
    """``a``, ``a and b``, ``a, b and 3 more``."""
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def confidence_words(confidence: int) -> str:
    """``80`` is ``very likely``."""
    return next(said for least, said in _SURE if confidence >= least)


def entity_words(kind: str, value: str) -> str:
    """``document X1234567``, ``IP address 192.0.2.7``."""
    return f"{_ENTITY_WORDS.get(kind, words(kind))} {value}"


def concerned(alert: Alert) -> list[str]:
    """The entities that most partners, then most events, name; those that only one event names come last, and only if
    nothing links the evidence."""
    partners: dict[tuple[str, str], set[str]] = {}
    events: dict[tuple[str, str], set[str]] = {}
    for item in alert.evidence:
        for entity in item.entities:
            key = (entity.type, entity.value)
            partners.setdefault(key, set()).add(item.partner)
            events.setdefault(key, set()).add(item.event_id)
    ranked = sorted(events, key=lambda key: (-len(partners[key]), -len(events[key]), key))
    linking = [key for key in ranked if len(events[key]) > 1]
    grouped = [key for key in ranked if key[1] in alert.group.values() and key not in linking]
    return [entity_words(*key) for key in [*grouped, *linking] or ranked]


def tell(alert: Alert, names: Mapping[str, str], now: datetime) -> Story:
    """The alert in plain words; ``names`` are names of partners by id."""
    return Story(_what(alert, names), _where(alert), _when(alert, now), _who(alert, names), _sure(alert), _do(alert))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".!?" else f"{text}."


def _what(alert: Alert, names: Mapping[str, str]) -> str:
    drill = "This is an exercise, not a real situation. " if alert.exercise else ""
    said = fields_of(alert.group) | {each: names.get(each, each) for each in alert.partners}
    return drill + _sentence(in_words(alert.story or alert.rule.title, said))


def _where(alert: Alert) -> str:
    spots = _unique(
        f"{item.place} ({country_name(item.country)})" if item.place and item.country else item.place
        for item in sorted(alert.evidence, key=lambda item: item.occurred_at)
    )
    if spots:
        return f"It was seen in {listed(spots)}."
    countries = [country_name(code) for code in alert.countries]
    if countries:
        return f"It concerns {listed(countries)}; no exact place is known."
    return "No place is known."


def _when(alert: Alert, now: datetime) -> str:
    first, last = alert.first_event_at, alert.last_event_at
    ago = f"{between(last, now)} ago" if (now - last).total_seconds() >= 1 else "just now"
    if (last - first).total_seconds() < 1:
        return f"It happened at {_moment(first)} UTC, {ago}."
    until = last.astimezone(UTC).strftime("%H:%M") if first.date() == last.date() else _moment(last)
    return f"It happened between {_moment(first)} and {until} UTC, within {between(first, last)}; the last event {ago}."


def _moment(at: datetime) -> str:
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc.strftime('%B %Y, %H:%M')}"


def _who(alert: Alert, names: Mapping[str, str]) -> str:
    entities = concerned(alert)
    reported = listed([names.get(partner, partner) for partner in alert.partners])
    about = f"It concerns {listed(entities)}. " if entities else ""
    return f"{about}{reported} reported it." if reported else about.strip()


def _sure(alert: Alert) -> str:
    events = f"{alert.evidence_total} event{'s' if alert.evidence_total != 1 else ''}"
    count = len(alert.partners)
    sources = f"{count} independent partners say so" if count > 1 else "one partner says so"
    said = _TRUE[confidence_words(alert.confidence)]
    return f"This is {said} (confidence {alert.confidence} of 100): {events} from {sources}."


def _do(alert: Alert) -> str:
    response = _sentence(alert.rule.response)
    if response:
        return f"What to do: {response}"
    return "The rule names no response: look at the evidence below, and ask the partners."


def _unique(items: Iterable[str]) -> list[str]:
    return [each for each in dict.fromkeys(items) if each]
