# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a principal, node or service is given, and how its entry in the registry reads.

Pure: seeds and the time are arguments.  Whoever may publish packages also gets a key to sign
them with and the trust root's certificate for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from installation.claims import account_of, user_claims
from installation.keys import InstallationKeys, RandomBytes
from installation.registry import Member, kind_of
from shared.contracts.catalog import PublisherCertificate
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.permissions import Role
from shared.contracts.spaces import SPACE_PATTERN
from shared.dsse import public_key_of, sign_certificate
from shared.errors import Reason, RefusedError
from shared.identifiers import parse_token
from shared.installation_facts import (
    AUTHORITY_FILE,
    CREDENTIALS_FILE,
    FACTS_FILE,
    PUBLISHER_CERTIFICATE_FILE,
    PUBLISHER_KEY_FILE,
)
from shared.nkeys import SEED_BYTES, NKey, render_credentials, render_jwt

PUBLISHING_ROLES: Final[frozenset[Role]] = frozenset({"publisher", "administrator"})


@dataclass(frozen=True, slots=True)
class PublicFiles:
    """What every credentials directory holds a copy of."""

    facts: bytes
    ca_certificate: bytes | None
    """None: the server's listener has no TLS."""


@dataclass(frozen=True, slots=True)
class IssuedCredentials:
    """A new member and the files it is given, by name."""

    member: Member
    files: Mapping[str, bytes] = field(repr=False)


def issue_credentials(
    keys: InstallationKeys,
    public: PublicFiles,
    *,
    name: str,
    role: Role,
    random_bytes: RandomBytes,
    now: datetime,
    expires_at: datetime | None = None,
    spaces: Sequence[Audience] = (),
) -> IssuedCredentials:
    """A new key for `name` with the rights of `role`, hearing the events of `spaces` too.

    Raises:
        RefusedError: The name is not a label, a space is none, or the end is not in the future.
    """
    parse_token(name, path="name")
    check_spaces(spaces)
    if expires_at is not None and expires_at <= now:
        reason = Reason(path="expires", rule="must be in the future", got=expires_at.isoformat())
        raise RefusedError("expires: must be in the future", [reason])
    key = NKey("user", random_bytes(SEED_BYTES))
    account_key = keys.accounts[account_of(role)].public
    claims = user_claims(
        key=key.public,
        name=name,
        account_key=account_key,
        now=now,
        expires_at=expires_at,
        spaces=spaces,
    )
    jwt = render_jwt(claims, signer=keys.roles[role])
    files = {CREDENTIALS_FILE: render_credentials(jwt, key).encode(), FACTS_FILE: public.facts}
    if public.ca_certificate is not None:
        files[AUTHORITY_FILE] = public.ca_certificate
    if role in PUBLISHING_ROLES:
        files |= _publisher_files(keys, name=name, seed=random_bytes(SEED_BYTES), now=now)
    member = Member(
        kind=kind_of(role),
        name=name,
        role=role,
        key=key.public,
        created_at=now,
        expires_at=expires_at,
        spaces=tuple(spaces),
    )
    return IssuedCredentials(member, files)


def check_spaces(spaces: Sequence[Audience]) -> None:
    """Each can be the name of a space that has members.

    Raises:
        RefusedError: Naming each that cannot.
    """
    reasons = [
        Reason(
            path="space",
            rule="is not the name of a private namespace or an embargo",
            got=space,
            allowed="p_ and a namespace, or r_ and 16 hexadecimal digits",
        )
        for space in spaces
        if space == PUBLIC or not re.match(SPACE_PATTERN, space)
    ]
    if reasons:
        raise RefusedError(f"space: {reasons[0].got!r} {reasons[0].rule}", reasons)


def _publisher_files(
    keys: InstallationKeys, *, name: str, seed: bytes, now: datetime
) -> dict[str, bytes]:
    certificate = PublisherCertificate(
        key=public_key_of(seed).hex(), publisher=name, issued_at=now.isoformat()
    )
    envelope = sign_certificate(certificate, seed=keys.trust_root)
    return {
        PUBLISHER_KEY_FILE: seed.hex().encode() + b"\n",
        PUBLISHER_CERTIFICATE_FILE: msgspec.json.encode(envelope) + b"\n",
    }
