"""Whether two versions of a contract can read each other's events, and which field is in the way.

FULL compatibility holds when a reader with either version reads what a writer with the other wrote; FULL_TRANSITIVE
asks it of every earlier version. The rules are those of the Avro 1.12 specification, section "Schema Resolution",
plus one of ours: a changed logical type (milliseconds to microseconds, say) breaks, although Avro would read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Code = Literal[
    "added_without_default",
    "removed_without_default",
    "type_changed",
    "logical_type_changed",
    "union_branch_removed",
    "enum_symbol_added",
    "enum_symbol_removed",
    "name_changed",
    "size_changed",
]
Side = Literal["new readers, old events", "old readers, new events"]

_PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_PROMOTIONS: Final[Mapping[str, frozenset[str]]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One reason why events cannot be read; ``breaks`` says for whom, ``field`` is a dotted path."""

    field: str
    code: Code
    message: str
    breaks: tuple[Side, ...]

    def __str__(self) -> str:
        return f"{self.field}: {self.message} (breaks {' and '.join(self.breaks)})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A family of the working tree against one earlier version; compatible when nothing is listed."""

    family: str
    against: str
    incompatibilities: tuple[Incompatibility, ...]

    @property
    def compatible(self) -> bool:
        """True when each side reads the other."""
        return not self.incompatibilities


class _Names:
    """Named types of one schema, so that a reference can be followed."""

    def __init__(self, schema: Any) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self._collect(schema, "")

    def _collect(self, schema: Any, namespace: str) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._collect(branch, namespace)
        elif isinstance(schema, dict):
            kind = schema.get("type")
            if kind in ("record", "enum", "fixed"):
                name = schema["name"]
                namespace = name.rpartition(".")[0] if "." in name else schema.get("namespace", namespace)
                self.known.setdefault(f"{namespace}.{name}" if namespace and "." not in name else name, schema)
                for field in schema.get("fields", ()):
                    self._collect(field["type"], namespace)
            else:
                for part in ("items", "values", "type"):
                    self._collect(schema.get(part), namespace)

    def resolve(self, schema: Any) -> Any:
        """A schema with a reference replaced by what it names, and primitives as plain names."""
        if isinstance(schema, str) and schema not in _PRIMITIVES:
            wanted = schema
            for full, found in self.known.items():
                if full == wanted or full.rpartition(".")[2] == wanted.rpartition(".")[2]:
                    return found
            raise ValueError(f"the schema refers to {schema!r}, which it does not define")
        if isinstance(schema, dict) and isinstance(schema.get("type"), dict | list):
            return self.resolve(schema["type"])
        return schema


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Incompatibility]:
    """Everything that keeps two versions of a record from reading each other, in the order of the fields.

    Raises:
        ValueError: a schema refers to a type that it does not define.
    """
    found: dict[tuple[str, Code, str], list[Side]] = {}
    sides: tuple[tuple[Side, Any, Any], ...] = (
        ("new readers, old events", old, new),
        ("old readers, new events", new, old),
    )
    for side, writer, reader in sides:
        walk = _Walk(_Names(writer), _Names(reader), reader_is_new=reader is new)
        for path, code, message in walk.problems(writer, reader, "", frozenset()):
            found.setdefault((path or "(record)", code, message), []).append(side)
    return [Incompatibility(path, code, message, tuple(sides)) for (path, code, message), sides in found.items()]


