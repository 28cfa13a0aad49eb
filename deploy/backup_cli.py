"""``tocsin backup`` and ``tocsin restore``: all that a platform holds, to a folder and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.backup.archive import BackupError, Manifest, digest
from deploy.backup.run import backup as make_backup
from deploy.backup.run import check, configuration_files
from deploy.backup.run import restore as restore_backup
from deploy.embedded.errors import PlatformError
from deploy.embedded.platform import Platform
from deploy.embedded.report import ConsoleReporter
from deploy.options import DataDir
from schemas.settings import Settings


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")], data_dir: DataDir = None
) -> None:
    """Copy a running platform into a folder: topics with offsets, tables, schema ids, accounts, configuration.

    The platform goes on working. The folder holds case data in clear text: keep it as you keep the platform.
    """
    with _readable():
        manifest = make_backup(Settings.load(data_dir), folder, _say)
        _say(f"{folder}: {_told(manifest)}")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What 'tocsin backup' made.")],
    verify: Annotated[bool, typer.Option("--verify", help="Only check the backup's files.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Remove first what the platform holds.")] = False,
    start: Annotated[
        bool,
        typer.Option("--start", help="Start the embedded platform without workers for it, and stop it afterwards."),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Put a backup onto an empty platform whose workers do not run.

    Start them afterwards and they go on from there; nothing is done twice, for offsets, states and accounts are those
    of the backup. Configuration files are not overwritten; those that differ are named.
    """
    with _readable():
        if verify:
            _say(f"{folder} is whole: {_told(check(folder))}")
            return
        if not start:
            _restored(Settings.load(data_dir), folder, force)
            return
        with Platform(data_dir or Path(".tocsin"), reporter=ConsoleReporter(Console(stderr=True))) as platform:
            _restored(platform.start(), folder, force)


def _restored(settings: Settings, folder: Path, force: bool) -> None:
    manifest = restore_backup(settings, folder, _say, force=force)
    here = configuration_files(settings)
    for name in manifest.configuration:
        if name not in here or digest(here[name]) != manifest.files[name].sha256:
            where = here.get(name, "missing here")
            _say(f"{name} differs from what is in force ({where}); the backup's is {folder / name}")
    _say(f"restored: {_told(manifest)}. Start the workers")


def _told(manifest: Manifest) -> str:
    rows = sum(manifest.items(name) for table in manifest.tables for name in table.files)
    records = sum(manifest.items(each.file) for each in manifest.partitions)
    size = sum(each.bytes for each in manifest.files.values())
    return (
        f"{records:,} records of {len({each.topic for each in manifest.partitions})} topics, {rows:,} rows of "
        f"{len(manifest.tables)} tables, {manifest.items(manifest.registry)} schemas, {len(manifest.offsets)} offsets, "
        f"{size / 1e6:.1f} MB, of {manifest.begun_at:%Y-%m-%d %H:%M:%S} UTC"
    )


def _say(text: str) -> None:
    typer.echo(f"tocsin: {text}", err=True)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (BackupError, PlatformError) as error:
        typer.echo(f"tocsin: {error}", err=True)
        raise typer.Exit(1) from error
