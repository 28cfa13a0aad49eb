"""A small Maven repository over HTTP, with faults on demand, and a table of pinned files that lie in it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deploy.embedded.artifacts import Artifact, Pinned, tree_digest, unpack


def artifact(name: str, content: bytes, classifier: str = "", packaging: str = "jar") -> Artifact:
    digest = hashlib.sha256(content).hexdigest()
    return Artifact("org.example", name, "1.0", classifier, packaging, len(content), digest)


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Repository:
    """Serves ``jars`` and one archive; ``faults`` holds answers that are given before the right one, by file name.

    A fault is a status, or bytes that are sent instead with the right length announced.
    """

    def __init__(self, jars: dict[str, bytes], tree: dict[str, bytes]) -> None:
        packed = archive(tree)
        self.jars = [artifact(name, content) for name, content in jars.items()]
        self.registry = artifact("registry", packed, "all", "tar.gz")
        self.content = {item.filename: jars[item.name] for item in self.jars} | {self.registry.filename: packed}
        self.faults: dict[str, list[int | bytes]] = {}
        self.delay_s = 0.0
        self.requests: Counter[str] = Counter()
        self.url = ""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "registry.tar.gz"
            source.write_bytes(packed)
            unpack(source, Path(folder) / "tree")
            digest, size = tree_digest(Path(folder) / "tree")
        self.table = Pinned("1.0", tuple(self.jars), "1.0", self.registry, digest, size)

    @contextmanager
    def serving(self) -> Iterator[Repository]:
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[1]
                if name not in repository.content:
                    self.send_error(404)
                    return
                repository.requests[name] += 1
                threading.Event().wait(repository.delay_s)
                content = repository.content[name]
                faults = repository.faults.get(name, [])
                fault = faults.pop(0) if faults else content
                if isinstance(fault, int):
                    self.send_error(fault)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(fault)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
