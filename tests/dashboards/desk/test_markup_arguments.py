"""What the desk gives to NiceGUI's ``props``, ``classes`` and ``style``, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from nicegui import Client
from nicegui.page import page

from dashboards.desk import app
from dashboards.desk.pages.parts import panel

DESK = Path(app.__file__).parent
PARSED = {"props", "classes", "style"}
CONSTANTS = {
    ("dialogs.py", """f'aria-label="{title}"'"""),
    ("frame.py", """f'href="{path}"'"""),
    ("frame.py", """f'title="{ROLE_NAMES.get(person.role, person.role)}"'"""),
    ("pages/alert_actions.py", """f'aria-label="{title}"'"""),
    (
        "pages/alert_actions.py",
        """f'title="{label}, key {key}" aria-keyshortcuts="{key}"' if key else f'title="{label}"'""",
    ),
    ("pages/alert.py", "look"),
    ("pages/silences.py", "look"),
}
"""Put together from constants of those modules only."""


def composed(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every argument to a parsed method that is put together at run time."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in PARSED:
            continue
        for value in [*node.args, *(keyword.value for keyword in node.keywords)]:
            if not _is_literal(value):
                yield node.lineno, ast.unparse(value)


def _is_literal(value: ast.expr) -> bool:
    match value:
        case ast.Constant():
            return True
        case ast.IfExp(body=yes, orelse=no):
            return _is_literal(yes) and _is_literal(no)
        case ast.Dict(values=values):
            return all(map(_is_literal, values))
    return False


@pytest.mark.parametrize("file", sorted(DESK.rglob("*.py")), ids=lambda file: str(file.relative_to(DESK)))
def test_what_nicegui_parses_is_literal(file: Path) -> None:
    """NiceGUI splits these texts into attributes, and runs what is in one whose name starts with a colon. What is not
    known beforehand is set by item: ``element.props["title"] = text``."""
    name = file.relative_to(DESK).as_posix()
    assert [each for each in composed(file.read_text()) if (name, each[1]) not in CONSTANTS] == []


def test_a_panel_does_not_let_its_title_into_what_is_parsed() -> None:
    with Client(page("")), panel('x" :onmouseover="alert(1)') as section:
        title = section.default_slot.children[0]
    assert set(section.props) == {"aria-labelledby"}
    assert title.props["id"] == section.props["aria-labelledby"]
    assert set(title.props) == {"id"}


@pytest.mark.parametrize(
    "source", ["e.props(f'id=\"{x}\"')", "e.classes('a ' + b)", "e.style(x)", "e.props(add='a' if x else y)"]
)
def test_the_check_finds_what_it_is_for(source: str) -> None:
    assert len(list(composed(source))) == 1
