"""The guide's samples for MirrorMaker say what the text around them promises."""

from __future__ import annotations

import re
import textwrap

from deploy.environment import COMPOSE_FILE
from deploy.parts import EVENT_TOPICS, worker_groups
from schemas.settings import Settings

GUIDE = COMPOSE_FILE.with_name("SCALING.md").read_text(encoding="utf-8")


def samples() -> list[dict[str, str]]:
    found = re.findall(r"^( *)```properties\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
    lines = [[line for line in textwrap.dedent(text).splitlines() if line and line[0] != "#"] for _, text in found]
    pairs = [[line.split(" = ", 1) for line in sample] for sample in lines]
    for sample in pairs:
        assert len({name for name, _ in sample}) == len(sample), "a name given twice"
    return [dict(sample) for sample in pairs]


HUB, STANDBY = samples()


def listed(text: str) -> set[str]:
    return {each.strip() for each in text.split(",")}


def test_a_hub_gets_agreed_event_topics_and_writes_to_nobody() -> None:
    regions = listed(HUB["clusters"]) - {"hub"}
    for region in regions:
        assert HUB[f"{region}->hub.enabled"] == "true"
        assert HUB[f"hub->{region}.enabled"] == "false"
        assert listed(HUB[f"{region}->hub.topics"]) <= set(EVENT_TOPICS)
    # Heartbeats go between all clusters, whether a flow between them is enabled or not; offset syncs go to the source.
    for sample in (HUB, STANDBY):
        assert sample["emit.heartbeats.enabled"] == "false"
        assert sample["offset-syncs.topic.location"] == "target"
    assert HUB["sync.topic.acls.enabled"] == "false"


def test_a_stand_by_gets_all_and_the_offsets_of_every_worker() -> None:
    assert STANDBY["standby->north.enabled"] == "false"
    assert re.fullmatch(STANDBY["north->standby.topics"], "lifecycle-state.v1")
    groups = {group for group, _ in worker_groups(Settings()).values()}
    assert listed(STANDBY["north->standby.groups"]) == groups
    assert STANDBY["north->standby.sync.group.offsets.enabled"] == "true"


def test_names_stay_and_nothing_listens_to_other_machines() -> None:
    for sample in (HUB, STANDBY):
        assert sample["replication.policy.class"].endswith(".IdentityReplicationPolicy"), "ingest reads events.*.v1"
        assert sample["listeners"].startswith("http://127.0.0.1:")
        assert all(sample[f"{name}.security.protocol"] == "SSL" for name in listed(sample["clusters"]))
