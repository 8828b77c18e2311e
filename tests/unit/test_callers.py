# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who may ask what, by the server's word alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.adapters.callers import REQUEST_INFO, Caller, identify_caller
from shared.contracts import catalog, node, scheduler
from shared.contracts.base import Endpoint
from shared.contracts.permissions import ALLOWED_ENDPOINTS
from shared.errors import RefusedError
from shared.installation_facts import Accounts, InstallationFacts

FACTS = InstallationFacts(
    name="test",
    created_at="2026-01-01T00:00:00Z",
    server_url="nats://127.0.0.1:4222",
    operator_key="O",
    accounts=Accounts(system="AS", control="AC", users="AU"),
    roles={"AVIEWER": "viewer", "AOPERATOR": "operator", "ANODE": "node"},
    trust_root="00" * 32,
    log_origin="test",
    log_verifier_key="",
)
INFO = {"acc": "AU", "user": "UALICE", "issuer_key": "AVIEWER", "name_tag": "alice", "host": "::1"}


def identify(info: Any, endpoint: Endpoint[Any, Any] = catalog.LIST_PACKAGES) -> Caller:
    """The caller that a header makes."""
    headers = {} if info is None else {REQUEST_INFO: msgspec.json.encode(info).decode()}
    return identify_caller(headers, endpoint, tokens={}, facts=FACTS, address_secret=b"k")


def test_caller_is_key_and_role_of_the_issuer() -> None:
    """The role is who issued the user, not what the user calls itself."""
    caller = identify(INFO | {"name_tag": "administrator"})

    assert (caller.key, caller.role, caller.attested) == ("UALICE", "viewer", True)


@pytest.mark.parametrize(
    "info",
    [
        None,
        "alice",
        {},
        INFO | {"acc": "AC"},
        INFO | {"acc": "AOTHER"},
        INFO | {"user": ""},
        INFO | {"issuer_key": "AOTHER"},
        INFO | {"issuer_key": "ANODE"},
        INFO | {"user": 5},
    ],
)
def test_nobody_without_the_servers_word_is_let_in(info: Any) -> None:
    """No header, a malformed one, another account, an unknown issuer, a role without rights."""
    with pytest.raises(RefusedError) as refused:
        identify(info)

    assert refused.value.refusal_code == "not_permitted"


def test_table_decides_for_every_role_and_endpoint() -> None:
    """A role asks what the table gives it and nothing else, placeholders included."""
    for endpoint in (scheduler.APPLY_DEPLOYMENT, node.GET_CHAINS, catalog.PUBLISH_PACKAGE):
        for key, role in FACTS.roles.items():
            info = INFO | {"issuer_key": key}
            if any(endpoint == allowed for allowed in ALLOWED_ENDPOINTS.get(role, ())):  # type: ignore[call-overload]
                assert identify(info, endpoint).role == role
            else:
                with pytest.raises(RefusedError):
                    identify(info, endpoint)


def test_address_is_a_keyed_digest() -> None:
    """Equal for equal addresses, different under another key, and not the address."""
    first, second = identify(INFO), identify(INFO)
    other = identify_caller(
        {REQUEST_INFO: msgspec.json.encode(INFO).decode()},
        catalog.LIST_PACKAGES,
        tokens={},
        facts=FACTS,
        address_secret=b"other",
    )

    assert first.address == second.address != other.address
    assert len(first.address) == 32
    assert identify({**INFO, "host": ""}).address == ""


def test_inside_of_the_control_account_nobody_is_attested() -> None:
    """An internal endpoint trusts the subject permission, not a header."""
    caller = identify(INFO, catalog.RESOLVE_PACKAGE)

    assert (caller.role, caller.attested, caller.key) == ("service", False, "")
