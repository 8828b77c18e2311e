# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The permission table becomes claims, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from installation.claims import ACCOUNT_NAMES, AccountName, account_claims, account_of, user_claims
from installation.keys import ROLES, InstallationKeys, new_keys
from installation.registry import Member, Registry
from shared.contracts.base import API, EVENTS
from shared.contracts.control_permissions import control_permissions
from shared.contracts.permissions import (
    CONTROL_ROLES,
    USER_ROLES,
    user_permissions,
)
from shared.nkeys import parse_jwt

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def keys() -> InstallationKeys:
    """Keys from predictable bytes."""
    counter = iter(range(1000))
    return new_keys(lambda size: next(counter).to_bytes(size))


def claims_of(keys: InstallationKeys, account: AccountName) -> dict[str, Any]:
    """An account's claims without revocations."""
    return account_claims(account, keys.public, revocations={}, now=NOW)["nats"]  # type: ignore[no-any-return]


def test_every_role_has_one_scoped_signing_key_in_its_account(keys: InstallationKeys) -> None:
    """No role is missing, none has two keys, and no account has a key without a scope."""
    found = [
        (scope["role"], account, scope["kind"])
        for account in ACCOUNT_NAMES
        for scope in claims_of(keys, account)["signing_keys"]
    ]

    assert sorted(found) == sorted((role, account_of(role), "user_scope") for role in ROLES)


def test_the_system_account_signs_for_no_role(keys: InstallationKeys) -> None:
    """Nobody is let into the system account by a role."""
    assert claims_of(keys, "system")["signing_keys"] == []
    assert not any(account_of(role) == "system" for role in ROLES)


def test_users_come_through_a_shared_service_import(keys: InstallationKeys) -> None:
    """The server attests who asks, because the import says `share`."""
    service, stream = claims_of(keys, "users")["imports"]

    assert service["share"] is True
    assert service["type"] == "service"
    assert service["subject"] == f"{API}.>"
    assert {service["account"], stream["account"]} == {keys.accounts["control"].public}
    assert stream["type"] == "stream"


def test_gates_are_asked_through_an_import_of_the_users_account(keys: InstallationKeys) -> None:
    """Nothing else of the users' account is seen in the control account."""
    users, control = claims_of(keys, "users"), claims_of(keys, "control")

    assert [one["subject"] for one in users["exports"]] == ["l3af.v1.gate.>"]
    (gates,) = control["imports"]
    assert (gates["subject"], gates["type"]) == ("l3af.v1.gate.>", "service")
    assert gates["account"] == keys.accounts["users"].public


def test_templates_hold_the_users_own_name(keys: InstallationKeys) -> None:
    """`{name}` of the table is the server's template function, and nowhere left as it is."""
    scopes = [s for account in ACCOUNT_NAMES for s in claims_of(keys, account)["signing_keys"]]
    for scope in scopes:
        subjects = scope["template"]["pub"]["allow"] + scope["template"]["sub"]["allow"]
        assert not any("{name}" in subject.replace("{{name()}}", "") for subject in subjects)
    node = next(scope for scope in scopes if scope["role"] == "node")
    assert "$KV.observed.{{name()}}" in node["template"]["pub"]["allow"]


def test_every_role_is_restricted(keys: InstallationKeys) -> None:
    """An empty allow list would allow everything: none is empty, none allows everything."""
    for account in ACCOUNT_NAMES:
        for scope in claims_of(keys, account)["signing_keys"]:
            for direction in ("pub", "sub"):
                allowed = scope["template"][direction]["allow"]
                assert allowed
                assert not {">", "*", "$KV.>", "$JS.>", "$JS.API.>"} & set(allowed)


def test_only_who_answers_requests_may_respond(keys: InstallationKeys) -> None:
    """One answer for each request, in a bounded time; of people and systems, as gates alone."""
    responding = {
        scope["role"]: scope["template"]["resp"]
        for account in ACCOUNT_NAMES
        for scope in claims_of(keys, account)["signing_keys"]
        if "resp" in scope["template"]
    }

    assert set(responding) == {
        *USER_ROLES,
        *(role for role in CONTROL_ROLES if control_permissions(role).may_respond),
    }
    assert all(limit == {"max": 1, "ttl": 120_000_000_000} for limit in responding.values())
    for role in USER_ROLES:
        asked = [one for one in user_permissions(role).subscribe if not one.startswith(EVENTS)]
        assert asked == ["_INBOX." + role + ".{name}.>", "l3af.v1.gate.{name}.ask"]


def test_only_the_control_account_stores(keys: InstallationKeys) -> None:
    """Streams exist in one account."""
    storing = {name for name in ACCOUNT_NAMES if "disk_storage" in claims_of(keys, name)["limits"]}

    assert storing == {"control"}


def test_a_users_jwt_holds_no_permission() -> None:
    """What a user may do lies in the role's scope alone, so the table can change later."""
    claims = user_claims(key="U", name="n", account_key="A", now=NOW, expires_at=NOW)

    assert claims["nats"] == {"type": "user", "version": 2, "issuer_account": "A"}
    assert claims["exp"] == claims["iat"] == int(NOW.timestamp())
    assert "exp" not in user_claims(key="U", name="n", account_key="A", now=NOW)


def test_revocations_are_in_the_account_of_the_role(keys: InstallationKeys) -> None:
    """A revoked node is named in the control account, a revoked viewer in the users'."""
    members = [
        Member(kind="node", name="n1", role="node", key="UNODE", created_at=NOW, revoked_at=NOW),
        Member(
            kind="principal", name="v", role="viewer", key="UVIEWER", created_at=NOW, revoked_at=NOW
        ),
        Member(kind="principal", name="w", role="viewer", key="UVALID", created_at=NOW),
    ]
    registry = Registry(members=tuple(members))

    revoked = {
        account: parse_jwt(keys.account_jwt(account, registry=registry, now=NOW))["nats"].get(
            "revocations", {}
        )
        for account in ACCOUNT_NAMES
    }

    at = int(NOW.timestamp())
    assert revoked == {"system": {}, "control": {"UNODE": at}, "users": {"UVIEWER": at}}


def test_claims_follow_from_their_arguments_alone(keys: InstallationKeys) -> None:
    """The same keys, registry and time give the same JWT; only the issue time differs later."""
    registry = Registry()

    first = keys.account_jwt("users", registry=registry, now=NOW)
    again = keys.account_jwt("users", registry=registry, now=NOW)
    later = parse_jwt(keys.account_jwt("users", registry=registry, now=NOW + timedelta(days=1)))

    assert first == again
    assert later["nats"] == parse_jwt(first)["nats"]


def test_keys_do_not_show_their_seeds(keys: InstallationKeys) -> None:
    """A representation in a log holds no secret."""
    shown = repr(keys)

    assert keys.operator.secret not in shown
    assert repr(keys.operator.seed) not in shown
    assert repr(keys.trust_root) not in shown
