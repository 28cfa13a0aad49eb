"""The contracts of the working tree against committed releases and against the registry."""

from __future__ import annotations

import json
from pathlib import Path

from schemas.compatibility import Comparison, compare
from schemas.registry import AVRO_DIR, FAMILIES, Registry, RegistryError, load_schema, subject_of

RELEASED_DIR = AVRO_DIR / "released"


def released_versions(folder: Path = RELEASED_DIR) -> list[int]:
    """Numbers of the committed releases, oldest first.

    Raises:
        ValueError: a folder whose name is no number.
    """
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    wrong = [name for name in names if not name.isdecimal()]
    if wrong:
        raise ValueError(f"{folder}: release folders are numbers, found {', '.join(sorted(wrong))}")
    return sorted(int(name) for name in names)


def check_released(folder: Path = AVRO_DIR, released: Path = RELEASED_DIR) -> list[Comparison]:
    """Every family against every committed release that has it.

    Raises:
        ValueError: a contract file cannot be read.
    """
    results: list[Comparison] = []
    for version in released_versions(released):
        for family in FAMILIES:
            if (released / str(version) / f"{family}.avsc").is_file():
                old = load_schema(family, released / str(version))
                found = compare(old, load_schema(family, folder))
                results.append(Comparison(family, f"release {version}", tuple(found)))
    return results


def check_registry(registry: Registry, folder: Path = AVRO_DIR) -> list[Comparison]:
    """Every family against every version in the registry; a family that is not registered yet has nothing to compare.

    Raises:
        RegistryError: no answer, or a registered text that is no JSON.
    """
    results: list[Comparison] = []
    for family in FAMILIES:
        new = load_schema(family, folder)
        for version, text in sorted(registry.versions(subject_of(family)).items()):
            try:
                old = json.loads(text)
            except ValueError as error:
                raise RegistryError(f"{subject_of(family)} version {version}: not JSON: {error}") from error
            results.append(Comparison(family, f"registry version {version}", tuple(compare(old, new))))
    return results


def export_contracts(target: Path, folder: Path = AVRO_DIR) -> list[Path]:
    """Write one self-contained ``.avsc`` a family (header inlined) for partners who generate Java or Go classes.

    Raises:
        OSError: the folder cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for family in FAMILIES:
        path = target / f"{family}.avsc"
        path.write_text(json.dumps(load_schema(family, folder), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written
