"""What librdkafka's clients and Faust are given of the security settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from deploy.certificates import issue, new_authority
from schemas.settings import PACKAGE_ROOT, Settings, SettingsError
from streams.kafka import broker_credentials, client_config, require_access, unreachable
from tests.streams.test_producer import NOW

NOBODY = "127.0.0.1:9"
SASL: dict[str, Any] = {"kafka_sasl_username": "fiu-nl", "kafka_sasl_password": "s3cret"}


def test_without_settings_nobody_logs_in() -> None:
    settings = Settings(kafka_bootstrap=NOBODY)
    assert client_config(settings) == {"bootstrap.servers": NOBODY}
    assert credentials_to_aiokafka_auth(broker_credentials(settings)) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_both_kinds_of_client_log_in_alike(protocol: str, mechanism: str) -> None:
    settings = Settings(kafka_security_protocol=protocol, kafka_sasl_mechanism=mechanism, **SASL)
    one, other = client_config(settings), credentials_to_aiokafka_auth(broker_credentials(settings))
    assert one["security.protocol"] == other["security_protocol"] == protocol
    assert one["sasl.mechanism"] == other["sasl_mechanism"] == mechanism
    assert one["sasl.username"] == other["sasl_plain_username"] == "fiu-nl"
    assert one["sasl.password"] == other["sasl_plain_password"] == "s3cret"
    assert (other["ssl_context"] is not None) == protocol.endswith("SSL")


def test_certificates_of_both_sides_are_used(tmp_path: Path) -> None:
    authority = new_authority(NOW)
    own = issue(authority, ["fiu-nl"], NOW)
    paths = {name: tmp_path / name for name in ("ca", "certificate", "key")}
    for name, text in (("ca", authority.chain), ("certificate", own.chain), ("key", own.key)):
        paths[name].write_text(text)
    located = {f"kafka_ssl_{name}_location": path for name, path in paths.items()}
    settings = Settings(kafka_security_protocol="SSL", **located)
    config = client_config(settings)
    assert {config[f"ssl.{name}.location"] for name in paths} == {str(path) for path in paths.values()}
    auth = credentials_to_aiokafka_auth(broker_credentials(settings))
    assert auth["security_protocol"] == "SSL"
    assert [dict(each[0] for each in found["subject"]) for found in auth["ssl_context"].get_ca_certs()] == [
        {"commonName": "Tocsin authority of 2026-03-01"}
    ]


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    junk = tmp_path / "ca.pem"
    junk.write_text("no certificate")
    settings = Settings(kafka_security_protocol="SASL_SSL", kafka_ssl_ca_location=junk, **SASL)
    with pytest.raises(SettingsError, match=f"{junk}: not a certificate"):
        require_access(settings)


def test_a_broker_that_is_away_is_no_refusal() -> None:
    config = client_config(Settings(kafka_bootstrap=NOBODY))
    require_access(Settings(kafka_bootstrap=NOBODY))
    said = unreachable(config, KafkaException(KafkaError(KafkaError._TRANSPORT)))
    assert said.startswith(f"no Kafka broker answers at {NOBODY} (")
    assert "Connection refused" in said
    assert said.endswith("TOCSIN_KAFKA_BOOTSTRAP right?")


def test_what_a_broker_refused_is_said_as_it_says_it() -> None:
    config = client_config(Settings(kafka_bootstrap=NOBODY))
    refused = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    assert unreachable(config, refused) == f"Kafka at {NOBODY}: Broker: Topic authorization failed"


def test_every_client_takes_its_address_together_with_the_login() -> None:
    address = re.compile(r'"bootstrap\.servers":|bootstrap_servers=|broker_address=|broker=f?"')
    loopback = {
        "deploy/embedded/checks.py",  # the embedded platform's own listener, which has no login
        *(f"deploy/bench/{name}.py" for name in ("latency", "plain_faust", "quix")),  # on a platform of the bench's own
    }
    beside = {"streams/kafka.py", "streams/batching.py", "deploy/bench/run.py"}
    found = {
        str(path.relative_to(PACKAGE_ROOT))
        for folder in ("schemas", "streams", "processors", "dashboards", "deploy")
        for path in (PACKAGE_ROOT / folder).rglob("*.py")
        if address.search(path.read_text())
    }
    assert found == loopback | beside
    for name in beside - {"streams/kafka.py"}:
        assert "broker_credentials(settings)" in (PACKAGE_ROOT / name).read_text()
