# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Giving credentials out, taking them back and replacing them, while the server runs.

A revocation is written down before it is put in force: whatever fails then, the next push of the
account's claims carries it.  Adding needs no contact with the server at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from installation.adapters.directory import (
    exclusive,
    read_authority,
    read_bytes,
    read_facts,
    read_keys,
    read_registry,
    remove_credentials,
    write_credentials,
    write_private,
    write_registry,
)
from installation.adapters.running_server import ServerNotRunningError, push_account_jwts
from installation.claims import ACCOUNT_NAMES
from installation.credentials import PublicFiles, issue_credentials
from installation.keys import RandomBytes
from installation.layout import Layout
from installation.registry import (
    Member,
    MemberKind,
    Registry,
    add_member,
    find_member,
    revoke_member,
)
from shared.contracts.events import Audience
from shared.contracts.permissions import Role
from shared.nkeys import parse_jwt


@dataclass(frozen=True, slots=True)
class MemberChange:
    """What became of a member."""

    member: Member
    credentials_dir: Path
    """Where its credentials are, or were."""
    is_in_force: bool
    """Whether the running server knows; else it will from its next start."""


def add(
    directory: Path,
    *,
    name: str,
    role: Role,
    now: datetime,
    expires_at: datetime | None = None,
    spaces: Sequence[Audience] = (),
    random_bytes: RandomBytes = secrets.token_bytes,
) -> MemberChange:
    """`name` has a key with the rights of `role`, and credentials below `directory`.

    With it, it hears the events of `spaces` live, beside `public`.

    Raises:
        RefusedError: The name is taken or not a label, a space is none, or the end is not in the
            future.
        FaultError: The disk failed.
    """
    layout = _layout(directory)
    public = _public_files(layout)
    with exclusive(layout):
        registry = read_registry(layout)
        issued = issue_credentials(
            read_keys(layout),
            public,
            name=name,
            role=role,
            random_bytes=random_bytes,
            now=now,
            expires_at=expires_at,
            spaces=spaces,
        )
        write_registry(layout, add_member(registry, issued.member, now=now))
        place = layout.credentials(issued.member.kind, name)
        write_credentials(place, issued.files)
    return MemberChange(issued.member, place, is_in_force=True)


async def revoke(directory: Path, *, kind: MemberKind, name: str, now: datetime) -> MemberChange:
    """The name's key is refused from now on and its connections are cut; its credentials are gone.

    Revoking again puts the revocation in force again.

    Raises:
        RefusedError: Nobody ever had this name.
        FaultError: The disk failed, or the server runs but did not take the revocation over.
    """
    layout = _layout(directory)
    with exclusive(layout):
        registry, member = revoke_member(read_registry(layout), kind, name, now=now)
        write_registry(layout, registry)
        place = layout.credentials(kind, name)
        remove_credentials(place)
        is_in_force = await _put_in_force(layout, registry, now=now)
    return MemberChange(member, place, is_in_force)


async def rotate(
    directory: Path,
    *,
    kind: MemberKind,
    name: str,
    now: datetime,
    expires_at: datetime | None = None,
    spaces: Sequence[Audience] | None = None,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> MemberChange:
    """The name has a new key with the same role; the old key is refused and its connections cut.

    Args:
        directory: Of the installation.
        kind: Principal or node.
        name: Whose.
        now: Aware.
        expires_at: None keeps the old key's end, if that is still to come.
        spaces: Whose events it hears live, beside `public`; None keeps the old key's.
        random_bytes: Where secrets come from.

    Raises:
        RefusedError: Nobody has this name.
        FaultError: The disk failed, or the server runs but did not take the change over; the new
            credentials are valid all the same.
    """
    layout = _layout(directory)
    public = _public_files(layout)
    with exclusive(layout):
        registry = read_registry(layout)
        old = find_member(registry, kind, name)
        inherited = old.expires_at if old.is_valid(now=now) else None
        issued = issue_credentials(
            read_keys(layout),
            public,
            name=name,
            role=old.role,
            random_bytes=random_bytes,
            now=now,
            expires_at=expires_at or inherited,
            spaces=old.spaces if spaces is None else spaces,
        )
        registry, _ = revoke_member(registry, kind, name, now=now)
        registry = add_member(registry, issued.member, now=now)
        write_registry(layout, registry)
        place = layout.credentials(kind, name)
        write_credentials(place, issued.files)
        is_in_force = await _put_in_force(layout, registry, now=now)
    return MemberChange(issued.member, place, is_in_force)


def members(directory: Path, *, kind: MemberKind) -> tuple[Member, ...]:
    """Everybody of a kind who ever had credentials, oldest first."""
    return read_registry(_layout(directory)).of_kind(kind)


async def update_accounts(directory: Path, *, now: datetime) -> bool:
    """The server enforces this release's permission table and every revocation.

    Returns:
        Whether a running server took it over; else it will at its next start.
    """
    layout = _layout(directory)
    with exclusive(layout):
        return await _put_in_force(layout, read_registry(layout), now=now)


def refresh_stored_accounts(directory: Path, *, now: datetime) -> tuple[str, ...]:
    """The resolver's directory holds what follows from table and registry; names what changed.

    For before the server's start.  Without `operator/` (kept elsewhere) nothing is changed.
    """
    layout = _layout(directory)
    if not layout.operator_seed.exists():
        return ()
    with exclusive(layout):
        keys, registry = read_keys(layout), read_registry(layout)
        changed = []
        for account in ACCOUNT_NAMES:
            path = layout.account_jwt(keys.accounts[account].public)
            jwt = keys.account_jwt(account, registry=registry, now=now)
            if not path.exists() or _meaning(read_bytes(path).decode()) != _meaning(jwt):
                write_private(path, jwt.encode())
                changed.append(account)
    return tuple(changed)


async def _put_in_force(layout: Layout, registry: Registry, *, now: datetime) -> bool:
    keys, facts = read_keys(layout), read_facts(layout)
    jwts = {
        keys.accounts[account].public: keys.account_jwt(account, registry=registry, now=now)
        for account in ACCOUNT_NAMES
    }
    authority = read_authority(layout)
    try:
        await push_account_jwts(
            facts.server_url,
            tuple(jwts.values()),
            system=keys.accounts["system"],
            ca_pem=authority.certificate.decode() if authority else None,
            now=now,
        )
    except ServerNotRunningError:
        for account_key, jwt in jwts.items():
            write_private(layout.account_jwt(account_key), jwt.encode())
        return False
    return True


def _layout(directory: Path) -> Layout:
    return Layout(directory.absolute())


def _public_files(layout: Layout) -> PublicFiles:
    read_facts(layout)
    authority = read_authority(layout)
    return PublicFiles(read_bytes(layout.facts), authority.certificate if authority else None)


def _meaning(jwt: str) -> dict[str, object]:
    claims = parse_jwt(jwt)
    return {key: value for key, value in claims.items() if key not in {"iat", "jti"}}
