"""The mapping file of ``tocsin publish --format csv``: which column goes into which field, and how it is read.

delimiter: ";"
time_zone: Europe/Amsterdam
constants: {tlp: AMBER, kind: CASH_DEPOSIT, legal_basis: Wwft}
fields:
  occurred_at: {column: Datum, format: "%d-%m-%Y %H:%M"}
  amount_minor: {column: Bedrag, decimal: ",", scale: 2}
  to_account: Rekening
entities:
  - {column: Rekening, type: account, role: payee}
key: Rekening
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from schemas.events import EntityType
from schemas.yaml_lines import ConfigError, load_yaml

_HAS_CLOCK: Final = re.compile(r"%[HIcXT]")


class CellError(ValueError):
    """A cell that cannot be read as the mapping says; ``reason`` is a stable code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Strict):
    """How one field is read from a column."""

    column: Annotated[str, Field(min_length=1)]
    format: Annotated[str | None, Field(description="strptime format of a time or date")] = None
    values: Annotated[dict[str, Any] | None, Field(description="words of the source -> values of the contract")] = None
    decimal: Annotated[str | None, Field(min_length=1, max_length=1, description="decimal mark of a number")] = None
    scale: Annotated[int, Field(ge=0, le=9, description="shift by so many decimal places: 2 makes cents")] = 0


class EntityColumn(_Strict):
    """An entity made from a column; an empty cell gives none."""

    column: Annotated[str, Field(min_length=1)]
    type: EntityType
    role: str | None = None


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class Mapping(_Strict):
    """A mapping file. ``time_zone`` is an IANA name: times without an offset are local to it; with no zone stated,
    such times are refused. Cells whose text is in ``empty`` give no value."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8"
    time_zone: str | None = None
    empty: tuple[str, ...] = ("",)
    constants: dict[str, Any] = {}
    fields: dict[str, Annotated[Column, BeforeValidator(_column)]]
    entities: tuple[EntityColumn, ...] = ()
    key: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (OSError, ValueError, LookupError):
                raise ValueError("must be an IANA time zone such as Europe/Amsterdam or UTC") from None
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError("must be an encoding that Python knows, such as utf-8 or cp1252") from None
        return value

    def columns(self) -> set[str]:
        """Names of all columns that are used."""
        named = {spec.column for spec in self.fields.values()} | {entity.column for entity in self.entities}
        return named | ({self.key} if self.key is not None else set())


@dataclass(frozen=True, slots=True)
class Cell:
    """A value read, and whether it was a day without a time of day."""

    value: Any
    day_only: bool = False


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises:
        ConfigError: one line a problem, with file and line.
    """
    document = load_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}:1: expected a mapping with 'fields', found {type(document.data).__name__}")
    try:
        mapping = Mapping.model_validate(document.data)
    except ValidationError as error:
        raise document.refuse(error) from error
    clashing = sorted(set(mapping.constants) & set(mapping.fields))
    if clashing:
        lines = (document.error(("constants", name), f"{name} is also under fields; keep one") for name in clashing)
        raise ConfigError("\n".join(lines))
    return mapping


def read_cell(spec: Column, text: str, mapping: Mapping) -> Cell | None:
    """The value of a cell, None when it is empty.

    Raises:
        CellError: not a known word, number or time.
    """
    stripped = text.strip()
    if stripped in mapping.empty:
        return None
    if spec.values is not None:
        if stripped not in spec.values:
            known = _listed(spec.values)
            raise CellError("unknown_value", f"found {stripped[:40]!a}; the mapping knows {known}: add it there")
        return Cell(spec.values[stripped])
    if spec.format is not None:
        return _time(spec.format, stripped, mapping.time_zone)
    if spec.decimal is not None or spec.scale:
        return Cell(_number(stripped, spec))
    return Cell(stripped)


def localise(moment: datetime, zone: str | None) -> datetime:
    """A time in UTC; one without an offset is taken as local to ``zone``.

    Raises:
        CellError: no zone stated, or a local time that occurs twice or never because clocks change.
    """
    try:
        return _in_utc(moment, zone)
    except OverflowError:
        raise CellError("time_range", f"{moment.isoformat()} is outside the years 1 to 9999 in UTC") from None


def iso_time(text: str, zone: str | None) -> Cell:
    """A time or a day in ISO 8601 text.

    Raises:
        CellError: neither, or see ``localise``.
    """
    try:
        if len(text) == 10:
            return Cell(date.fromisoformat(text), day_only=True)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CellError("time_format", f"found {text[:40]!a}; must be ISO 8601, or give its format") from None
    return Cell(localise(moment, zone))


def _in_utc(moment: datetime, zone: str | None) -> datetime:
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    if zone is None:
        raise CellError("time_naive", f"{moment.isoformat()} has no time zone; state time_zone in the mapping")
    info = ZoneInfo(zone)
    early, late = moment.replace(tzinfo=info, fold=0), moment.replace(tzinfo=info, fold=1)
    if early.utcoffset() != late.utcoffset():
        once = early.astimezone(UTC).astimezone(info).replace(tzinfo=None) == moment
        what = "occurs twice" if once else "does not exist"
        raise CellError("time_ambiguous", f"{moment.isoformat()} {what} in {zone} (clocks change); give an offset")
    return early.astimezone(UTC)


def _time(form: str, text: str, zone: str | None) -> Cell:
    try:
        moment = datetime.strptime(text, form)
    except ValueError:
        raise CellError("time_format", f"found {text[:40]!a}; must be a time like {form!r}") from None
    if not _HAS_CLOCK.search(form):
        return Cell(date(moment.year, moment.month, moment.day), day_only=True)
    return Cell(localise(moment, zone))


def _number(text: str, spec: Column) -> int | float:
    mark = spec.decimal or "."
    groups = "." if mark == "," else ","
    plain = text.replace(" ", "").replace("\u00a0", "").replace("'", "").replace(groups, "").replace(mark, ".")
    try:
        number = Decimal(plain).scaleb(spec.scale)
    except (InvalidOperation, ValueError):
        raise CellError("number_format", f"found {text[:40]!a}; must be a number with decimal mark {mark!r}") from None
    if not number.is_finite():
        raise CellError("number_format", f"found {text[:40]!a}; must be a finite number")
    if number == number.to_integral_value():
        return int(number)
    if spec.scale:
        raise CellError("number_format", f"found {text[:40]!a}; has more than {spec.scale} decimal places")
    return float(number)


def _listed(values: Iterable[str]) -> str:
    words = list(values)
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
