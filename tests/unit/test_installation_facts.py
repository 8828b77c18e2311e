# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The facts of an installation survive their file, and say what an issuer means."""

from __future__ import annotations

import pytest

from shared.errors import RefusedError
from shared.installation_facts import Accounts, InstallationFacts, parse_facts, render_facts

FACTS = InstallationFacts(
    name="test",
    created_at="2026-01-01T00:00:00Z",
    server_url="tls://bus.example:4222",
    operator_key="O",
    accounts=Accounts(system="AS", control="AC", users="AU"),
    roles={"AV": "viewer"},
    trust_root="00" * 32,
    log_origin="test",
    log_verifier_key="",
)


def test_facts_survive_their_file() -> None:
    """What is written is what is read, one field a line."""
    data = render_facts(FACTS)

    assert parse_facts(data) == FACTS
    assert data.count(b"\n") > len(InstallationFacts.__struct_fields__)


def test_issuer_means_a_role_or_nothing() -> None:
    """A key that is no role's gives no role."""
    assert FACTS.role_of("AV") == "viewer"
    assert FACTS.role_of("AX") == ""
    assert FACTS.has_tls


def test_every_problem_of_the_file_is_named() -> None:
    """As with every document."""
    with pytest.raises(RefusedError) as refused:
        parse_facts(b'{"name": 1, "extra": 2}')

    assert {"name", "extra", "accounts", "roles"} <= {r.path for r in refused.value.reasons}
