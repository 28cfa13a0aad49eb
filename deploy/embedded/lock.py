"""Write ``artifacts.json``: every file that the embedded Kafka and registry need, with its size and SHA-256.

Run it after changing a version here: ``python -m deploy.embedded.lock``. It resolves the declared dependency trees
once; from then on a start fetches exactly the files of the table and nothing else.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from deploy.embedded.artifacts import TABLE, Artifact, sha256_of, tree_digest, unpack

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
# Kafka logs through SLF4J 1.7; this binding sends that to the Log4j 2 that Kafka brings, so versions go together.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"
REGISTRY = "io.apicurio:apicurio-registry-app:3.3.3"


def resolve(folder: Path) -> dict[str, Any]:
    """The table as a JSON object, made from the files of both dependency trees, which are put into ``folder``.

    Raises:
        RuntimeError: a file is not in the repository.
        requests.RequestException: the repository cannot be reached.
    """
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=folder, timeout=60)
    # The binding is added alone: resolved together, its own dependency management would change Kafka's versions.
    inputs, transitive = context.resolver.resolve([context.create_dependency(KAFKA)])
    wanted = [
        dep for dep in inputs + transitive if dep.type in (None, "jar") and dep.scope in (None, "compile", "runtime")
    ]
    files = [dep.artifact for dep in [*wanted, context.create_dependency(LOGGING)]]
    group, name, version = REGISTRY.split(":")
    archive = context.project(group, name).at_version(version).artifact("all", "tar.gz")
    entries = [describe(item) for item in files]
    with tempfile.TemporaryDirectory(dir=folder) as unpacked:
        registry = describe(archive)
        unpack(archive.resolve(), Path(unpacked))
        digest, size = tree_digest(Path(unpacked))
    return {
        "kafka": {"version": KAFKA.rsplit(":", 1)[1], "files": [entry.__dict__ for entry in entries]},
        "registry": {
            "version": version,
            "archive": registry.__dict__,
            "unpacked_sha256": digest,
            "unpacked_bytes": size,
        },
    }


def describe(artifact: Any) -> Artifact:
    """Size and hash of a jgo artifact's file, fetched when it is not there yet."""
    path = artifact.resolve()
    return Artifact(
        group=artifact.groupId,
        name=artifact.artifactId,
        version=artifact.version,
        classifier=artifact.classifier or "",
        packaging=artifact.packaging,
        size=path.stat().st_size,
        sha256=sha256_of(path),
    )


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tocsin-lock-") as folder:
        table = resolve(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder))
    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    print(
        f"{TABLE}: {len(table['kafka']['files'])} files of Kafka {table['kafka']['version']}, "
        f"registry {table['registry']['version']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
