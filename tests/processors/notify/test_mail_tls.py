"""Mail with TLS and a login: the password goes only to a relay whose certificate is right."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from processors.notify.deliver import Deliverer, Retry
from schemas.lifecycle import Delivery
from tests.processors.notify.receivers import Mailbox, mailbox
from tests.processors.notify.samples import DESK, NOW, notification, policy, state


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody but this test trusts, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "relay.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(pem) + secret)
    return path


def relay(certificate: Path, seen: list[bytes]) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        seen.append(data.password)
        return AuthResult(success=data.password == b"invented", handled=False)

    return mailbox(tls_context=context, require_starttls=True, auth_required=True, authenticator=check)


async def tell(tmp_path: Path, box: Mailbox) -> tuple[str, list[Delivery]]:
    channel = box.channel().replace("starttls: false", "user: tocsin, password: env:TEST_SMTP_PASSWORD")
    deliverer = Deliverer(policy(tmp_path, channel), desk_url=DESK, retry=Retry(attempts=1))
    return await deliverer.deliver(notification(), [state()], NOW)


async def test_a_login_over_tls(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("TEST_SMTP_PASSWORD", "invented")
    with relay(certificate, seen) as box:
        status, _ = await tell(tmp_path, box)
    assert (status, seen, len(box.mails)) == ("sent", [b"invented"], 1)


async def test_a_wrong_password_is_told_without_it(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("TEST_SMTP_PASSWORD", "hunter2")
    with relay(certificate, []) as box:
        status, rows = await tell(tmp_path, box)
    assert (status, box.mails) == ("failed", [])
    assert rows[0].error.startswith("535")
    assert "hunter2" not in rows[0].error


async def test_a_relay_with_a_certificate_that_nobody_vouches_for_gets_nothing(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("TEST_SMTP_PASSWORD", "invented")
    with relay(certificate, seen) as box:
        status, rows = await tell(tmp_path, box)
    assert (status, seen, box.mails) == ("failed", [], [])
    assert "certificate" in rows[0].error.lower()
