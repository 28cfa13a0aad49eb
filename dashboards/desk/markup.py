"""Small pieces of HTML as text: tables, badges, links, sparklines. Everything that comes from outside is escaped here.

A table of some hundred rows is one element of the page so, and a real ``<table>`` with a caption and headed columns,
which a screen reader can walk through.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode

from dashboards.palette import LEVELS, TLP_LABELS, tlp_label

SPARK_WIDTH: Final = 120
SPARK_HEIGHT: Final = 24
_LEVEL_SIGNS: Final = {"critical": "▲▲", "high": "▲", "medium": "◆", "low": "▽", "informational": "○"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def esc(value: object) -> Html:
    """``value`` as HTML: what is :class:`Html` stays, anything else is escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value), quote=True))


def tag(name: str, /, *inside: object, **attributes: str | None) -> Html:
    """An element; ``class_`` and ``aria_label`` become ``class`` and ``aria-label``, ``None`` leaves one out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{''.join(esc(each) for each in inside)}</{name}>")


def icon(name: str) -> Html:
    """A picture of the Material Icons, beside words that say the same."""
    return tag("i", name, class_="q-icon notranslate material-icons", aria_hidden="true")


def options(shown: Mapping[str, str], chosen: str) -> Html:
    """Options of a select, by value and label."""
    made = (
        tag("option", label, value=value, selected="" if value == chosen else None) for value, label in shown.items()
    )
    return Html("".join(made))


def join(parts: Iterable[object], between: str = " ") -> Html:
    """The parts, escaped, with escaped text between."""
    return Html(html.escape(between).join(esc(each) for each in parts))


def link(text: object, path: str, **query: str) -> Html:
    """A link within the desk."""
    address = quote(path, safe="/") + (f"?{urlencode(query)}" if query else "")
    return tag("a", text, href=address)


def alert_link(alert_id: str, text: object) -> Html:
    """A link to an alert's page."""
    return link(text, f"/alerts/{alert_id}")


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Sequence[str] = (),
    empty: str = "Nothing to show.",
    hide_caption: bool = False,
) -> Html:
    """A table with a caption; the first cell of each row heads it. Columns in ``numeric`` are set to the right.
    On a telephone each row is a list."""
    right = {columns.index(name) for name in numeric}

    def style(index: int) -> str | None:
        return "num" if index in right else None

    # On a telephone rows are stacked (pages.css), which takes away what the elements say; the roles say it again.
    head = tag(
        "tr",
        *(tag("th", name, scope="col", role="columnheader", class_=style(index)) for index, name in enumerate(columns)),
        role="row",
    )
    body = [
        tag(
            "tr",
            *(
                tag("td", tag("div", cell), role="cell", data_label=columns[index], class_=style(index))
                if index
                else tag("th", cell, scope="row", role="rowheader", data_label=columns[index])
                for index, cell in enumerate(row)
            ),
            role="row",
        )
        for row in rows
    ]
    if not body:
        return tag("p", empty, class_="quiet")
    inside = tag(
        "table",
        tag("caption", caption, class_="sr-only" if hide_caption else None),
        tag("thead", head, role="rowgroup"),
        tag("tbody", *body, role="rowgroup"),
        role="table",
        class_="desk-table",
    )
    # A region that scrolls sideways must be reachable by keyboard (WCAG 2.1.1).
    return tag("div", inside, class_="table-scroll", tabindex="0", role="region", aria_label=caption)


def select(name: str, chosen: str, shown: Mapping[str, str]) -> Html:
    """A choice of a form, by value and label; ``all`` stands for none of them."""
    return tag("select", options({"": "all"} | dict(shown), chosen), name=name)


def pairs(items: Iterable[tuple[object, object]]) -> Html:
    """A description list."""
    return tag("dl", *(Html(tag("dt", name) + tag("dd", value)) for name, value in items), class_="desk-pairs")


def bullets(items: Iterable[object], *, ordered: bool = False) -> Html:
    """A list."""
    return tag("ol" if ordered else "ul", *(tag("li", item) for item in items), class_="desk-list")


def badge(text: object, look: str = "", *, sign: str = "", title: str | None = None) -> Html:
    """A word in a frame; ``look`` is a class of desk.css or pages.css. The word says what colour and sign say."""
    inside = join([tag("span", sign, aria_hidden="true"), text]) if sign else text
    return tag("span", inside, class_=f"chip {look}".strip(), title=title)


def level_badge(level: str) -> Html:
    """A level by sign, word and colour."""
    known = level if level in LEVELS else "informational"
    return badge(level, f"level-{known}", sign=_LEVEL_SIGNS[known])


def tlp_badge(tlp: str) -> Html:
    """A TLP label as people write it."""
    return badge(tlp_label(tlp), f"tlp tlp-{(tlp if tlp in TLP_LABELS else 'RED').lower().replace('_', '-')}")


def exercise_badge(exercise: bool) -> Html:
    """``exercise`` for drills, nothing for live alerts."""
    return badge("exercise", "exercise", sign="◇") if exercise else Html("")


def time(moment: datetime, *, seconds: bool = True) -> Html:
    """A moment in UTC, machine-readable as well."""
    utc = moment.astimezone(UTC)
    text = utc.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
    return tag("time", text, datetime=utc.isoformat().replace("+00:00", "Z"))


def sparkline(values: Sequence[float], label: str) -> Html:
    """A small line of ``values`` in their order, from zero up; ``label`` is its text alternative."""
    top = max(values, default=0) or 1
    step = SPARK_WIDTH / max(len(values) - 1, 1)
    points = " ".join(
        f"{index * step:.1f},{SPARK_HEIGHT - 2 - value / top * (SPARK_HEIGHT - 4):.1f}"
        for index, value in enumerate(values)
    )
    line = tag("polyline", points=points, fill="none", stroke="currentColor")
    return tag(
        "svg",
        line,
        class_="desk-spark",
        role="img",
        aria_label=label,
        viewBox=f"0 0 {SPARK_WIDTH} {SPARK_HEIGHT}",
        width=str(SPARK_WIDTH),
        height=str(SPARK_HEIGHT),
    )


def counted(counts: Mapping[str, int]) -> Html:
    """``2 true positive, 1 benign``; a dash for nothing."""
    said = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    return esc(", ".join(said) or "–")


def prose(text: str) -> Html:
    """A sentence in which names and commands stand between backticks, as in Markdown."""
    parts = text.split("`")
    return Html("".join(tag("code", part) if index % 2 else esc(part) for index, part in enumerate(parts)))


def hint(text: str) -> Html:
    """A quiet paragraph of :func:`prose`."""
    return tag("p", prose(text), class_="quiet")


def words(name: str) -> str:
    """A symbol as people read it: ``border_crossing`` is ``border crossing``."""
    return name.replace("_", " ")


def fields_of(group: Mapping[str, str]) -> dict[str, str]:
    """The fields that a rule groups by, as people read them: ``header.source_system`` is ``source system``."""
    return {field: words(field.rpartition(".")[2]) for field in group}


def in_words(story: str, said: Mapping[str, str]) -> str:
    """The story with what ``said`` gives in place of fields and ids; what only begins or ends like one stays."""
    known = "|".join(re.escape(each) for each in sorted(said, key=len, reverse=True))
    return re.sub(rf"(?<![\w.-])(?:{known})(?![\w-])", lambda found: said[found[0]], story) if known else story
