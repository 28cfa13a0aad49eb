"""A correlator fed by hand, for tests that tell a story."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from processors.alerts import Draft
from processors.correlator import Correlator
from processors.predicates import Leaf, Op
from processors.rulebook import Bound, Correlation, Detection, Rulebook, RuleMeta
from processors.signals import SignalMaker
from schemas.alerts import Alert, Signal

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
START = 1_700_000_000_000_000
SECOND = 1_000_000
HOUR = 3600
BASES = ("a", "b", "c")


def meta(name: str) -> RuleMeta:
    return RuleMeta(name, name, name, "", "high", "v1")


def rule(kind: Any, *bounds: str, bases: tuple[str, ...] = BASES, **changes: Any) -> Correlation:
    """A correlation named ``low`` over a 10 s window grouped by ``g``; bounds as in ``gte 2``."""
    found = tuple(Bound(op, Fraction(number)) for op, number in map(str.split, bounds))  # type: ignore[arg-type]
    defaults = {"meta": meta("low"), "group_by": ("g",), "timespan_s": 10, "fingerprint": "low"}
    return Correlation(type=kind, bases=bases, bounds=found, **{**defaults, **changes})


def read_alerts(drafts: Iterable[Draft]) -> list[Alert]:
    """The alerts as those who read their records see them."""
    alerts = []
    for draft in drafts:
        record = draft.tell().record()
        alert = Alert.model_validate_json(record)
        # What is put together from parts is what the contract writes, no field more or less.
        assert alert.model_dump_json().encode() == record
        assert (alert.alert_id, alert.version, alert.status) == (draft.alert_id, draft.version, draft.status)
        alerts.append(alert)
    return alerts


class Bench:
    """A correlator fed by hand; seconds count from the start."""

    def __init__(self, *rules: Correlation, alone: tuple[str, ...] = (), lateness_s: int = HOUR) -> None:
        detections = tuple(Detection(meta(b), "tip_report", Leaf("g", Op.EXISTS, True), b in alone) for b in BASES)
        self.book = Rulebook(detections, rules)
        self.maker = SignalMaker(self.book, lateness_s)
        self.correlator = Correlator(self.book, lateness_s)
        self.told: list[Alert] = []

    def signals(self, second: float, event: str, base: str = "a", behind_s: int = 0, **fields: Any) -> list[Signal]:
        at = START + round(second * SECOND)
        exercise, partner = fields.pop("exercise", False), fields.pop("partner", "bpol-de")
        lat, lon = fields.pop("position", (None, None))
        fields = {"g": "1", **fields}
        piece = [event, partner, "tip_report", at, at, at, "GREEN", "", "", lat, lon, "", base, fields, 0, 0, exercise]
        detection = self.book.by_id[base]
        assert isinstance(detection, Detection)
        return self.maker.of_event(detection, [*piece, 50, []], behind_s * SECOND)

    def see(self, second: float, event: str, base: str = "a", behind_s: int = 0, **fields: Any) -> list[Alert]:
        """One event; returns the alerts that it led to."""
        return self.feed(self.signals(second, event, base, behind_s, **fields))

    def feed(self, signals: list[Signal]) -> list[Alert]:
        found: list[Alert] = []
        while signals:
            effects = self.correlator.add(signals, NOW)
            found += read_alerts(effects.alerts)
            signals = effects.signals
        self.told += found
        return found

    def pass_time(self, second: float) -> list[Alert]:
        found: list[Alert] = []
        for depth in (1, 2):
            effects = self.correlator.advance(START + round(second * SECOND), NOW, depth)
            found += read_alerts(effects.alerts)
            found += self.feed(effects.signals)
        self.told += found
        return found

    def open(self) -> list[list[str]]:
        """Evidence (event ids) of each open alert."""
        latest: dict[str, Alert] = {}
        for alert in self.told:
            if alert.alert_id not in latest or alert.version > latest[alert.alert_id].version:
                latest[alert.alert_id] = alert
        found = [alert for alert in latest.values() if alert.status == "open"]
        return [[e.event_id for e in alert.evidence] for alert in sorted(found, key=lambda a: a.first_event_at)]
