# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who has credentials, as a value that changes by rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from installation.registry import (
    Member,
    MemberExistsError,
    Registry,
    UnknownMemberError,
    add_member,
    find_member,
    parse_user_role,
    render_registry,
    revoke_member,
)
from installation.verifier_key import log_origin, verifier_key
from services.auditor import checkpoint
from services.auditor.checkpoint import render_verifier_key
from shared.dsse import public_key_of
from shared.errors import RefusedError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def member(name: str = "ann", key: str = "U1", **changes: Any) -> Member:
    """A viewer."""
    return Member(kind="principal", name=name, role="viewer", key=key, created_at=NOW, **changes)


def test_a_name_has_one_valid_key() -> None:
    """A second key for a valid name is refused; for an expired or revoked one it is not."""
    registry = add_member(Registry(), member(), now=NOW)

    with pytest.raises(MemberExistsError):
        add_member(registry, member(key="U2"), now=NOW)

    revoked, _ = revoke_member(registry, "principal", "ann", now=NOW)
    assert len(add_member(revoked, member(key="U2"), now=NOW).members) == 2
    expired = Registry(members=(member(expires_at=NOW),))
    assert len(add_member(expired, member(key="U2"), now=NOW).members) == 2


def test_a_node_and_a_principal_may_share_a_name() -> None:
    """Names are unique within a kind."""
    node = msgspec.structs.replace(member(), kind="node", role="node", key="U2")
    registry = add_member(Registry(members=(member(),)), node, now=NOW)

    assert find_member(registry, "node", "ann").key == "U2"


def test_a_revocation_keeps_the_entry_and_its_first_time() -> None:
    """History stays; revoking again changes nothing."""
    registry = Registry(members=(member(),))

    once, entry = revoke_member(registry, "principal", "ann", now=NOW)
    twice, same = revoke_member(once, "principal", "ann", now=LATER)

    assert entry.revoked_at == NOW
    assert (twice, same) == (once, entry)
    assert once.revocations(frozenset({"viewer"})) == {"U1": NOW}
    assert once.revocations(frozenset({"node"})) == {}


def test_only_the_newest_key_of_a_name_is_revoked() -> None:
    """A name that was given again names its present holder."""
    registry = Registry(members=(member(revoked_at=NOW), member(key="U2")))

    changed, entry = revoke_member(registry, "principal", "ann", now=LATER)

    assert entry.key == "U2"
    assert [m.revoked_at for m in changed.members] == [NOW, LATER]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """The reason lists who could have been meant."""
    registry = Registry(members=(member(), member("bob", "U2", revoked_at=NOW)))

    with pytest.raises(UnknownMemberError) as refused:
        find_member(registry, "principal", "bob")

    assert refused.value.reasons[0].allowed == ["ann"]


def test_roles_are_named_in_a_refusal() -> None:
    """A role of a service or node is not one for people."""
    assert parse_user_role("viewer") == "viewer"
    with pytest.raises(RefusedError, match="administrator"):
        parse_user_role("service-catalog")


def test_what_is_written_is_read_back() -> None:
    """The registry survives its file."""
    registry = Registry(members=(member(expires_at=LATER), member("bob", "U2", revoked_at=NOW)))

    assert msgspec.json.decode(render_registry(registry), type=Registry) == registry


def test_the_verifier_key_is_the_one_the_log_signs_with() -> None:
    """The auditor derives the same text from the seed it is given."""
    seed, origin = bytes(range(32)), log_origin("test")

    text = verifier_key(origin, public_key_of(seed))

    assert origin == "l3af.test/log"
    assert text == render_verifier_key(checkpoint.verifier_key(origin, seed=seed))
