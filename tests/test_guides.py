"""Each command that README, runbooks and guides show can be typed: subcommands, options, make targets, services,
folders, modules."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import itertools
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from typer._click.exceptions import UsageError
from typer.testing import CliRunner

from deploy.certificates import issue, new_authority
from deploy.cli import app
from deploy.environment import COMPOSE_FILE, SECRETS

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^ *```console\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
GUIDES = [ROOT / "README.md", ROOT / "deploy" / "SCALING.md", *sorted((ROOT / "dashboards" / "runbooks").glob("*.md"))]
OTHERS = {
    *(
        ".",
        "apt-get",
        "chronyc",
        "curl",
        "docker",
        "du",
        "git",
        "kill",
        "kubectl",
        "make",
        "pip",
        "python",
        "ssh",
        "tail",
    ),
    *("connect-mirror-maker.sh", "kafka-consumer-groups.sh", "tocsin"),
}
SERVICES = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(text: str) -> list[str]:
    """What follows a prompt in console blocks, continued lines joined, comments left out."""
    lines = "\n".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s#\s.*", "", line.strip()[2:]).strip() for line in lines if line.strip().startswith("$ ")]


def problem(command: str) -> str:
    """What is wrong with a command; empty when nothing is."""
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program, *rest = words
    if program not in OTHERS:
        return f"{program} is none of the programs that the README uses"
    checks = {"tocsin": _tocsin, "make": _make, "docker": _docker, "kubectl": _kubectl, "python": _python}
    return checks[program](rest) if program in checks else ""


def _tocsin(words: list[str]) -> str:
    words = list(itertools.takewhile(lambda word: word != "|", words))
    command: Any = typer.main.get_command(app)
    context = command.make_context("tocsin", ["--help"], resilient_parsing=True)
    while hasattr(command, "resolve_command"):
        if not words:
            return "a subcommand is missing"
        typed = words[0]
        name, command, words = command.resolve_command(context, words)
        if command is None:
            return f"No such command {typed!r}"
        if hasattr(command, "resolve_command"):
            context = command.make_context(name, ["--help"], parent=context, resilient_parsing=True)
    try:
        # Parsing only: it raises for an option that is not there, or a value that is missing or of another kind.
        command.make_context(name, words, parent=context, resilient_parsing=False)
    except UsageError as error:
        return error.format_message()
    return ""


def _make(words: list[str]) -> str:
    wrong = [word for word in words if "=" not in word and word not in TARGETS]
    return f"no target {wrong[0]}" if wrong else ""


def _docker(words: list[str]) -> str:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("compose", choices=["compose"])
    parser.add_argument("--file", required=True)
    parser.add_argument("--env-file")
    parser.add_argument("verb", choices=["up", "exec", "ps", "logs", "down", "run"])
    given, rest = parser.parse_known_args(words)
    if ROOT / given.file != COMPOSE_FILE:
        return f"no compose file {given.file}"
    if given.verb == "exec":
        service, *inner = rest
        return (
            "" if service in SERVICES and not problem(shlex.join(inner)) else f"{service}: {problem(' '.join(inner))}"
        )
    scaled = [word.partition("=")[0] for word in rest if "=" in word]
    wrong = [name for name in scaled if name not in SERVICES]
    return f"no service {wrong[0]}" if wrong else ""


def _kubectl(words: list[str]) -> str:
    for option, value in itertools.pairwise(words):
        if option == "--kustomize" and not (ROOT / value / "kustomization.yaml").is_file():
            return f"no kustomization in {value}"
    return ""


def _python(words: list[str]) -> str:
    if words[:1] != ["-m"] or importlib.util.find_spec(words[1]) is None:
        return f"no module {words[1:2]}"
    return _tocsin(words[2:]) if words[1] == "deploy.cli" else ""


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_command_can_be_typed(path: Path) -> None:
    found = commands(path.read_text(encoding="utf-8"))
    assert found, "no command was found"
    assert {command: wrong for command in found if (wrong := problem(command))} == {}


def test_kubectl_takes_what_the_readme_creates(tmp_path: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here, which can be asked without a cluster")
    written = tmp_path / "cluster.env"
    result = CliRunner().invoke(app, ["deploy", "init", "--file", str(written)])
    assert result.exit_code == 0, result.output
    authority = new_authority(dt.datetime.now(dt.UTC))
    gate = issue(authority, ["registry.example.org"], dt.datetime.now(dt.UTC))
    for name, text in (
        ("ca.crt", authority.chain),
        ("chain.pem", gate.chain),
        ("key.pem", gate.key),
    ):
        (tmp_path / name).write_text(text)
    found = [each for each in commands((ROOT / "README.md").read_text()) if re.match(r"kubectl .*\bcreate ", each)]
    assert len(found) >= 8
    for command in found:
        words = [str(tmp_path / word) if (tmp_path / word).is_file() else word for word in shlex.split(command)]
        made = subprocess.run(
            [*words, "--dry-run=client", "--output=yaml"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert made.returncode == 0, f"{command}: {made.stderr}"
        made_of = yaml.safe_load(made.stdout)
        if (made_of["kind"], made_of["metadata"]["name"]) == ("Secret", "tocsin"):
            assert set(SECRETS) <= set(made_of["data"])


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("tocsin alerts fly ID", "No such command 'fly'"),
        ("tocsin alerts show", "Missing argument"),
        ("tocsin alerts", "subcommand is missing"),
        ("tocsin deploy init --clutser", "--clutser"),
        ("make coffee", "coffee"),
        ("docker compose --file deploy/compose.yaml up --scale digest=3", "digest"),
        ("docker compose --file deploy/compose.yaml exec desk python -m deploy.cli accounts sing", "sing"),
        ("kubectl apply --kustomize deploy/nowhere", "nowhere"),
        ("python -m dashboards.dusk", "dusk"),
        ("KEY=1 sudo reboot", "sudo"),
    ],
)
def test_what_does_not_exist_is_found(command: str, what: str) -> None:
    assert what in problem(command)
