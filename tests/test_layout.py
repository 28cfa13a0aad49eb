"""How the repository is laid out: which folder may import which, what lies at the top, and what no file contains."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "schemas": {"schemas"},
    "streams": {"schemas", "streams"},
    "processors": {"schemas", "streams", "processors"},
    "dashboards": {"schemas", "streams", "processors", "dashboards"},
    "deploy": {"schemas", "streams", "processors", "dashboards", "deploy"},
}
TOP = {
    *MAY_IMPORT,
    *("tests", ".ci", ".gitignore", "LICENSE", "Makefile", "README.md", "pyproject.toml", "requirements.lock"),
    *("CHANGELOG.md", "CONTRIBUTING.md"),
}
MAX_LINES = 400
CODE = (".py", ".js", ".css", ".html", ".sql", ".sh")
# The brackets keep this file from matching itself.
LEFT_OVER = re.compile(r"\b([T]ODO|[F]IXME|[X]XX:|[H]ACK:)")
HERE = re.compile(r"/[w]ork/|/[t]mp/w/|/[r]oot/|/[h]ome/[a-z]")


def files() -> list[Path]:
    """Files of the repository: committed or about to be, ignored ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def repository() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository here: files cannot be told from build products")
    found = files()
    assert len(found) > 100
    return found


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level name of every import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name.split(".")[0]) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_one_way(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert modules
    against = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules
        for line, name in imported(path)
        if name in {*MAY_IMPORT, "tests"} - MAY_IMPORT[folder]
    ]
    assert against == []


def test_the_top_holds_only_what_belongs_there(repository: list[Path]) -> None:
    assert {path.relative_to(ROOT).parts[0] for path in repository} <= TOP


def test_files_stay_short(repository: list[Path]) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in repository
        if path.suffix in CODE and (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


@pytest.mark.parametrize(("pattern", "what"), [(LEFT_OVER, "unfinished work"), (HERE, "a path of one machine")])
def test_no_file_contains(repository: list[Path], pattern: re.Pattern[str], what: str) -> None:
    found = []
    for path in repository:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:80]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    assert found == []
