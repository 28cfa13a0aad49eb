"""YAML with line numbers, so that an error in a configuration file names its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from schemas.events import problems_of


class ConfigError(ValueError):
    """A configuration file that cannot be used; each line of the message is ``file:line: field: what, what to do``."""


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A loaded file: its data, and the line (from 1) of each key by path."""

    path: Path
    data: Any
    lines: dict[tuple[int | str, ...], int]

    def line_of(self, loc: tuple[int | str, ...]) -> int:
        """Line of the nearest known ancestor of a path."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 1)

    def error(self, loc: tuple[int | str, ...], message: str) -> str:
        """``file:line: message`` for a path."""
        return f"{self.path}:{self.line_of(loc)}: {message}"

    def refuse(self, error: ValidationError) -> ConfigError:
        """The problems of a pydantic error as one ConfigError with lines."""
        found = zip(error.errors(include_url=False), problems_of(error), strict=True)
        return ConfigError("\n".join(self.error(detail["loc"], str(problem)) for detail, problem in found))


def load_yaml(path: Path) -> YamlDocument:
    """Read one YAML document with ``yaml.SafeLoader``; a repeated key is an error.

    Raises:
        ConfigError: unreadable, no UTF-8, no YAML, or a key given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    lines: dict[tuple[int | str, ...], int] = {}
    if root is not None:
        _collect(path, root, (), lines)
    return YamlDocument(path, data, lines)


def _collect(path: Path, node: yaml.Node, loc: tuple[int | str, ...], lines: dict[tuple[int | str, ...], int]) -> None:
    lines.setdefault(loc, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*loc, str(key.value))
            line = key.start_mark.line + 1
            if child in lines:
                raise ConfigError(f"{path}:{line}: {key.value!r} is given twice, first on line {lines[child]}")
            lines[child] = line
            _collect(path, value, child, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect(path, value, (*loc, index), lines)
