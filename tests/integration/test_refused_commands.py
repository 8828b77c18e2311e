# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is recorded of every command there is: each refusal, and what an accepted one changed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from msgspec import ValidationError

from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.contracts.base import API, Command, Endpoint, Message
from shared.contracts.events import EventBody
from shared.contracts.permissions import ALLOWED_ENDPOINTS, USER_ROLES, UserRole
from shared.errors import Reason, RefusedError
from shared.outbox_records import Decision
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events

SERVICES = ("auditor", "catalog", "scheduler")
BEFORE, AFTER = "b" * 64, "a" * 64


def service_of(endpoint: Endpoint[Any, Any]) -> str:
    """Who serves it."""
    name = endpoint.subject.removeprefix(f"{API}.").split(".")[0]
    return {"events": "auditor"}.get(name, name)


COMMANDS: dict[str, tuple[UserRole, Endpoint[Any, Any]]] = {
    endpoint.subject: (role, endpoint)
    for role in USER_ROLES
    for endpoint in ALLOWED_ENDPOINTS[role]
    if endpoint.is_command
}
"""Every command that a person may give, and a role that may."""


class CommandAccepted(Message, frozen=True, kw_only=True):
    """Yes."""


class Unreadable(Command, frozen=True, kw_only=True):
    """What no endpoint takes."""

    misspelt: str = "yes"


async def refuse(_request: Any, _caller: Caller, _id: str, _now: Any) -> Decision[Message]:
    """Whatever is asked."""
    raise RefusedError("never", [Reason(path="this", rule="is never done")], code="not_found")


@pytest.mark.parametrize("service", SERVICES)
async def test_every_refused_command_has_exactly_one_record(buses: Buses, service: str) -> None:
    """Because it cannot be read, by the rules, and because its id was used: with who and why."""
    bus = await buses.open(f"service-{service}")  # type: ignore[arg-type]
    outbox = Outbox(bus, service)
    commands = [pair for pair in COMMANDS.values() if service_of(pair[1]) == service]
    handlers = {endpoint: outbox.command(endpoint, refuse) for _, endpoint in commands}
    await outbox.open()
    async with bus.serve(service, handlers, version="0.1.0", on_refused=outbox.note_refusal):
        for role, endpoint in commands:
            person = await buses.open(role, "pat")
            with pytest.raises(RefusedError):
                await person.request(Endpoint(endpoint.subject, Unreadable, Message), Unreadable())
            caller = Caller(person.key, role, "pat", attested=True, address="")
            for reason in ("first", "again"):
                request = Command(command_id=f"c-{endpoint.subject}", reason=reason)
                with pytest.raises(RefusedError):
                    await handlers[endpoint](request, caller)

    events = await stored_events(await buses.open("service-auditor"))
    said = [(event.data.action, event.data.outcome, event.data.details["code"]) for event in events]
    codes = ("invalid_request", "not_found", "conflict")
    assert said == [
        (".".join(endpoint.subject.split(".")[-2:]), "refused", code)
        for _, endpoint in commands
        for code in codes
    ]
    roles = [role for role, _ in commands for _ in codes]
    for event, role in zip(events, roles, strict=True):
        actor = event.data.actor
        assert actor is not None
        assert (actor.role, actor.attested) == (role, True)
        assert event.data.reasons


@pytest.mark.parametrize("service", SERVICES)
async def test_no_command_is_accepted_without_the_digests_of_what_it_changed(
    buses: Buses, service: str
) -> None:
    """Whichever it is: without them it has no effect and no record; with them they are in it."""
    bus = await buses.open(f"service-{service}")  # type: ignore[arg-type]
    outbox = Outbox(bus, service)
    commands = [pair for pair in COMMANDS.values() if service_of(pair[1]) == service]
    before = after = ""

    async def accept(
        request: Any, _caller: Caller, _id: str, _now: Any
    ) -> Decision[CommandAccepted]:
        action = ".".join(request.reason.split(".")[-2:])
        body = EventBody(action=action, outcome="accepted", before=before, after=after)
        return Decision(reply=CommandAccepted(), events=(body,))

    handlers = {endpoint: outbox.command(endpoint, accept) for _, endpoint in commands}
    await outbox.open()
    for role, endpoint in commands:
        caller = Caller("UA", role, "pat", attested=True, address="")
        request = Command(command_id=f"c-{endpoint.subject}", reason=endpoint.subject)
        before, after = "", ""
        with pytest.raises(AssertionError, match="digests"):
            await handlers[endpoint](request, caller)
        before, after = BEFORE, AFTER
        with suppress(ValidationError):  # it has happened; the reply is not one of this endpoint
            await handlers[endpoint](request, caller)

    events = await stored_events(await buses.open("service-auditor"))
    assert [(event.data.action, event.data.before, event.data.after) for event in events] == [
        (".".join(endpoint.subject.split(".")[-2:]), BEFORE, AFTER) for _, endpoint in commands
    ]
