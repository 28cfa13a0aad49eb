"""Rules and an on-call policy of a test's own on the shared platform, put back afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.rules_deploy_cli import running
from schemas.lifecycle import AlertState
from tests.integration.commands import tocsin
from tests.integration.events import encoded, event, location
from tests.integration.receiver import Receiver
from tests.integration.test_rules_deploy import TOPIC
from tests.processors.notify.receivers import Mailbox
from tests.stack import Outgoing, Stack

LIFECYCLE = "lifecycle-0"
POLICY = """\
people:
{people}
escalation_policies:
  - id: all
    steps:
      - {{targets: [{names}], timeout: 1h}}
default_route:
  policy: all
  group_by: [{group_by}]
  group_wait: {group_wait}
  group_interval: {group_interval}
  repeat_interval: 4h
watchdog:
  every: 5s
  channel: {channel}
"""


@contextmanager
def rules(stack: Stack, folder: Path, text: str) -> Iterator[None]:
    """The shipped rules with those of ``text`` besides."""
    before = tocsin(stack, "rules", "deployed")["current"]
    shutil.copytree(stack.settings.rules_path, folder)
    (folder / "of-this-test.yml").write_text(text)
    _in_force(stack, tocsin(stack, "rules", "deploy", str(folder))["version"])
    try:
        yield
    finally:
        tocsin(stack, "rules", "deploy", "--version", before)
        _in_force(stack, before)


def _in_force(stack: Stack, version: str) -> None:
    stack.wait_until(lambda: set(running(stack.settings).values()) == {version}, 60, f"every worker on {version}")


@contextmanager
def on_call(
    stack: Stack,
    receiver: Receiver,
    *people: str,
    group_by: str = "rule_id",
    group_wait: str = "1s",
    group_interval: str = "2s",
    by_mail: Mailbox | None = None,
) -> Iterator[None]:
    """A policy under which all these people are told at once, through the receiver, and with ``by_mail`` cy by mail."""
    path = stack.settings.oncall_file
    before, secret = path.read_text(), path.with_name("webhook-secret")
    secret.write_text("not a real one")

    def channel(name: str) -> str:
        there = f"webhook: {{url: '{receiver.url(name)}', secret: 'file:{secret}'}}"
        return f"{{{there}, outside: false, rate_limit: 60000}}"

    persons = [f"  - {{id: {name}, name: {name}, time_zone: UTC, channels: [{channel(name)}]}}" for name in people]
    if by_mail is not None:
        persons.append(f"  - {{id: cy, name: cy, time_zone: UTC, channels: [{by_mail.channel(', outside: false')}]}}")
    write_policy(
        stack,
        POLICY.format(
            people="\n".join(persons),
            names=", ".join((*people, *(["cy"] if by_mail else []))),
            group_by=group_by,
            group_wait=group_wait,
            group_interval=group_interval,
            channel=channel("watchdog"),
        ),
    )
    try:
        yield
    finally:
        write_policy(stack, before)


def write_policy(stack: Stack, text: str) -> None:
    """Put it in force; by a restart, for who waits for the file to be read again does not see when that was."""
    stack.part(LIFECYCLE).stop()
    stack.settings.oncall_file.write_text(text)
    stack.part(LIFECYCLE).start(60)


def kill_lifecycle(stack: Stack) -> None:
    """Kill -9; returns once another is at work."""
    part = stack.part(LIFECYCLE)
    before = part.restarts
    part.kill()
    stack.wait_until(lambda: part.restarts > before and part.state == "ready", 60, "the lifecycle worker is back")


def tips(stack: Stack, texts: list[tuple[str, str]]) -> None:
    """Publish tips, each of (source system, text), from a place of that name."""
    schema_id = stack.schema_ids["tip_report"]
    stack.produce_all(
        [
            Outgoing(
                TOPIC, encoded(schema_id, event(source, text=text, location=location(place=source))), source.encode()
            )
            for source, text in texts
        ]
    )


def states_of(stack: Stack, rule_id: str) -> list[AlertState]:
    """States of all alerts of a rule, as ClickHouse has them."""
    rows = stack.rows("SELECT record FROM alert_states FINAL WHERE rule_id = {r:String}", r=rule_id)
    return [AlertState.model_validate(json.loads(row[0])) for row in rows]
