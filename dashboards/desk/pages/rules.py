"""The page of rules, ``/rules``: what each did lately, how its alerts were closed, and a back-test."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from fastapi import Request
from nicegui import background_tasks, ui

from dashboards.alerts import Store
from dashboards.desk import feed_queries, markup
from dashboards.desk.auth.permissions import person_of
from dashboards.desk.auth.roles import Person
from dashboards.desk.desk import Desk
from dashboards.desk.feed_queries import RuleWork
from dashboards.desk.frame import frame, page, text
from dashboards.desk.markup import Html, link, tag
from dashboards.desk.pages import backtest
from dashboards.desk.pages.filling import fill
from dashboards.desk.pages.parts import asked, button, chart, now, panel, raw, style
from dashboards.palette import level_rank
from processors.rule_files import load
from processors.rulebook import Correlation, Rulebook

Files = tuple[tuple[str, int], ...]
"""Names of files and when they were changed."""
PERIODS: Final = (7, 30)
DAYS: Final = {1: "1 day", 7: "7 days", 30: "30 days"}
UNKNOWN_RULE: Final = "Not a rule that is known"
_JUDGED: Final = ("true_positive", "benign", "false_positive")


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule with what it did. ``path`` is file:line, and empty for a rule that only the store knows any more."""

    rule_id: str
    title: str
    level: str
    owner: str
    path: str
    alerts: int
    exercises: int
    signals: int
    verdicts: dict[str, int]
    last_at: datetime | None

    @property
    def judged(self) -> int:
        """Live alerts closed as true, benign or false."""
        return sum(self.verdicts.get(verdict, 0) for verdict in _JUDGED)

    def share(self, verdict: str) -> float | None:
        """Part of the judged alerts that was closed so; ``None`` before any was."""
        return self.verdicts.get(verdict, 0) / self.judged if self.judged else None


def lines(book: Rulebook, work: Sequence[RuleWork], signals: Mapping[str, int]) -> list[RuleLine]:
    """Every rule that gives alerts or gave some; the busiest first."""
    done = {each.rule_id: each for each in work}
    found = []
    for rule in book.rules:
        meta, own = rule.meta, done.pop(rule.meta.id, None)
        if not rule.alerts and own is None:
            continue
        found.append(
            RuleLine(
                meta.id,
                meta.title,
                meta.level,
                str(meta.tocsin.get("owner", "")),
                meta.path,
                own.alerts if own else 0,
                own.exercises if own else 0,
                signals.get(meta.id, 0),
                own.verdicts if own else {},
                own.last_at if own else None,
            )
        )
    for own in done.values():
        count = signals.get(own.rule_id, 0)
        found.append(
            RuleLine(own.rule_id, own.title, "", "", "", own.alerts, own.exercises, count, own.verdicts, own.last_at)
        )
    return sorted(found, key=lambda each: (-each.alerts, -each.exercises, -level_rank(each.level), each.title))


def rule_table(found: Sequence[RuleLine], days: int, chosen: str) -> Html:
    """All rules with their figures."""
    columns = (
        *("Rule", "Level", "Owner", "Alerts", "In exercises", "Signals", "True positive", "False positive"),
        *("Closed as", "Last alert (UTC)"),
    )
    return markup.table(
        f"Rules that give alerts, last {days} days, the busiest first. Shares are of the live alerts that were closed "
        "as true positive, benign or false positive.",
        columns,
        (
            (
                link(
                    tag("strong", each.title) if each.rule_id == chosen else each.title,
                    "/rules",
                    rule=each.rule_id,
                    days=str(days),
                ),
                markup.level_badge(each.level) if each.level else tag("span", "not in force", class_="quiet"),
                tag("span", each.owner or "–", class_="whole"),
                f"{each.alerts:,}",
                f"{each.exercises:,}",
                f"{each.signals:,}",
                _share(each, "true_positive"),
                _share(each, "false_positive"),
                markup.counted({("not closed" if name == "open" else name): n for name, n in each.verdicts.items()}),
                markup.time(each.last_at, seconds=False) if each.last_at else "–",
            )
            for each in found
        ),
        numeric=("Alerts", "In exercises", "Signals", "True positive", "False positive"),
        empty="There are no rules.",
    )


def _share(line: RuleLine, verdict: str) -> str:
    share = line.share(verdict)
    return "–" if share is None else f"{share:.0%} of {line.judged}"


def describe(book: Rulebook, rule_id: str) -> Html:
    """One rule, as its file has it."""
    rule = book.by_id.get(rule_id)
    if rule is None:
        return tag("p", "This rule is not in force any more.", class_="quiet")
    own = rule.meta.tocsin
    rows: list[tuple[object, object]] = [
        ("Says", rule.meta.description or "–"),
        *([("Condition", tag("code", rule.condition_text))] if isinstance(rule, Correlation) else []),
        ("Response", str(own.get("response", "–"))),
        ("Known false positives", markup.bullets(rule.meta.false_positives) if rule.meta.false_positives else "–"),
        ("Legal basis", str(own.get("legal_basis", "–"))),
        ("Tags", ", ".join(rule.meta.tags) or "–"),
        ("Version", tag("code", rule.meta.version)),
        ("File", tag("code", Path(rule.meta.path).name)),
    ]
    return markup.pairs(rows)


