# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who is asked whether a wave of a rollout is well, and what being asked lets nobody do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from nats.aio.msg import Msg

from installation.create import create_installation
from installation.members import add
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC
from shared.contracts.gates import ASK_GATE, AskGate, GateSaid
from tests.support.installations import bare_client, connected, running_server, utc_now

SECONDS = 30.0
QUESTION = AskGate(
    deployment="edge",
    revision=2,
    package="rate-limit",
    version="1.0.0",
    wave=1,
    waves=2,
    nodes=("n1",),
    node_count=1,
)
SUBJECT = ASK_GATE.at(name="slo").subject


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server with two viewers."""
    directory = tmp_path_factory.mktemp("gates") / "installation"
    create_installation(directory, listen="127.0.0.1:0", nodes=[], now=utc_now())
    for name in ("slo", "mallory"):
        add(directory, name=name, role="viewer", now=utc_now())
    with running_server(directory):
        yield directory


async def test_a_principal_is_asked_on_the_subject_of_its_name(installation: Path) -> None:
    """It answers with any NATS client, across accounts, and its answer reaches the scheduler."""

    async def answer(message: Msg) -> None:
        asked = msgspec.json.decode(message.data, type=AskGate)
        said = GateSaid(well=False, reason=f"{asked.deployment} wave {asked.wave}")
        await message.respond(msgspec.json.encode(said))

    async with (
        bare_client(installation, "principal", "slo") as gate,
        connected(installation, "service", "scheduler") as scheduler,
    ):
        await gate.subscribe(SUBJECT, cb=answer)
        await gate.flush()
        reply = await scheduler.ask(SUBJECT, msgspec.json.encode(QUESTION), timeout_seconds=SECONDS)

    assert msgspec.json.decode(reply.data, type=GateSaid) == GateSaid(
        well=False, reason="edge wave 1"
    )


async def test_nobody_answers_or_asks_in_the_place_of_another(installation: Path) -> None:
    """The server knows names; only the scheduler asks."""
    refused = asyncio.Queue[str]()

    async def note(error: Exception) -> None:
        refused.put_nowait(str(error).lower())

    async with bare_client(installation, "principal", "mallory", error_cb=note) as mallory:
        await mallory.subscribe(SUBJECT)
        await mallory.publish(SUBJECT, b"{}")
        async with asyncio.timeout(SECONDS):
            said = {await refused.get(), await refused.get()}

    assert {"subscription" in one for one in said} == {True, False}
    assert all("permissions violation" in one and "gate.slo" in one for one in said)


async def test_who_hears_an_event_cannot_answer_it(installation: Path) -> None:
    """The right to answer a question reaches no inbox of a service."""
    heard = asyncio.Event()
    subject = f"{EVENTS}.{PUBLIC}.scheduler.deployment.apply"
    forged: list[bytes] = []

    async def forge(message: Msg) -> None:
        await gate.publish(message.reply or "nowhere", b"forged")
        await gate.flush()
        heard.set()

    async def note(message: Msg) -> None:
        forged.append(message.data)

    async with (
        bare_client(installation, "principal", "slo") as gate,
        bare_client(installation, "service", "scheduler") as scheduler,
    ):
        inbox = scheduler.new_inbox()
        await scheduler.subscribe(inbox, cb=note)
        await gate.subscribe(f"{EVENTS}.{PUBLIC}.>", cb=forge)
        await gate.flush()
        await scheduler.publish(subject, b"{}", reply=inbox)
        async with asyncio.timeout(SECONDS):
            await heard.wait()
        await scheduler.flush()

    assert forged == []
