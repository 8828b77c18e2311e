# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What everybody who takes part in an installation knows about it; nothing here is secret."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.contracts.base import Document
from shared.validation import decode_document

FACTS_FILE: Final = "installation.json"
"""In every credentials directory, beside the credentials."""
CREDENTIALS_FILE: Final = "user.creds"
AUTHORITY_FILE: Final = "ca.pem"
"""Present when the server's listener has TLS."""
PUBLISHER_KEY_FILE: Final = "publisher.key"
PUBLISHER_CERTIFICATE_FILE: Final = "publisher.dsse.json"
CHECKPOINT_KEY_FILE: Final = "checkpoint.key"


class Accounts(Document, frozen=True, kw_only=True):
    """Public nkeys of the three accounts."""

    system: str
    control: str
    users: str


class InstallationFacts(Document, frozen=True, kw_only=True):
    """The file `installation.json`."""

    name: str
    created_at: str
    """RFC 3339 UTC."""
    server_url: str
    """`nats://host:port` on loopback, `tls://host:port` anywhere else."""
    operator_key: str
    accounts: Accounts
    roles: dict[str, str]
    """Public key of a role's signing key to the role's name: who issued a user says what it is."""
    trust_root: str
    """Ed25519 public key that certifies publishers, 64 hexadecimal digits."""
    log_origin: str
    """Origin line of the audit log's checkpoints."""
    log_verifier_key: str
    """C2SP verifier key of the audit log."""

    @property
    def has_tls(self) -> bool:
        """Whether the server is reached through TLS."""
        return self.server_url.startswith("tls://")

    def role_of(self, issuer_key: str) -> str:
        """The role whose signing key is `issuer_key`; empty if it is none of this installation."""
        return self.roles.get(issuer_key, "")


def parse_facts(data: bytes) -> InstallationFacts:
    """The facts in a file.

    Raises:
        RefusedError: With every problem.
    """
    return decode_document(data, InstallationFacts, what=FACTS_FILE)


def render_facts(facts: InstallationFacts) -> bytes:
    """The file's content, readable, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"
