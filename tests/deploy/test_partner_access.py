"""Partners over an open network: a real broker with the compose file's listener for them, its certificate and users."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,  # type: ignore[attr-defined]
)
from typer.testing import CliRunner

from deploy.cli import app
from deploy.embedded import Platform, Silent, services
from deploy.embedded.cache import Cache, cache_dir
from deploy.embedded.checks import admin
from deploy.environment import Wishes, read, write
from schemas.partners import load_partners
from schemas.registry import register_all, topic_of
from schemas.settings import PACKAGE_ROOT, Settings
from streams.kafka import AccessError, client_config, require_access
from streams.partner_access import rights_of
from streams.producer import BrokerUnreachable, PartnerProducer
from streams.progress import CommittedProgress
from streams.topics import TopicError, ensure_topics
from tests.deploy.compose import filled
from tests.schemas.test_registry import SmallRegistry, serving
from tests.stack import wait_until
from tests.tls import tls_before

pytestmark = pytest.mark.stack

PAYMENT = {
    "event_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "occurred_at": "2026-11-27T10:15:00Z",
    "tlp": "AMBER",
    "kind": "TRANSFER",
}
WORKER = ("tocsin", "a password, with a comma=")


def server_properties(variables: dict[str, str]) -> dict[str, str]:
    """The broker's settings of a container's environment, as the image apache/kafka makes them: ``___`` is a hyphen,
    ``__`` an underscore, ``_`` a full stop."""
    marks = {1: ".", 2: "_", 3: "-"}
    return {
        re.sub("_+", lambda found: marks[len(found[0])], name.removeprefix("KAFKA_")).lower(): value
        for name, value in variables.items()
        if name.startswith("KAFKA_")
    }


@dataclass
class Cluster:
    """``inner`` are the settings of our own processes, ``outer`` those of somebody who has no user yet."""

    inner: Settings
    outer: dict[str, Any]
    ca: Path
    folder: Path

    def settings(self, user: str, password: str, **more: Any) -> Settings:
        return Settings(**{**self.outer, "kafka_sasl_username": user, "kafka_sasl_password": password, **more})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("partners")
    values = write(folder / ".env", Wishes(1, 1, "127.0.0.1", "../schemas"))
    assert read(folder / ".env") == values, "the key has spaces, and survives the quotes"
    said = server_properties(filled(values)["services"]["kafka-1"]["environment"])
    with Platform(folder / "data", infrastructure=()) as platform:
        platform.start()
        port, controller, partners = (platform.port(f"tests-{name}", 9092) for name in ("inner", "controller", "outer"))
        listeners = f"PLATFORM://127.0.0.1:{port},PARTNERS://127.0.0.1:{partners}"
        kept = ("listener.", "authorizer.", "inter.", "super.")
        more: dict[str, str | int] = {name: value for name, value in said.items() if name.startswith(kept)} | {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
        }
        more["super.users"] = f"{more['super.users']};User:{WORKER[0]}"
        files = Cache(cache_dir(folder / "data"), Silent()).ensure()
        kafka = services.kafka(folder / "kafka", files, port, controller, values["KAFKA_CLUSTER_ID"], more)
        platform.add_parts([kafka])
        inner = Settings(data_dir=folder, kafka_bootstrap=f"127.0.0.1:{port}", topic_partitions=1)
        ensure_topics(inner)
        name, password = WORKER
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        made = UserScramCredentialUpsertion(name, info, password.encode())
        client = admin(inner)
        for future in client.alter_user_scram_credentials([made]).values():
            future.result(10)
        ca = folder / "ca.pem"
        outer = {
            "data_dir": folder,
            "kafka_bootstrap": f"127.0.0.1:{partners}",
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ssl_ca_location": ca,
        }
        yield Cluster(inner, outer, ca, folder)


Partners = Callable[..., Any]


@pytest.fixture
def partners(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Partners:
    """``tocsin partners ... --json`` as an operator of the platform types it."""
    monkeypatch.setenv("TOCSIN_KAFKA_BOOTSTRAP", cluster.inner.kafka_bootstrap)

    def run(*words: str) -> Any:
        result = CliRunner().invoke(app, ["partners", *words, "--json", "--data-dir", str(cluster.folder)])
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    return run


def delivered(settings: Settings, topic: str) -> KafkaError | None:
    """What becomes of a record that is written past the SDK."""
    outcome: list[KafkaError | None] = []
    producer = Producer({**client_config(settings), "message.timeout.ms": 10_000, "log_level": 0})
    producer.produce(topic, b"x", on_delivery=lambda error, _: outcome.append(error))
    assert producer.flush(15) == 0
    return outcome[0]


def test_a_partner_writes_its_own_topics_and_nothing_else(cluster: Cluster, partners: Partners) -> None:
    granted = partners("grant", "fiu-nl")
    assert len(granted["added"]) == 6
    partners("grant", "bpol-de")
    fiu = cluster.settings("fiu-nl", granted["password"])
    with PartnerProducer("fiu-nl", settings=fiu, schema_ids={"financial_transaction": 1}) as producer:
        producer.publish("financial_transaction", PAYMENT)
    assert producer.stats.delivered == 1
    for topic in (topic_of("border_crossing"), "quarantine.v1", "rules.v1", "commands.v1"):
        error = delivered(fiu, topic)
        assert error is not None
        assert error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, topic
    seen = Consumer({**client_config(fiu), "group.id": "fiu-nl-reads", "log_level": 0})
    own = {topic_of(family) for family in ("financial_transaction", "watchlist_entry", "heartbeat")}
    assert set(seen.list_topics(timeout=10).topics) == own, "it does not see that there are others"
    seen.assign([TopicPartition(topic_of("financial_transaction"), 0, 0)])
    refused: set[int] = set()

    def polled() -> bool:
        message = seen.poll(0.5)
        refused.update({message.error().code()} if message is not None and message.error() is not None else ())
        return KafkaError.TOPIC_AUTHORIZATION_FAILED in refused

    wait_until(polled, 10, "it is told that it cannot read its own topics either")
    assert refused <= {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
    seen.close()


def test_granting_again_changes_nothing_but_what_the_agreement_says(cluster: Cluster, partners: Partners) -> None:
    planned = partners("grant", "cert-fr", "--dry-run")
    standing = {each["partner"]: each for each in partners("list")}["cert-fr"]
    assert (standing["user_exists"], len(standing["missing"]), standing["beyond"]) == (False, 4, [])
    first = partners("grant", "cert-fr")
    assert planned["added"] == first["added"] != []
    again = partners("grant", "cert-fr")
    assert (again["added"], again["removed"], again["password"]) == ([], [], None)
    require_access(cluster.settings("cert-fr", first["password"]))
    agreed = (PACKAGE_ROOT / "schemas" / "partners.yml").read_text()
    smaller = cluster.folder / "partners.yml"
    smaller.write_text(agreed.replace("[cyber_detection, heartbeat]", "[incident_report, heartbeat]"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOCSIN_PARTNERS_FILE", str(smaller))
        changed = partners("grant", "cert-fr", "--rotate")
    assert {each["name"] for each in changed["removed"]} == {topic_of("cyber_detection")}
    assert {each["name"] for each in changed["added"]} == {topic_of("incident_report")}
    with pytest.raises(AccessError, match="no such user, or the password is another"):
        require_access(cluster.settings("cert-fr", first["password"]))
    require_access(cluster.settings("cert-fr", changed["password"]))
    assert len(partners("revoke", "cert-fr")["removed"]) == len(changed["rights"])
    assert partners("revoke", "cert-fr")["removed"] == []
    with pytest.raises(AccessError, match="no such user"):
        require_access(cluster.settings("cert-fr", changed["password"]))


def test_what_is_wrong_is_said_in_a_sentence(cluster: Cluster) -> None:
    wrong = cluster.settings("fiu-nl", "guessed")
    where = re.escape(wrong.kafka_bootstrap)
    with pytest.raises(BrokerUnreachable, match=f"{where} does not let in the user 'fiu-nl' by SCRAM-SHA-512"):
        PartnerProducer("fiu-nl", settings=wrong).start(timeout_s=1)
    with pytest.raises(TopicError, match="does not let in the user 'fiu-nl'"):
        ensure_topics(wrong)
    plain = Settings(kafka_bootstrap=wrong.kafka_bootstrap)
    with pytest.raises(AccessError, match=f"{where} speaks TLS on this port.*make it SASL_SSL"):
        require_access(plain)
    encrypted = cluster.settings(*WORKER, kafka_bootstrap=cluster.inner.kafka_bootstrap)
    with pytest.raises(AccessError, match="does not speak TLS on this port"):
        require_access(encrypted)
    nameless = Settings(**{**cluster.outer, "kafka_security_protocol": "SSL"})
    with pytest.raises(AccessError, match="it may want a login"):
        require_access(nameless)
    with pytest.raises(AccessError, match="supported mechanisms: SCRAM-SHA-512"):
        require_access(cluster.settings(*WORKER, kafka_sasl_mechanism="SCRAM-SHA-256"))
    with pytest.raises(AccessError, match="is not trusted: it is not from one of this machine's CAs"):
        require_access(cluster.settings(*WORKER, kafka_ssl_ca_location=None))
    with pytest.raises(AccessError, match=r"is not trusted.*or is for another name"):
        require_access(
            cluster.settings(*WORKER, kafka_bootstrap=wrong.kafka_bootstrap.replace("127.0.0.1", "localhost"))
        )
    require_access(cluster.settings(*WORKER))


def start_worker(cluster: Cluster, registry: dict[str, Any], password: Path) -> subprocess.Popen[str]:
    """An ingest worker that knows of Kafka and the registry what the environment says, secrets in files."""
    login = cluster.folder / "registry-password"
    login.write_text("of the registry\n")
    variables = {
        "DATA_DIR": cluster.folder,
        "KAFKA_BOOTSTRAP": cluster.outer["kafka_bootstrap"],
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": WORKER[0],
        "KAFKA_SASL_PASSWORD_FILE": password,
        "KAFKA_SSL_CA_LOCATION": cluster.ca,
        **{name.upper(): value for name, value in registry.items()},
        "REGISTRY_USER": "worker",
        "REGISTRY_PASSWORD_FILE": login,
        "RULES_PATH": PACKAGE_ROOT / "processors" / "rules" / "tips" / "urgent_reliable_tip.yml",
        "STORE": "false",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return subprocess.Popen(
        [sys.executable, "-m", "processors", "ingest", "--instance", "secure"],
        env={**kept, **{f"TOCSIN_{name}": str(value) for name, value in variables.items()}},
        cwd=PACKAGE_ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_works_over_tls_and_scram_with_its_secrets_in_files(cluster: Cluster, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(f"{WORKER[1]}\n")
    wrong.write_text("guessed")
    ours = cluster.settings(*WORKER)
    with serving(SmallRegistry("worker:of the registry")) as http, tls_before(http.server_address[1], tmp_path) as tls:
        registry = {"registry_url": f"https://127.0.0.1:{tls[0]}", "registry_ca_location": tls[1]}
        secured = ours.model_copy(
            update={**registry, "registry_user": "worker", "registry_password": "of the registry"}
        )
        register_all(secured)
        with PartnerProducer("fiu-nl", settings=secured) as producer:
            producer.publish("financial_transaction", PAYMENT)
        topic = topic_of("financial_transaction")
        progress = CommittedProgress(ours, ours.ingest_group, [topic])
        refused = start_worker(cluster, registry, wrong)
        process = start_worker(cluster, registry, right)
        try:
            _, said = refused.communicate(timeout=60)
            assert refused.returncode == 2
            assert f"does not let in the user '{WORKER[0]}'" in said.splitlines()[-1]
            assert "guessed" not in said
            wait_until(
                lambda: process.poll() is not None or (read := progress.read()[topic, 0])[0] == read[1] > 0,
                60,
                "the worker has committed what it read",
            )
            assert process.poll() is None, process.communicate()[1]
        finally:
            refused.kill()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_rights_are_to_write_and_to_see_the_topics_of_the_agreement() -> None:
    for partner in load_partners(Settings().partners_file):
        rights = rights_of(partner)
        assert {right.name for right in rights} == {topic_of(family) for family in partner.families}
        assert {(right.resource, right.pattern, right.operation) for right in rights} == {
            ("Topic", "Literal", "Write"),
            ("Topic", "Literal", "Describe"),
        }
