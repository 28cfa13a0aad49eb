"""Commands whose modules are imported when they are asked for: those of all take longer than most commands do."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Later:
    """A command or group of commands: its module, its name in there, and what the list of commands says of it.

    Importing ``more`` adds further commands to the group.
    """

    module: str
    attribute: str
    help: str
    more: tuple[str, ...] = ()

    def load(self, name: str) -> Any:
        """The command as Typer makes it of the module's."""
        found = getattr(importlib.import_module(self.module), self.attribute)
        for each in self.more:
            importlib.import_module(each)
        app = typer.Typer(rich_markup_mode="markdown")  # as of the whole command, whose part it becomes
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
        return typer.main.get_group(app).commands[name]


def lazy_group(later: Mapping[str, Later]) -> type[TyperGroup]:
    """A class for ``typer.Typer(cls=...)`` whose group has these commands, behind those that it is given."""

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            for name, each in later.items():
                self.add_command(TyperCommand(name, help=each.help))

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            return name, later[name].load(name) if name and name in later else command, rest

    return LazyGroup
