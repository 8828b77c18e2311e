# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The permission table as NATS claims: operator, accounts with scoped signing keys, users.

Pure.  Format: github.com/nats-io/jwt v2 (operator, account, user and user_scope claims).

Rules:
 * A user's JWT holds no permission of its own: the role's signing key decides (user scope), so a
   change of the table reaches every user with the next account JWT and no new credentials.
 * An account has no unscoped signing key.
 * Users reach the control account by one service import with `share`, which makes the server
   stamp who asks and replace what a client claims about itself.
 * All events pass between the accounts; a user hears those of `public` and of the spaces that its
   tags name, because the server drops a template whose tag a user does not have.
 * The control account asks gates by a service import of the users' account; who is asked can answer
   that request and nothing else, on a subject with its own name.
 * An account's claims follow from the keys and the revocations alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from shared.contracts.base import API, EVENTS, GATES
from shared.contracts.control_permissions import control_permissions
from shared.contracts.events import Audience
from shared.contracts.permissions import (
    CONTROL_ROLES,
    NAME,
    RESPONSE_SECONDS,
    SPACE,
    USER_ROLES,
    Permissions,
    Role,
    user_permissions,
)

AccountName = Literal["system", "control", "users"]
ACCOUNT_NAMES: Final[tuple[AccountName, ...]] = ("system", "control", "users")
SYSTEM_USER_SECONDS: Final = 60
"""Life of the user that a push of account claims connects as."""

SPACE_TAG: Final = "space"
_CLAIMS_VERSION: Final = 2
_UNLIMITED: Final = -1
_NO_DEFAULT: Final[dict[str, Any]] = {"pub": {}, "sub": {}}
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The public halves of an installation's keys, as nkeys."""

    operator: str
    accounts: Mapping[AccountName, str]
    roles: Mapping[Role, str]


def account_of(role: Role) -> AccountName:
    """The account that holds the users of a role."""
    return "users" if role in USER_ROLES else "control"


def permissions_of(role: Role) -> Permissions:
    """What the table gives a role, in whichever account it lives."""
    for user_role in USER_ROLES:
        if role == user_role:
            return user_permissions(user_role)
    for control_role in CONTROL_ROLES:
        if role == control_role:
            return control_permissions(control_role)
    raise AssertionError("unreachable")


def operator_claims(keys: PublicKeys, *, name: str, now: datetime) -> dict[str, Any]:
    """Claims of the operator: the root that names the system account."""
    return {
        **_head(keys.operator, name, now),
        "nats": {
            "type": "operator",
            "version": _CLAIMS_VERSION,
            "system_account": keys.accounts["system"],
        },
    }


def account_claims(
    account: AccountName, keys: PublicKeys, *, revocations: Mapping[str, datetime], now: datetime
) -> dict[str, Any]:
    """Claims of one account.

    Args:
        account: Which.
        keys: Of the installation.
        revocations: Public user key to when it was revoked; a JWT for that key which was issued
            then or earlier no longer connects, and its connections are cut.
        now: Becomes the issue time; the server keeps the newer of two.
    """
    nats: dict[str, Any] = {
        "type": "account",
        "version": _CLAIMS_VERSION,
        "limits": _account_limits(stores=account == "control"),
        "default_permissions": _NO_DEFAULT,
        "signing_keys": [
            _scope(role, keys.roles[role]) for role in keys.roles if account_of(role) == account
        ],
    }
    if account == "control":
        nats["exports"] = [
            {"name": "api", "subject": f"{API}.>", "type": "service"},
            {"name": "events", "subject": f"{EVENTS}.>", "type": "stream"},
        ]
        nats["imports"] = [
            {
                "name": "gates",
                "subject": f"{GATES}.>",
                "account": keys.accounts["users"],
                "type": "service",
            },
        ]
    if account == "users":
        nats["exports"] = [{"name": "gates", "subject": f"{GATES}.>", "type": "service"}]
        control = keys.accounts["control"]
        nats["imports"] = [
            {
                "name": "api",
                "subject": f"{API}.>",
                "account": control,
                "type": "service",
                "share": True,
            },
            {
                "name": "events",
                "subject": f"{EVENTS}.>",
                "account": control,
                "type": "stream",
            },
        ]
    if revocations:
        nats["revocations"] = {
            key: int(revoked_at.timestamp()) for key, revoked_at in sorted(revocations.items())
        }
    return {**_head(keys.accounts[account], account, now), "nats": nats}


def user_claims(
    *,
    key: str,
    name: str,
    account_key: str,
    now: datetime,
    expires_at: datetime | None = None,
    spaces: Iterable[Audience] = (),
) -> dict[str, Any]:
    """Claims of a principal, node or service, to be signed by its role's key.

    Args:
        key: Public nkey.
        name: As the registry has it.
        account_key: Of the account it lives in.
        now: Becomes the issue time.
        expires_at: From when the server refuses it; None: never.
        spaces: Whose events it hears live, beside `public`.
    """
    nats: dict[str, Any] = {
        "type": "user",
        "version": _CLAIMS_VERSION,
        "issuer_account": account_key,
    }
    if tags := [f"{SPACE_TAG}:{space}" for space in spaces]:
        nats["tags"] = tags
    claims = {**_head(key, name, now), "nats": nats}
    return claims if expires_at is None else {**claims, "exp": int(expires_at.timestamp())}


def system_user_claims(*, key: str, now: datetime) -> dict[str, Any]:
    """Claims of a user that lives for one push of account claims, signed by the system account."""
    permissions = {
        "pub": {
            "allow": [
                "$SYS.REQ.CLAIMS.UPDATE",
                "$SYS.REQ.SERVER.*.RELOAD",
                "$SYS.REQ.USER.INFO",
            ]
        },
        "sub": {"allow": ["_INBOX.system.>"]},
    }
    return {
        **_head(key, "installation", now),
        "exp": int(now.timestamp()) + SYSTEM_USER_SECONDS,
        "nats": {
            "type": "user",
            "version": _CLAIMS_VERSION,
            **permissions,
            "subs": _UNLIMITED,
            "data": _UNLIMITED,
            "payload": _UNLIMITED,
        },
    }


def _head(subject: str, name: str, now: datetime) -> dict[str, Any]:
    return {"sub": subject, "name": name, "iat": int(now.timestamp())}


def _scope(role: Role, key: str) -> dict[str, Any]:
    permissions = permissions_of(role)
    template: dict[str, Any] = {
        "pub": {"allow": _templated(permissions.publish)},
        "sub": {"allow": _templated(permissions.subscribe)},
        "subs": _UNLIMITED,
        "data": _UNLIMITED,
        "payload": _UNLIMITED,
    }
    if permissions.may_respond:
        template["resp"] = {"max": 1, "ttl": RESPONSE_SECONDS * _NANOSECONDS}
    return {"kind": "user_scope", "key": key, "role": role, "template": template}


def _templated(subjects: tuple[str, ...]) -> list[str]:
    return [
        subject.replace(NAME, "{{name()}}").replace(SPACE, f"{{{{tag({SPACE_TAG})}}}}")
        for subject in subjects
    ]


def _account_limits(*, stores: bool) -> dict[str, Any]:
    """No limits but one: an account that stores nothing gets no JetStream."""
    names = ["subs", "data", "payload", "imports", "exports", "conn", "leaf"]
    if stores:
        names += ["mem_storage", "disk_storage", "streams", "consumer"]
    return {**dict.fromkeys(names, _UNLIMITED), "wildcards": True, "disallow_bearer": True}
