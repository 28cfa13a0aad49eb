"""Certificates for the brokers that partners reach: from an authority of this installation, or brought along.

Everything is PEM. Elliptic curve P-256, signed with SHA-256; the profile is RFC 5280's.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID: Final = dt.timedelta(days=365)
AUTHORITY_VALID: Final = dt.timedelta(days=3650)
"""Partners hold a copy of it: it outlives the certificates that it signs."""


class CertificateError(ValueError):
    """A certificate or key that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key, and the certificates from its own up to, but without, the authority."""

    key: str
    chain: str


def new_authority(now: dt.datetime) -> Identity:
    """An authority that signs nothing but certificates of servers."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Tocsin authority of {now:%Y-%m-%d}")])
    signed = (
        _certificate(name, name, key.public_key(), now, AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(_key_text(key), _text(signed))


def issue(authority: Identity, names: Sequence[str], now: dt.datetime) -> Identity:
    """A server's certificate for these host names and IP addresses, valid from ``now``, UTC, for ``VALID``.

    Raises:
        CertificateError: the authority's key or certificate is none.
    """
    signing, issuer = _parsed(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    signed = (
        _certificate(subject, issuer.subject, key.public_key(), now, VALID)
        .add_extension(x509.SubjectAlternativeName([_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return Identity(_key_text(key), _text(signed))


def on_one_line(pem: str) -> str:
    """PEM as one line, as Kafka's ``ssl.keystore.key`` and ``ssl.keystore.certificate.chain`` take it from an
    environment."""
    return " ".join(pem.split())


def on_lines(pem: str) -> str:
    """PEM as files have it, of one line or of many."""
    blocks = re.findall(r"(-----BEGIN [A-Z ]+-----)([^-]*)(-----END [A-Z ]+-----)", pem)
    return "".join("\n".join([begin, *body.split(), end, ""]) for begin, body, end in blocks)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime, valid: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks of partners may be a little behind.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + valid)
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _parsed(identity: Identity) -> tuple[CertificateIssuerPrivateKeyTypes, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(identity.key.encode(), None)
        certificate = x509.load_pem_x509_certificate(identity.chain.encode())
    except (ValueError, TypeError) as error:
        raise CertificateError(f"no key and certificate in PEM: {error}") from error
    if key.public_key() != certificate.public_key():
        raise CertificateError("the key is not that of the certificate")
    return cast(CertificateIssuerPrivateKeyTypes, key), certificate


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
