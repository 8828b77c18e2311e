# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af events follow|subscribe|fetch|unsubscribe`: events live, or from a durable place."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Final

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.text import Text

from cli.audit_view import OUTCOME_STYLES, describe
from cli.console import CredentialsOption, JsonFlag, emit, plain, run, say
from cli.people import Names, read_names, render_actor
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.audit import (
    CREATE_SUBSCRIPTION,
    DELETE_SUBSCRIPTION,
    FETCH_EVENTS,
    CreateSubscription,
    DeleteSubscription,
    FetchedEvents,
    FetchEvents,
    SubscriptionCreated,
    SubscriptionDeleted,
)
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC, Event
from shared.validation import convert_document

ALL_EVENTS: Final = f"{EVENTS}.{PUBLIC}.>"
MARGIN_SECONDS: Final = 5.0
"""How much longer an answer may take than the service waits for events."""

app = cyclopts.App(name="events", help="Follow events, live or from a durable place.")

NameArgument = Annotated[str, Parameter(help="Of the subscription; yours alone.")]


@app.command
def follow(
    *,
    subject: Annotated[str, Parameter(help="A filter, with the wildcards * and >.")] = ALL_EVENTS,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Print events as they happen; what happens while nobody follows is not shown."""
    names = read_names()

    async def followed() -> None:
        async def show(_: str, data: bytes) -> None:
            try:
                event = msgspec.json.decode(data, type=Event)
            except msgspec.DecodeError:
                say("a message that is no event was published", json=json)
                return
            _print(event, names, json=json)

        async with connected(credentials) as bus:
            await bus.subscribe(subject, show)
            say(f"following {subject}", json=json)
            await asyncio.Event().wait()

    run(followed(), json=json)


@app.command
def subscribe(
    name: NameArgument,
    *,
    subject: Annotated[
        tuple[str, ...],
        Parameter(name="--subject", negative=(), help="Filters; may be given again."),
    ] = (ALL_EVENTS,),
    from_beginning: Annotated[
        bool, Parameter(negative=(), help="Everything the stream still has, not only what comes.")
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Make a durable place in the event stream: offline for a while, nothing missed."""

    async def made() -> SubscriptionCreated:
        plain_request = {
            "name": name,
            "subjects": list(subject),
            "start": "beginning" if from_beginning else "now",
        }
        request = convert_document(plain_request, CreateSubscription, what="events subscribe")
        async with connected(credentials) as bus:
            return await bus.request(CREATE_SUBSCRIPTION, request)

    emit(run(made(), json=json), _render_created, json=json)


@app.command
def fetch(
    name: NameArgument,
    *,
    acknowledge: Annotated[
        int, Parameter(help="Position up to which everything was dealt with.")
    ] = 0,
    limit: Annotated[int, Parameter(help="Events at most.")] = 100,
    wait: Annotated[float, Parameter(help="Seconds to wait for a first event.")] = 5.0,
    drain: Annotated[
        bool, Parameter(negative=(), help="Acknowledge what was printed and go on to the end.")
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """The next events of a subscription, oldest first; they come again until acknowledged."""
    names = read_names()

    async def fetched() -> FetchedEvents:
        async with connected(credentials) as bus:
            return await _fetch(bus, name, acknowledge, limit=limit, wait_seconds=wait)

    async def drained() -> None:
        position = acknowledge
        async with connected(credentials) as bus:
            while (
                found := await _fetch(bus, name, position, limit=limit, wait_seconds=wait)
            ).events:
                for one in found.events:
                    _print(one.event, names, json=json)
                position = found.events[-1].position

    if drain:
        run(drained(), json=json)
        return
    emit(run(fetched(), json=json), lambda found: _render_fetched(found, names), json=json)


@app.command
def unsubscribe(
    name: NameArgument, *, json: JsonFlag = False, credentials: CredentialsOption = None
) -> None:
    """Give a subscription up."""

    async def deleted() -> SubscriptionDeleted:
        request = convert_document({"name": name}, DeleteSubscription, what="events unsubscribe")
        async with connected(credentials) as bus:
            return await bus.request(DELETE_SUBSCRIPTION, request)

    emit(run(deleted(), json=json), lambda one: Text(f"{one.name} is gone"), json=json)


async def _fetch(
    bus: Bus, name: str, acknowledge: int, *, limit: int, wait_seconds: float
) -> FetchedEvents:
    plain_request = {
        "name": name,
        "acknowledge": acknowledge,
        "limit": limit,
        "wait_seconds": wait_seconds,
    }
    request = convert_document(plain_request, FetchEvents, what="events fetch")
    return await bus.request(FETCH_EVENTS, request, timeout_seconds=wait_seconds + MARGIN_SECONDS)


def _print(event: Event, names: Names, *, json: bool) -> None:
    if json:
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    else:
        Console(markup=False, highlight=False, emoji=False).print(render_event(event, names))
    sys.stdout.flush()


def render_event(event: Event, names: Names) -> Text:
    """One line."""
    body = event.data
    return Text.assemble(
        f"{plain(event.time[:19])}  {plain(body.action)} ",
        (body.outcome, OUTCOME_STYLES[body.outcome]),
        f"  {plain(render_actor(body.actor, names) or event.emitter)}  {plain(describe(body))}",
    )


def _render_created(created: SubscriptionCreated) -> RenderableType:
    return Text(
        f"{created.name} shows {', '.join(created.subjects)} after position {created.position}"
    )


def _render_fetched(found: FetchedEvents, names: Names) -> RenderableType:
    if not found.events:
        return Text("no event came")
    lines = Text("\n").join(render_event(one.event, names) for one in found.events)
    last = found.events[-1].position
    return lines.append(f"\n--acknowledge {last} when these are dealt with", style="dim")