_Problem = tuple[str, Code, str]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Walks a writer's and a reader's schema together; messages always speak of old and new."""

    writer_names: _Names
    reader_names: _Names
    reader_is_new: bool

    def problems(self, writer: Any, reader: Any, path: str, seen: frozenset[tuple[int, int]]) -> Iterator[_Problem]:
        writer, reader = self.writer_names.resolve(writer), self.reader_names.resolve(reader)
        pair = (id(writer), id(reader))
        if pair in seen:  # a recursive type
            return
        if isinstance(writer, list):
            yield from self._from_union(writer, reader, path, seen | {pair})
        elif isinstance(reader, list):
            yield from self._into_union(writer, reader, path, seen | {pair})
        else:
            yield from self._single(writer, reader, path, seen | {pair})

    def _from_union(self, writer: list[Any], reader: Any, path: str, seen: frozenset[Any]) -> Iterator[_Problem]:
        for branch in writer:
            if not isinstance(reader, list):
                if any(self.problems(branch, reader, path, seen)):
                    yield path, "type_changed", self._change(writer, reader)
                    return
            else:
                yield from self._into_union(branch, reader, path, seen)

    def _into_union(self, writer: Any, reader: list[Any], path: str, seen: frozenset[Any]) -> Iterator[_Problem]:
        same_kind: list[_Problem] | None = None
        for branch in reader:
            found = list(self.problems(writer, branch, path, seen))
            if not found:
                return
            if _label(self.writer_names.resolve(writer)) == _label(self.reader_names.resolve(branch)):
                same_kind = found
        if same_kind is not None:
            yield from same_kind
        else:
            old, new = self._ordered("now", "before")
            have = f"{_label(self.writer_names.resolve(writer))} may occur {new} but has no place {old}"
            yield path, "union_branch_removed" if self.reader_is_new else "type_changed", have

    def _single(self, writer: Any, reader: Any, path: str, seen: frozenset[Any]) -> Iterator[_Problem]:
        written, read = _kind(writer), _kind(reader)
        if written != read:
            if read not in _PROMOTIONS.get(written, frozenset()):
                yield path, "type_changed", self._change(writer, reader)
                return
        elif written in ("record", "enum", "fixed") and _short(writer["name"]) != _short(reader["name"]):
            yield path, "name_changed", self._change(writer, reader)
            return
        if _logical(writer) != _logical(reader):
            yield path, "logical_type_changed", self._change(writer, reader)
        if written == read == "record":
            yield from self._record(writer, reader, path, seen)
        elif written == read == "enum":
            yield from self._enum(writer, reader, path)
        elif written == read == "array":
            yield from self.problems(writer["items"], reader["items"], f"{path}[]", seen)
        elif written == read == "map":
            yield from self.problems(writer["values"], reader["values"], f"{path}{{}}", seen)
        elif written == read == "fixed" and writer["size"] != reader["size"]:
            yield path, "size_changed", self._change(writer, reader)

    def _record(self, writer: Any, reader: Any, path: str, seen: frozenset[Any]) -> Iterator[_Problem]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            names = [field["name"], *field.get("aliases", ())]
            match = next((written[name] for name in names if name in written), None)
            where = f"{path}.{field['name']}" if path else field["name"]
            if match is not None:
                yield from self.problems(match["type"], field["type"], where, seen)
            elif "default" not in field and self.reader_is_new:
                yield where, "added_without_default", "added without a default; give it one"
            elif "default" not in field:
                yield where, "removed_without_default", "removed, and it never had a default; keep the field"

    def _enum(self, writer: Any, reader: Any, path: str) -> Iterator[_Problem]:
        unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if unknown and reader.get("default") not in reader["symbols"]:
            shown = ", ".join(unknown)
            if self.reader_is_new:
                yield path, "enum_symbol_removed", f"enum symbol {shown} removed; keep it, or give the enum a default"
            else:
                yield path, "enum_symbol_added", f"enum symbol {shown} added to an enum that had no default"

    def _change(self, writer: Any, reader: Any) -> str:
        old, new = self._ordered(_label(reader), _label(writer))
        return f"changed from {old} to {new}; keep the type and add a new field instead"

    def _ordered(self, reader: str, writer: str) -> tuple[str, str]:
        return (writer, reader) if self.reader_is_new else (reader, writer)


def _kind(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])


def _logical(schema: Any) -> tuple[Any, ...]:
    if not isinstance(schema, dict):
        return (None, None, None)
    return schema.get("logicalType"), schema.get("precision"), schema.get("scale")


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _label(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(_label(branch) for branch in schema)
    if isinstance(schema, str):
        return schema if schema in _PRIMITIVES else _short(schema)
    if isinstance(schema["type"], dict | list):
        return _label(schema["type"])
    kind = schema["type"]
    if "logicalType" in schema:
        return f"{kind} ({schema['logicalType']})"
    if kind == "array":
        return f"array of {_label(schema['items'])}"
    if kind == "map":
        return f"map of {_label(schema['values'])}"
    if kind == "fixed":
        return f"fixed {_short(schema['name'])} of {schema['size']} bytes"
    return f"{kind} {_short(schema['name'])}" if "name" in schema else str(kind)
