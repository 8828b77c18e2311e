# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who asks: what the server vouches for, and nothing a client says about itself."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from shared.contracts.base import API, Endpoint
from shared.contracts.events import Actor
from shared.contracts.permissions import may_call
from shared.errors import Reason, RefusedError
from shared.installation_facts import InstallationFacts

REQUEST_INFO: Final = "Nats-Request-Info"
"""Set by the server on requests through a shared service import; a forged one is replaced."""
ADDRESS_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and which of the endpoint's places was asked."""

    key: str
    """Public nkey; empty when the server does not say, as inside the control account."""
    role: str
    name: str
    """In the JWT that the server checked; names change hands, and keys do not."""
    attested: bool
    """Whether the server vouches for key and role."""
    address: str
    """HMAC-SHA-256 of the client's address under a key of this service; empty if unknown."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """What stands in the subject for the endpoint's placeholders, as `node`."""

    def actor(self) -> Actor:
        """As events name the caller."""
        return Actor(key=self.key, role=self.role, attested=self.attested, address=self.address)


class CallDeniedError(RefusedError):
    """This caller may not ask this."""

    code = "not_permitted"

    def __init__(self, why: str, endpoint: Endpoint[Any, Any], caller: Caller | None) -> None:
        reason = Reason(path="", rule=why, got=endpoint.subject)
        super().__init__(f"not permitted: {why}", [reason])
        self.caller: Final = caller
        """As the server vouches for it; None: it vouches for nobody of this installation."""


class _RequestInfo(msgspec.Struct, frozen=True):
    acc: str = ""
    user: str = ""
    host: str = ""
    issuer_key: str = ""
    name_tag: str = ""


def identify_caller(
    headers: Mapping[str, str],
    endpoint: Endpoint[Any, Any],
    *,
    tokens: Mapping[str, str],
    facts: InstallationFacts,
    address_secret: bytes,
) -> Caller:
    """The caller, if the permission table lets its role ask this endpoint.

    Args:
        headers: Of the request.
        endpoint: As the contract has it, placeholders unfilled.
        tokens: What stands for the placeholders.
        facts: Whose account the caller must be in, and which issuer means which role.
        address_secret: Key for the address.

    Raises:
        CallDeniedError: `not_permitted`.
    """
    if not endpoint.subject.startswith(f"{API}."):
        return Caller("", "service", "", attested=False, address="", tokens=tokens)
    try:
        info = msgspec.json.decode(headers.get(REQUEST_INFO, ""), type=_RequestInfo)
    except msgspec.DecodeError as error:
        raise CallDeniedError("the server vouches for nobody here", endpoint, None) from error
    role = facts.role_of(info.issuer_key)
    if info.acc != facts.accounts.users or not info.user or not role:
        raise CallDeniedError("the caller is no user of this installation", endpoint, None)
    address = hmac.new(address_secret, info.host.encode(), hashlib.sha256).hexdigest()
    caller = Caller(
        info.user,
        role,
        info.name_tag,
        attested=True,
        address=address[:ADDRESS_DIGITS] if info.host else "",
        tokens=tokens,
    )
    if not may_call(role, endpoint):
        raise CallDeniedError(f"the role {role} has no right to this", endpoint, caller)
    return caller
