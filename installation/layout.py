# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where everything of an installation lies below its directory.

Pure.  `operator/` can be kept offline: only adding, revoking, rotating and renewing need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installation.registry import MemberKind
from shared.contracts.permissions import Role
from shared.installation_facts import AUTHORITY_FILE, FACTS_FILE

_DIRECTORY_OF_KIND: Final[dict[MemberKind, str]] = {
    "principal": "principals",
    "node": "nodes",
    "service": "services",
}


TRUST_SUFFIX: Final = ".dsse.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one installation."""

    root: Path

    @property
    def facts(self) -> Path:
        """Public facts; what makes a directory an installation."""
        return self.root / FACTS_FILE

    @property
    def operator(self) -> Path:
        """Secrets that make secrets."""
        return self.root / "operator"

    @property
    def operator_seed(self) -> Path:
        """The operator's nkey seed."""
        return self.operator / "operator.seed"

    def account_seed(self, account: str) -> Path:
        """An account's nkey seed."""
        return self.operator / "accounts" / f"{account}.seed"

    def role_seed(self, role: Role) -> Path:
        """The nkey seed that signs users of a role."""
        return self.operator / "roles" / f"{role}.seed"

    @property
    def trust_root_seed(self) -> Path:
        """Ed25519 seed, hexadecimal, that signs publishers' certificates."""
        return self.operator / "trust-root.seed"

    def trust_document(self, namespace: str) -> Path:
        """A namespace's trust document, signed; public."""
        return self.operator / "trust" / f"{namespace}{TRUST_SUFFIX}"

    @property
    def ca_key(self) -> Path:
        """The certificate authority's private key, PEM."""
        return self.operator / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        """The certificate authority's certificate, PEM."""
        return self.operator / AUTHORITY_FILE

    @property
    def registry(self) -> Path:
        """Who has credentials; public."""
        return self.operator / "principals.json"

    @property
    def lock(self) -> Path:
        """Held while keys or registry change."""
        return self.operator / "lock"

    @property
    def server(self) -> Path:
        """All that nats-server needs."""
        return self.root / "server"

    @property
    def server_config(self) -> Path:
        """The server's configuration."""
        return self.server / "nats.conf"

    @property
    def server_accounts(self) -> Path:
        """The resolver's directory of account JWTs."""
        return self.server / "jwt"

    def account_jwt(self, account_key: str) -> Path:
        """The JWT of the account with this public nkey."""
        return self.server_accounts / f"{account_key}.jwt"

    @property
    def server_certificate(self) -> Path:
        """The server's certificate, PEM."""
        return self.server / "tls" / "server.crt"

    @property
    def server_key(self) -> Path:
        """The server's private key, PEM."""
        return self.server / "tls" / "server.key"

    def credentials(self, kind: MemberKind, name: str) -> Path:
        """What one principal, node or service is given."""
        return self.root / "credentials" / _DIRECTORY_OF_KIND[kind] / name

    def state(self, process: str) -> Path:
        """What one process keeps when `l3af up` runs it."""
        return self.root / "state" / process

    @property
    def logs(self) -> Path:
        """One file a process, when `l3af up` runs them."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Process ids and status, when `l3af up` runs them."""
        return self.root / "run"
