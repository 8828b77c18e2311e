# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The secrets that make secrets: operator, accounts, one signing key a role, the trust root.

Pure: randomness is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from installation.claims import (
    ACCOUNT_NAMES,
    AccountName,
    PublicKeys,
    account_claims,
    account_of,
    operator_claims,
)
from installation.registry import Registry
from shared.contracts.permissions import CONTROL_ROLES, USER_ROLES, Role
from shared.nkeys import SEED_BYTES, NKey, render_jwt

ROLES: Final[tuple[Role, ...]] = (*USER_ROLES, *CONTROL_ROLES)
RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class InstallationKeys:
    """The key pairs that lie in `operator/`."""

    operator: NKey
    accounts: Mapping[AccountName, NKey]
    roles: Mapping[Role, NKey]
    """What signs users of each role; a scoped signing key of the role's account."""
    trust_root: bytes = field(repr=False)
    """Ed25519 seed, 32 bytes, that signs publishers' certificates."""

    @property
    def public(self) -> PublicKeys:
        """The public halves."""
        return PublicKeys(
            operator=self.operator.public,
            accounts={name: key.public for name, key in self.accounts.items()},
            roles={role: key.public for role, key in self.roles.items()},
        )

    def operator_jwt(self, *, name: str, now: datetime) -> str:
        """The operator's word about itself."""
        return render_jwt(operator_claims(self.public, name=name, now=now), signer=self.operator)

    def account_jwt(self, account: AccountName, *, registry: Registry, now: datetime) -> str:
        """The operator's word about an account, with every revocation in the registry."""
        roles = frozenset(role for role in ROLES if account_of(role) == account)
        revocations = registry.revocations(roles)
        claims = account_claims(account, self.public, revocations=revocations, now=now)
        return render_jwt(claims, signer=self.operator)


def new_keys(random_bytes: RandomBytes) -> InstallationKeys:
    """Fresh keys for everything."""
    return InstallationKeys(
        operator=NKey("operator", random_bytes(SEED_BYTES)),
        accounts={name: NKey("account", random_bytes(SEED_BYTES)) for name in ACCOUNT_NAMES},
        roles={role: NKey("account", random_bytes(SEED_BYTES)) for role in ROLES},
        trust_root=random_bytes(SEED_BYTES),
    )
