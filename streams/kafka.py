"""How our clients reach Kafka, and why it does not let them in: the one place that knows of security settings.

librdkafka's clients and Faust's are given the same settings, under Kafka's own names (``security.protocol``,
``sasl.mechanism``, ``ssl.ca.location`` and so on; ``TOCSIN_KAFKA_...`` in the environment).
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.settings import Settings, SettingsError

if TYPE_CHECKING:
    from faust.auth import Credentials

Config = dict[str, str | int | float | bool]
PROBE_S: Final = 3.0
_UNREACHED: Final = (
    *(KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN),
    *(KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE),
)
"""What librdkafka says of a broker that it cannot use; its calls rarely say why."""
_ACCESS: Final = ("bootstrap.", "security.", "sasl.", "ssl.")


class AccessError(RuntimeError):
    """Kafka is there and does not let us in; the message names address and user, and says what to do."""


def client_config(settings: Settings) -> Config:
    """What every client of confluent-kafka needs to reach the brokers; the caller adds what it is for."""
    config: Config = {"bootstrap.servers": settings.kafka_bootstrap}
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = protocol
    if protocol.startswith("SASL_"):
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_sasl_username
        config["sasl.password"] = settings.kafka_sasl_password
    files = {
        "ssl.ca.location": settings.kafka_ssl_ca_location,
        "ssl.certificate.location": settings.kafka_ssl_certificate_location,
        "ssl.key.location": settings.kafka_ssl_key_location,
    }
    config |= {name: str(path) for name, path in files.items() if path is not None}
    if settings.kafka_ssl_key_password:
        config["ssl.key.password"] = settings.kafka_ssl_key_password
    return config


def broker_credentials(settings: Settings) -> Credentials | None:
    """The same for Faust and its aiokafka; None where nobody logs in and nothing is encrypted.

    Raises:
        SettingsError: a certificate or key is none.
    """
    from faust.auth import SASLCredentials, SSLCredentials  # takes a second, and most processes run no Faust

    protocol = settings.kafka_security_protocol
    context = _tls(settings) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL_"):
        return SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password,
            mechanism=settings.kafka_sasl_mechanism,
            ssl_context=context,
        )
    return SSLCredentials(context) if context is not None else None


def _tls(settings: Settings) -> ssl.SSLContext:
    ca, certificate = settings.kafka_ssl_ca_location, settings.kafka_ssl_certificate_location
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        if certificate is not None:
            # A password that is not needed is not asked for; without one OpenSSL would ask on the terminal.
            context.load_cert_chain(certificate, settings.kafka_ssl_key_location, settings.kafka_ssl_key_password)
    except (ssl.SSLError, OSError) as error:
        used = ", ".join(str(path) for path in (ca, certificate, settings.kafka_ssl_key_location) if path is not None)
        raise SettingsError(f"{used}: not a certificate and key in PEM that fit each other: {error}") from error
    return context


def require_access(settings: Settings) -> None:
    """See that Kafka, if it answers, lets us in. Blocks for ``PROBE_S`` seconds at most; says nothing where nobody
    answers, as whoever needs a broker waits for it.

    Raises:
        AccessError: it refuses the user, its certificate is not trusted, or one side speaks TLS and the other does not.
        SettingsError: a certificate or key is none.
    """
    if settings.kafka_security_protocol.endswith("SSL"):
        _tls(settings)
    try:
        found = _ask(client_config(settings))
    except KafkaException as error:
        raise SettingsError(f"Kafka's settings cannot be used: {error.args[0].str()}") from error
    if found is not None and found.refused:
        raise AccessError(found.reason)


def unreachable(config: Mapping[str, Any], error: KafkaException) -> str:
    """What a failed call means, for people: that Kafka does not let us in, that nobody answers, or what it refused.

    Where librdkafka says no more than that no broker could be used, Kafka is asked again, with the ``config`` of the
    client, to find out why; that blocks for ``PROBE_S`` seconds at most.
    """
    cause, where = error.args[0], config["bootstrap.servers"]
    if not isinstance(cause, KafkaError):
        return f"Kafka at {where}: {cause}"
    if cause.code() not in _UNREACHED:
        return f"Kafka at {where}: {cause.str()}"
    found = _ask(config)
    if found is not None and found.refused:
        return found.reason
    reason = found.reason if found is not None and found.reason else cause.str()
    return (
        f"no Kafka broker answers at {where} ({reason}). Is the platform up ('tocsin up'), and TOCSIN_KAFKA_BOOTSTRAP "
        "right?"
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    reason: str
    refused: bool = False


def _ask(config: Mapping[str, Any]) -> _Answer | None:
    """Why no broker can be used; None when one can."""
    seen: list[KafkaError] = []
    security = {name: value for name, value in config.items() if name.startswith(_ACCESS)}
    client = Producer({**security, "error_cb": seen.append, "log_level": 0})
    deadline = time.monotonic() + PROBE_S
    while time.monotonic() < deadline:
        try:
            client.list_topics(timeout=0.2)
            return None
        except KafkaException:
            client.poll(0)
        told = [answer for each in seen if (answer := _told(config, each)) is not None]
        if told:
            return told[0]
        if any(each.code() == KafkaError._ALL_BROKERS_DOWN for each in seen):
            break
    return _hung_up(config) or _Answer(next((each.str() for each in seen if each.code() in _UNREACHED), ""))


def _told(config: Mapping[str, Any], error: KafkaError) -> _Answer | None:
    where, text = config["bootstrap.servers"], str(error.str())
    if error.code() == KafkaError._AUTHENTICATION:
        mechanism = config.get("sasl.mechanism")
        who = f"Kafka at {where} does not let in the user {config.get('sasl.username')!r} by {mechanism}"
        if "mechanism handshake" in text:
            told = f"{who}, see TOCSIN_KAFKA_SECURITY_PROTOCOL and TOCSIN_KAFKA_SASL_MECHANISM: {text}"
        else:
            told = (
                f"{who}: there is no such user, or the password is another. See TOCSIN_KAFKA_SASL_USERNAME and "
                "TOCSIN_KAFKA_SASL_PASSWORD or its _FILE"
            )
        return _Answer(told, refused=True)
    if "certificate verify failed" in text:
        ca = config.get("ssl.ca.location")
        known = f"the CAs in {ca}" if ca else "this machine's CAs (TOCSIN_KAFKA_SSL_CA_LOCATION names others)"
        return _Answer(
            f"the certificate of Kafka at {where} is not trusted: it is not from one of {known}, has run out, or is "
            "for another name than this address",
            refused=True,
        )
    if "SSL connection closed by peer" in text:
        return _Answer(
            f"Kafka at {where} does not speak TLS on this port, and TOCSIN_KAFKA_SECURITY_PROTOCOL is "
            f"{config.get('security.protocol')}: take its encrypted port, or the protocol that it speaks",
            refused=True,
        )
    if error.code() == KafkaError._SSL:
        return _Answer(f"no TLS with Kafka at {where}: {text}", refused=True)
    return None


def _hung_up(config: Mapping[str, Any]) -> _Answer | None:
    """Of a broker that ends the connection without a word: it expects TLS, or a login."""
    where, protocol = config["bootstrap.servers"], str(config.get("security.protocol", "PLAINTEXT"))
    if not any(_speaks_tls(each) for each in str(where).split(",")):
        return None
    if not protocol.endswith("SSL"):
        told = f"Kafka at {where} speaks TLS on this port, and TOCSIN_KAFKA_SECURITY_PROTOCOL is {protocol}"
    elif protocol == "SSL":
        told = f"Kafka at {where} ends the connection: it may want a login, and TOCSIN_KAFKA_SECURITY_PROTOCOL is SSL"
    else:
        return None
    return _Answer(f"{told}: make it SASL_SSL, with TOCSIN_KAFKA_SASL_USERNAME and its password", refused=True)


def _speaks_tls(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    context = ssl.create_default_context()
    # Nothing is sent: only whether it is TLS is asked.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=2) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")),
        ):
            return True
    except (OSError, ValueError):
        return False