class Books:
    """The rules under a path, read again when a file has changed; files with errors are left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[Files, Rulebook] | None = None

    def at_hand(self) -> Rulebook | None:
        """The rules when they are read already and are what the files say; takes a millisecond."""
        known = self._read
        return known[1] if known is not None and known[0] == self._files() else None

    def get(self) -> Rulebook:
        """The rules; reading them takes seconds.

        Raises:
            RuleError: the folder cannot be read.
        """
        with self._lock:
            book = self.at_hand()
            if book is None:
                files, book = self._files(), load([self._path], errors=[])
                self._read = (files, book)
        return book

    def _files(self) -> Files:
        found = self._path.rglob("*.yml") if self._path.is_dir() else [self._path]
        return tuple(sorted((str(file), file.stat().st_mtime_ns) for file in found))


@cache
def books(path: Path) -> Books:
    """The rules under this path; one of each in a process, whoever asks."""
    return Books(path)


def book_of(path: Path) -> Rulebook:
    """See :meth:`Books.get`."""
    return books(path).get()


async def _load(store: Store, days: int) -> tuple[list[RuleWork], dict[str, int]]:
    since = now() - timedelta(days=days)
    return await asyncio.gather(
        asked(feed_queries.rule_alerts, store, since), asked(feed_queries.rule_signals, store, since)
    )


def register(desk: Desk) -> None:
    """Serve the page."""
    known = books(desk.settings.rules_path)

    @page("/rules")
    async def rules_page(request: Request) -> None:
        opened = _Page(desk, known, person_of(request), request.query_params)
        with frame("Rules", opened.person, "rules"):
            style()
            await fill(opened.load, opened.show)


Loaded = tuple[Rulebook, list[RuleLine]]


class _Page:
    """One open page."""

    def __init__(self, desk: Desk, known: Books, person: Person, query: Mapping[str, str]) -> None:
        self._desk, self._books, self.person = desk, known, person
        self._chosen = query.get("rule", "")
        self._days = 30 if query.get("days") == "30" else 7

    async def load(self) -> Loaded:
        """Read the rules and what they did."""
        book, (work, signals) = await asyncio.gather(
            asyncio.to_thread(self._books.get), _load(self._desk.store, self._days)
        )
        return book, lines(book, work, signals)

    def show(self, loaded: Loaded) -> None:
        """Make the contents."""
        with ui.element("div").classes("page-grid"):
            self._show(*loaded)

    def _show(self, book: Rulebook, found: Sequence[RuleLine]) -> None:
        chosen, days = self._chosen, self._days
        periods = (
            tag("strong", f"last {each} days", aria_current="true")
            if each == days
            else link(f"last {each} days", "/rules", days=str(each), **({"rule": chosen} if chosen else {}))
            for each in PERIODS
        )
        raw(tag("p", "Period: ", markup.join(periods, " · ")))
        if chosen:
            # The id is the address's: what is no rule's is not shown, let alone as a title.
            known = book.by_id.get(chosen)
            titles = (each.title for each in found if each.rule_id == chosen)
            with panel(next(titles, known.meta.title if known else UNKNOWN_RULE)):
                raw(describe(book, chosen))
        if self.person.may("rules"):
            with panel("Back-test"):
                _Backtest(self._desk, self.person, found, chosen).build()
        with panel("What each rule did"):
            raw(rule_table(found, days, chosen))


def _file(line: RuleLine) -> str:
    return line.path.rpartition(":")[0]


class _Backtest:
    """Asks what the rules would have done, and shows it."""

    def __init__(self, desk: Desk, person: Person, found: Sequence[RuleLine], chosen: str) -> None:
        self._desk, self._person = desk, person
        titles = defaultdict(list)
        for each in found:
            titles[_file(each)].append(each.title)
        # A file is tried as a whole, and may hold several rules that give alerts.
        self._paths = {"": "all rules"} | {path: "; ".join(each) for path, each in titles.items() if path}
        self._path = next((_file(each) for each in found if each.rule_id == chosen), "")
        self._runs = False

    def build(self) -> None:
        text("p", "Runs the rules as their files stand over the stored events; nothing is changed and nobody is told.")
        with ui.element("div").classes("action-bar"):
            self._rules = ui.select(self._paths, value=self._path, label="Rules").style("min-width: 260px")
            self._days = ui.select(DAYS, value=7, label="Over the last").style("min-width: 130px")
            self._start = button("Run back-test", "science", self._run, main=True)
        self._told = text("p", "").props('role="status" aria-live="polite"')
        self._result = ui.element("div")

    async def _run(self) -> None:
        if self._runs:
            return
        self._runs = True
        client = ui.context.client
        self._start.props("disabled")
        self._told.text = "Reading the stored events …"
        task = background_tasks.create(self._work(), name="back-test")
        client.on_delete(task.cancel)
        try:
            await asyncio.shield(task)
        finally:
            self._runs = False
            self._start.props(remove="disabled")

    async def _work(self) -> None:
        rules = Path(self._rules.value) if self._rules.value else self._desk.settings.rules_path
        self._desk.access.write(self._person, "back-test", str(rules), detail=f"{self._days.value} days")
        try:
            outcome = await backtest.run(self._desk.settings, rules, int(self._days.value), self._say)
        except backtest.BacktestError as error:
            self._told.text = str(error)
            return
        self._told.text = outcome.text
        self._result.clear()
        with self._result:
            if outcome.days:
                chart(backtest.options(outcome), 260, backtest.told(outcome))
            rows = ((title, f"{count:,}") for title, count in outcome.rules)
            raw(markup.table("Alerts by rule", ("Rule", "Alerts"), rows, numeric=("Alerts",), empty="No alerts."))

    def _say(self, line: str) -> None:
        self._told.text = line
