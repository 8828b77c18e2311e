# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Certificates name what they should and warn before they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from installation.certificates import (
    CertifiedKey,
    days_left,
    expiry_warning,
    hosts_of,
    issue_authority,
    issue_server,
)
from shared.errors import RefusedError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOSTS = ("bus.example.org", "198.18.0.1", "2001:db8::1")


def key(secret: int = 5) -> ec.EllipticCurvePrivateKey:
    """A key that is the same each time."""
    return ec.derive_private_key(secret, ec.SECP256R1())


@pytest.fixture
def authority() -> CertifiedKey:
    """Of an installation."""
    return issue_authority(name="test", key=key(), serial=1, now=NOW)


def server(authority: CertifiedKey, *, hosts: tuple[str, ...] = HOSTS, days: int = 825) -> bytes:
    """A server's certificate."""
    return issue_server(
        authority, hosts=hosts, key=key(6), serial=2, now=NOW, days=days
    ).certificate


def test_every_host_is_named(authority: CertifiedKey) -> None:
    """Names and addresses are alternatives of their own kind."""
    assert hosts_of(server(authority)) == HOSTS


def test_the_authority_signed_it_and_can_sign_no_other_authority(authority: CertifiedKey) -> None:
    """The chain verifies and ends there."""
    root = x509.load_pem_x509_certificate(authority.certificate)
    leaf = x509.load_pem_x509_certificate(server(authority))

    leaf.verify_directly_issued_by(root)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert constraints.path_length == 0
    leaf_constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not leaf_constraints.ca


def test_what_is_no_host_is_refused(authority: CertifiedKey) -> None:
    """A name that cannot be in a certificate is refused by name."""
    with pytest.raises(RefusedError, match="hosts"):
        server(authority, hosts=("bücher.example",))


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (31, ""),
        (30, "ends in 30 days"),
        (0, "ended 0 days ago"),
        (-4, "ended 4 days ago"),
    ],
)
def test_a_warning_comes_before_the_end(authority: CertifiedKey, days: int, warning: str) -> None:
    """For thirty days, and after it; before that nothing is said."""
    certificate = server(authority, days=100)
    now = NOW + timedelta(days=100 - days)

    assert days_left(certificate, now=now) == pytest.approx(days)
    assert warning in expiry_warning(certificate, now=now)
    assert bool(warning) == bool(expiry_warning(certificate, now=now))
