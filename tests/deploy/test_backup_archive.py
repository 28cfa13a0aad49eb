"""The folder that a backup is: whole or refused, and readable by its owner only."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.backup.archive import MANIFEST, Archive, BackupError, Manifest, read_manifest, verify
from deploy.cli import app

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def made(folder: Path) -> Manifest:
    archive = Archive(folder)
    for name, text in (("registry.json", "{}"), ("topics/a/0.avro", "records"), ("clickhouse/t/all.zst", "rows")):
        archive.path(name).write_text(text)
        archive.add(name, 1)
    manifest = Manifest(
        begun_at=NOW,
        done_at=NOW,
        source="somewhere",
        migration=1,
        offsets=(),
        partitions=(),
        tables=(),
        registry="registry.json",
        accounts=None,
        configuration=(),
        files=archive.files,
    )
    archive.close(manifest)
    return manifest


def test_what_was_written_is_whole_and_private(tmp_path: Path) -> None:
    manifest = made(tmp_path / "backup")
    assert read_manifest(tmp_path / "backup") == manifest
    assert verify(tmp_path / "backup", manifest) == []
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "backup").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700


def test_every_kind_of_damage_is_named(tmp_path: Path) -> None:
    manifest = made(tmp_path / "backup")
    (tmp_path / "backup" / "registry.json").write_text("[]")
    (tmp_path / "backup" / "topics" / "a" / "0.avro").write_text("rec")
    (tmp_path / "backup" / "clickhouse" / "t" / "all.zst").unlink()
    told = "\n".join(verify(tmp_path / "backup", manifest))
    assert "registry.json: its SHA-256 is not the manifest's" in told
    assert "0.avro: 3 bytes, 7 expected" in told
    assert "all.zst: missing" in told
    done = CliRunner().invoke(app, ["restore", str(tmp_path / "backup"), "--verify"])
    assert done.exit_code == 1
    assert "this backup is damaged: " in done.output


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(BackupError, match="is not empty: give the backup a folder of its own"):
        Archive(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "that is no finished backup"),
        ("{}", "it is damaged, or of another version"),
        ('{"format": 2}', "format: Input should be 1"),
        ("no JSON", "it is damaged"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BackupError, match=said):
        read_manifest(tmp_path)
