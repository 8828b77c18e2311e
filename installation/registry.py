# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who has credentials: principals, nodes and services, by public key; nothing here is secret.

Pure: every change gives a new registry.  Entries are never removed, so that a key in an old audit
record can still be named.

Rules:
 * A name belongs to at most one valid key of its kind at a time.
 * A revoked key never becomes valid again; the name may be given to a new key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

import msgspec

from shared.contracts.errors import ErrorCode
from shared.contracts.events import Audience
from shared.contracts.permissions import USER_ROLES, ControlRole, Role, UserRole
from shared.errors import Reason, RefusedError

MemberKind = Literal["principal", "node", "service"]


class MemberExistsError(RefusedError):
    """The name has a valid key already."""

    code: ClassVar[ErrorCode] = "conflict"


class UnknownMemberError(RefusedError):
    """No valid key has this name."""

    code: ClassVar[ErrorCode] = "not_found"


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key and what it stands for."""

    kind: MemberKind
    name: str
    role: Role
    key: str
    """Public nkey."""
    created_at: datetime
    expires_at: datetime | None = None
    """From when the server refuses it; None: never."""
    revoked_at: datetime | None = None
    spaces: tuple[Audience, ...] = ()
    """Whose events it hears live, beside `public`."""

    def is_valid(self, *, now: datetime) -> bool:
        """Whether the server lets it in."""
        expired = self.expires_at is not None and self.expires_at <= now
        return self.revoked_at is None and not expired


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """Every key ever given out, oldest first."""

    members: tuple[Member, ...] = ()

    def of_kind(self, kind: MemberKind) -> tuple[Member, ...]:
        """The members of one kind, oldest first."""
        return tuple(member for member in self.members if member.kind == kind)

    def revocations(self, roles: frozenset[Role]) -> Mapping[str, datetime]:
        """When each revoked key of these roles was revoked."""
        return {
            member.key: member.revoked_at
            for member in self.members
            if member.role in roles and member.revoked_at is not None
        }


def kind_of(role: Role) -> MemberKind:
    """What holders of a role are."""
    if role in USER_ROLES:
        return "principal"
    return "node" if role == "node" else "service"


def parse_user_role(text: str) -> UserRole:
    """The role of a person or system by its name."""
    for role in USER_ROLES:
        if role == text:
            return role
    reason = Reason(path="role", rule="is not a role", got=text, allowed=list(USER_ROLES))
    raise RefusedError(f"role: {text!r} is not one of {', '.join(USER_ROLES)}", [reason])


def add_member(registry: Registry, member: Member, *, now: datetime) -> Registry:
    """The registry with one more key.

    Raises:
        MemberExistsError: The name has a valid key of this kind.
    """
    for known in registry.of_kind(member.kind):
        if known.name == member.name and known.is_valid(now=now):
            rule = f"there is a {member.kind} of this name; rotate or revoke it"
            reason = Reason(path="name", rule=rule, got=member.name)
            raise MemberExistsError(f"{member.name}: {rule}", [reason])
    return Registry(members=(*registry.members, member))


def revoke_member(
    registry: Registry, kind: MemberKind, name: str, *, now: datetime
) -> tuple[Registry, Member]:
    """The registry with the name's key revoked from `now`, and that key's entry.

    A key that expired can be revoked too; one that is revoked stays as it is.

    Raises:
        UnknownMemberError: No key of this kind ever had the name.
    """
    named = [member for member in registry.of_kind(kind) if member.name == name]
    if not named:
        raise _unknown(registry, kind, name)
    current = named[-1]
    if current.revoked_at is not None:
        return registry, current
    revoked = msgspec.structs.replace(current, revoked_at=now)
    members = tuple(revoked if member is current else member for member in registry.members)
    return Registry(members=members), revoked


def find_member(registry: Registry, kind: MemberKind, name: str) -> Member:
    """The key of this name that was not revoked; the newest, if older ones expired.

    Raises:
        UnknownMemberError: There is none.
    """
    for member in reversed(registry.of_kind(kind)):
        if member.name == name and member.revoked_at is None:
            return member
    raise _unknown(registry, kind, name)


SERVICE_ROLES: Mapping[str, ControlRole] = {
    "catalog": "service-catalog",
    "scheduler": "service-scheduler",
    "auditor": "service-auditor",
    "provisioner": "provisioner",
    "supervisor": "supervisor",
}
"""Name of each service's credentials to its role."""


def render_registry(registry: Registry) -> bytes:
    """The file's content, readable, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(registry), indent=2) + b"\n"


def _unknown(registry: Registry, kind: MemberKind, name: str) -> UnknownMemberError:
    known = sorted(m.name for m in registry.of_kind(kind) if m.revoked_at is None)
    rule = f"there is no {kind} of this name with a valid key"
    reason = Reason(path="name", rule=rule, got=name, allowed=known)
    return UnknownMemberError(f"{name}: {rule}", [reason])
