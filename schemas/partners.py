"""Partners that may publish, what and how much: the model of ``partners.yml``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.fields import Country, NonEmpty
from schemas.registry import FAMILIES
from schemas.yaml_lines import ConfigError, load_yaml

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class Partner(BaseModel):
    """One publishing organisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Slug
    name: NonEmpty
    country: Country
    kind: Slug
    communities: tuple[Slug, ...] = ()
    kafka_principal: Annotated[str, Field(pattern=r"^User:.+$", description="Kafka principal, User:<name>")]
    families: Annotated[tuple[str, ...], Field(min_length=1)]
    quota_events_per_s: Annotated[int, Field(ge=1, description="agreed ceiling, events a second")]
    expected_interval_s: Annotated[int, Field(ge=1, description="silence beyond this many seconds is an alert")]
    error_rate_limit: Annotated[float, Field(gt=0, le=1, description="share of refused records that raises an alert")]
    contact: NonEmpty

    def may_publish(self, family: str) -> bool:
        """Whether the partner may publish events of this family."""
        return family in self.families


class UnknownPartner(LookupError):  # noqa: N818 - reads as the sentence it is
    """No such partner in the file."""

    def __init__(self, partner_id: str, known: tuple[str, ...], path: Path) -> None:
        super().__init__(f"unknown partner {partner_id!r}; {path} has: {', '.join(known)}")
        self.partner_id = partner_id


@dataclass(frozen=True, slots=True)
class Partners:
    """All partners of a file by id, in the order of the file."""

    path: Path
    by_id: dict[str, Partner]

    def __iter__(self) -> Iterator[Partner]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def __contains__(self, partner_id: object) -> bool:
        return partner_id in self.by_id

    def get(self, partner_id: str) -> Partner:
        """Partner by id.

        Raises:
            UnknownPartner: names the known ids.
        """
        try:
            return self.by_id[partner_id]
        except KeyError:
            raise UnknownPartner(partner_id, tuple(self.by_id), self.path) from None


_LIST: Final = TypeAdapter(list[Partner])


def load_partners(path: Path) -> Partners:
    """Read and check a partners file.

    Raises:
        ConfigError: one line a problem, each with file and line.
    """
    document = load_yaml(path)
    if not isinstance(document.data, list) or not document.data:
        raise ConfigError(f"{path}:1: expected a list of partners, found {type(document.data).__name__}")
    try:
        partners = _LIST.validate_python(document.data)
    except ValidationError as error:
        raise document.refuse(error) from error
    problems: list[str] = []
    seen: dict[tuple[str, str], int] = {}
    for index, partner in enumerate(partners):
        for key, value in (("id", partner.id), ("kafka_principal", partner.kafka_principal)):
            first = seen.setdefault((key, value), index)
            if first != index:
                line = document.line_of((first, key))
                problems.append(document.error((index, key), f"{key}: found {value!r} again, first on line {line}"))
        for position, family in enumerate(partner.families):
            if family not in FAMILIES:
                message = f"families: found {family!r}; must be one of {', '.join(FAMILIES)}"
                problems.append(document.error((index, "families", position), message))
    if problems:
        raise ConfigError("\n".join(problems))
    return Partners(path, {partner.id: partner for partner in partners})
