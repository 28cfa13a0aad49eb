"""Files of the embedded platform on this machine: fetched once a user, checked at every start, shared by processes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import ssl
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.embedded.artifacts import Artifact, Pinned, is_whole, pinned, tree_digest, unpack
from deploy.embedded.errors import DownloadError
from deploy.embedded.report import Advance, Reporter

ATTEMPTS = 4
FIRST_PAUSE_S = 1.0
FETCHERS = 4
_SPARE_BYTES = 100_000_000


@dataclass(frozen=True)
class Installation:
    """Checked files, ready to run: Kafka's class path in order, and the folder with ``quarkus-run.jar``."""

    kafka_jars: tuple[Path, ...]
    registry_home: Path


def cache_dir(data_dir: Path) -> Path:
    """The folder for downloads: ``$TOCSIN_CACHE_DIR``, else the user's cache, else inside ``data_dir``.

    The user's cache is ``$XDG_CACHE_HOME/tocsin`` or ``~/.cache/tocsin`` (XDG Base Directory Specification 0.8). Where
    there is no home, or it cannot be written, ``data_dir/cache`` serves.
    """
    if named := os.environ.get("TOCSIN_CACHE_DIR"):
        return Path(named).absolute()
    base, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    candidates = [Path(base)] if base.startswith("/") else []
    candidates += [Path(home) / ".cache"] if home.startswith("/") else []
    for candidate in candidates:
        if _writable(candidate / "tocsin"):
            return candidate / "tocsin"
    return data_dir.absolute() / "cache"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class Cache:
    """The downloads below one folder.

    Files appear only complete and checked (written aside, compared with the pinned SHA-256, renamed), and one process
    at a time fetches, so that readers need no lock.

    Args:
        mirror: address of a Maven repository to use instead of the default one, or None.
    """

    def __init__(
        self, folder: Path, reporter: Reporter, table: Pinned | None = None, mirror: str | None = None
    ) -> None:
        self.folder, self.reporter, self.table = folder, reporter, table or pinned()
        self.mirror = mirror or os.environ.get("TOCSIN_MAVEN_MIRROR") or None
        self.registry_home = folder / f"registry-{self.table.registry_version}-{self.table.registry.sha256[:12]}"

    def path_of(self, artifact: Artifact) -> Path:
        return self.folder / "jars" / artifact.filename

    def missing(self) -> list[Artifact]:
        """What has to be fetched: absent or damaged files. Reads all of them, some 220 MB."""
        with ThreadPoolExecutor(FETCHERS) as pool:
            registry = pool.submit(self._registry_is_whole)
            whole = list(pool.map(lambda item: is_whole(self.path_of(item), item), self.table.kafka))
        jars = [item for item, good in zip(self.table.kafka, whole, strict=True) if not good]
        return jars if registry.result() else [self.table.registry, *jars]

    def _registry_is_whole(self) -> bool:
        try:
            return tree_digest(self.registry_home)[0] == self.table.registry_tree_sha256
        except OSError:
            return False

    def ensure(self) -> Installation:
        """All files in place and checked; fetches what is absent or damaged. Blocks, also while another one fetches.

        Raises:
            DownloadError: no network, no space, no right to write, or a file that is not the pinned one.
        """
        if self.missing():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with self._only_one():
                    if missing := self.missing():  # the process before may have fetched all
                        self._fetch_all(missing)
            except OSError as problem:
                raise self._storage_error(problem) from problem
        return Installation(tuple(self.path_of(item) for item in self.table.kafka), self.registry_home)

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        with (self.folder / "fetch.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.reporter.say(f"another process is fetching into {self.folder}, waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in self.folder.glob("aside-*"):  # of a process that was killed while it held the lock
                shutil.rmtree(leftover, ignore_errors=True)
            yield

    def _fetch_all(self, wanted: list[Artifact]) -> None:
        total = sum(item.size for item in wanted)
        unpacked = self.table.registry_tree_bytes if self.table.registry in wanted else 0
        needed, free = total + unpacked + _SPARE_BYTES, shutil.disk_usage(self.folder).free
        if free < needed:
            raise DownloadError(
                f"not enough space in {self.folder}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed for the "
                f"downloads. Free some, or set TOCSIN_CACHE_DIR to a folder on another disk."
            )
        title = f"downloading Kafka {self.table.kafka_version} and the registry {self.table.registry_version}"
        stop = threading.Event()
        with (
            tempfile.TemporaryDirectory(prefix="aside-", dir=self.folder) as aside,
            self.reporter.download(title, total) as advance,
            ThreadPoolExecutor(FETCHERS) as pool,
        ):
            jobs = [pool.submit(self._fetch, item, Path(aside), advance, stop) for item in wanted]
            try:
                for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                    job.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _fetch(self, item: Artifact, aside: Path, advance: Advance, stop: threading.Event) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            gained = 0

            def count(size: int) -> None:
                nonlocal gained
                if stop.is_set():
                    raise InterruptedError("stopped")
                gained += size
                advance(size)

            folder = Path(tempfile.mkdtemp(dir=aside))
            try:
                path = download(item, folder, count, self.mirror)
                if is_whole(path, item):
                    self._place(item, path, folder)
                    return
                problem = f"got {path.stat().st_size} bytes that are not the pinned file ({item.size} bytes)"
            except OSError as error:  # requests' errors are among them
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS) or stop.is_set():
                    raise
                problem = f"{type(error).__name__}: {error}"
                if "CERTIFICATE_VERIFY_FAILED" in problem:
                    trust_system_certificates()
            except RuntimeError as error:  # jgo: any status but 200
                problem = str(error)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            advance(-gained)
            if attempt < ATTEMPTS:
                self.reporter.say(f"{item.filename}: {problem[:160]}; trying again ({attempt + 1} of {ATTEMPTS})")
                if stop.wait(FIRST_PAUSE_S * 2 ** (attempt - 1)):
                    return
        raise DownloadError(
            f"could not fetch {item} in {ATTEMPTS} attempts: {problem}. Check the network (a proxy is read from "
            "HTTPS_PROXY, its certificate from REQUESTS_CA_BUNDLE, a repository mirror from TOCSIN_MAVEN_MIRROR), or "
            f"copy the folder {self.folder} from a machine that has it."
        )

    def _place(self, item: Artifact, path: Path, folder: Path) -> None:
        if item != self.table.registry:
            target = self.path_of(item)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
            return
        self.reporter.say(f"unpacking the registry {self.table.registry_version}")
        tree = folder / "tree"
        tree.mkdir()
        unpack(path, tree)
        if self.registry_home.exists():
            self.registry_home.rename(folder / "damaged")
        tree.rename(self.registry_home)

    def _storage_error(self, problem: OSError) -> DownloadError:
        hint = "Free some space" if problem.errno in (errno.ENOSPC, errno.EDQUOT) else "Check its owner and rights"
        return DownloadError(
            f"cannot store downloads in {self.folder}: {problem}. {hint}, or set TOCSIN_CACHE_DIR to another folder."
        )


def trust_system_certificates() -> None:
    """From now on, check servers against the system's certificates, unless REQUESTS_CA_BUNDLE names others.

    The bundle of the certifi package, which requests uses by itself, does not know the certificate of an
    organisation's own proxy; the system usually does. Some systems have no certificates, so certifi comes first.
    """
    paths = ssl.get_default_verify_paths()
    if found := paths.cafile or paths.capath:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", found)


def download(item: Artifact, folder: Path, count: Advance, mirror: str | None) -> Path:
    """Fetch one file below ``folder``; OSError (of requests or the disk) or RuntimeError (status) when it fails."""
    from jgo.maven import MavenContext, PythonResolver

    @contextmanager
    def progress(_: str, __: int) -> Iterator[Advance]:
        yield count

    remotes: dict[str, Any] = {"remote_repos": {"mirror": mirror}} if mirror else {}
    resolver = PythonResolver(progress_callback=progress)
    context = MavenContext(resolver=resolver, repo_cache=folder, local_repos=[], timeout=15, **remotes)
    component = context.project(item.group, item.name).at_version(item.version)
    return Path(component.artifact(item.classifier, item.packaging).resolve())
