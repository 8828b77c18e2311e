# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Certificates of the server and of the authority that clients trust.

Pure: keys, serial numbers and the time are arguments.  ECDSA on P-256 (RFC 5480), X.509 v3
(RFC 5280).  A certificate's end stops new connections and nothing else: no process watches it to
exit, and a renewed one is taken up by the running server.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import RefusedError

AUTHORITY_DAYS: Final = 20 * 365
SERVER_DAYS: Final = 825
"""The longest life that common TLS clients accept of a server certificate."""
WARNING_DAYS: Final = 30
_CLOCK_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def issue_authority(
    *, name: str, key: EllipticCurvePrivateKey, serial: int, now: datetime
) -> CertifiedKey:
    """A self-signed authority, valid for AUTHORITY_DAYS, that can sign servers and nothing else."""
    subject = _name(f"L3AF Bus {name}")
    certificate = (
        _builder(subject, subject, serial, now, timedelta(days=AUTHORITY_DAYS))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return CertifiedKey(certificate.public_bytes(Encoding.PEM), _private_pem(key))


def issue_server(
    authority: CertifiedKey,
    *,
    hosts: tuple[str, ...],
    key: EllipticCurvePrivateKey,
    serial: int,
    now: datetime,
    days: int = SERVER_DAYS,
) -> CertifiedKey:
    """A server certificate for every host name and address in `hosts`, valid for `days`."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = load_pem_private_key(authority.key, password=None)
    assert isinstance(issuer_key, EllipticCurvePrivateKey)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    certificate = (
        _builder(_name(hosts[0]), issuer.subject, serial, now, timedelta(days=days))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_alternative(h) for h in hosts]), critical=False
        )
        .add_extension(issuer_id, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return CertifiedKey(certificate.public_bytes(Encoding.PEM), _private_pem(key))


def hosts_of(certificate: bytes) -> tuple[str, ...]:
    """The names and addresses that a server certificate holds, in its order."""
    extension = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return tuple(str(name.value) for name in extension.value)


def days_left(certificate: bytes, *, now: datetime) -> float:
    """Days until a certificate ends; negative once it has."""
    end = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return (end - now) / timedelta(days=1)


def expiry_warning(certificate: bytes, *, now: datetime) -> str:
    """A sentence once fewer than WARNING_DAYS are left, else empty."""
    left = days_left(certificate, now=now)
    if left > WARNING_DAYS:
        return ""
    when = f"ends in {left:.0f} days" if left > 0 else f"ended {abs(left):.0f} days ago"
    return f"the server's certificate {when}: run `l3af init --renew-certificates`"


def _builder(
    subject: x509.Name, issuer: x509.Name, serial: int, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(serial)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise RefusedError(f"hosts: {host!r} is neither an address nor a host name") from error


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
