"""What ``deploy/compose.yaml`` says, with the variables of an ``.env`` filled in as Compose does it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from deploy.environment import COMPOSE_FILE

OURS = "tocsin:"
"""Begins the image of every process of ours."""
JOBS = ("migrate",)
PINNED = re.compile(r"(?P<name>[a-z0-9/-]+):(?P<version>\d+(?:\.\d+){2,3}(?:-[a-z-]+)?)@sha256:[0-9a-f]{64}")
"""An image of others: an exact version, and the digest that it had when it was chosen."""
VARIABLE = re.compile(r"\$\{([A-Z_]+):\?[^}]+\}")


def raw() -> dict[str, Any]:
    """The file as it stands, anchors and merges resolved."""
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return {name: value for name, value in loaded.items() if not name.startswith("x-")}


def filled(values: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables; KeyError names one that ``values`` lacks."""
    found: dict[str, Any] = _fill(raw(), values)
    return found


def _fill(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _fill(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, values) for value in node]
    return VARIABLE.sub(lambda found: values[found[1]], node) if isinstance(node, str) else node


def version_of(image: str) -> str:
    """The version of an image of others; AssertionError when it is not pinned."""
    found = PINNED.fullmatch(image)
    assert found, f"{image}: name it as NAME:EXACT.VERSION@sha256:DIGEST"
    return found["version"]


def strings(node: Any) -> list[str]:
    """Every text of a part of the file."""
    if isinstance(node, dict):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def seconds(text: str) -> float:
    """A duration as the file has them: 30s, 2m."""
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]
