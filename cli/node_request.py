# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A request to one node, which tells a node that never was from one that does not answer."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from cli.node_pages import all_nodes
from shared.adapters.bus import Bus
from shared.contracts.base import Endpoint, Message, Request
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, Reason, RefusedError

RequestT = TypeVar("RequestT", bound=Request)
ReplyT = TypeVar("ReplyT", bound=Message)


class UnknownNodeError(RefusedError):
    """No node of this name ever registered."""

    code: ClassVar[ErrorCode] = "not_found"


async def request_of_node(
    bus: Bus,
    endpoint: Endpoint[RequestT, ReplyT],
    node: str,
    request: RequestT,
    *,
    timeout_seconds: float | None = None,
) -> ReplyT:
    """The node's reply.

    Raises:
        UnknownNodeError: There is no such node; those that there are are named.
        RefusedError: The node says no.
        FaultError: It does not answer, or could not do it.
    """
    timeout: dict[str, Any] = (
        {} if timeout_seconds is None else {"timeout_seconds": timeout_seconds}
    )
    try:
        return await bus.request(endpoint.at(node=node), request, **timeout)
    except FaultError as error:
        known = await _known_nodes(bus)
        if known is None or node in known:
            raise
        raise unknown_node(node, known) from error


def unknown_node(node: str, known: list[str]) -> UnknownNodeError:
    """Why nobody answers."""
    reason = Reason(path="node", rule="no node of this name registered", got=node, allowed=known)
    return UnknownNodeError(f"there is no node {node}", [reason])


async def _known_nodes(bus: Bus) -> list[str] | None:
    """All that ever registered; None if nobody can say."""
    try:
        listed = await all_nodes(bus, forgotten=True)
    except FaultError:
        return None
    return [one.node for one in listed.nodes]
