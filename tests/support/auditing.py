# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An auditor over a real nats-server, and emitters that give it something to record."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from services.auditor.__main__ import auditing
from services.auditor.checkpoint import render_verifier_key, verifier_key
from services.auditor.config import AuditorConfig
from shared.adapters.bus import Bus, connect
from shared.canonical import canonical_bytes
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC, Audience, Event, EventBody, draft_event
from shared.installation_facts import FACTS_FILE, render_facts
from tests.support.operator_mode import OperatorModeServer

SEED = bytes(range(32))
TIME = "2026-01-02T03:04:05.000006Z"
DEADLINE_SECONDS = 60.0


async def eventually(condition: Callable[[], Any], *, seconds: float = DEADLINE_SECONDS) -> Any:
    """What `condition` gives as soon as it is true; it may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


def vkey(server: OperatorModeServer) -> str:
    """The log's verifier key."""
    return render_verifier_key(verifier_key(server.facts.log_origin, seed=SEED))


def auditor_config(server: OperatorModeServer, state_dir: Path, **settings: Any) -> AuditorConfig:
    """Credentials of the auditor, with its signing key."""
    directory = server.credentials("service-auditor")
    facts = msgspec.structs.replace(server.facts, log_verifier_key=vkey(server))
    (directory / FACTS_FILE).write_bytes(render_facts(facts))
    if not (directory / "checkpoint.chain.json").exists():
        (directory / "checkpoint.key").write_text(SEED.hex())
    return AuditorConfig(credentials_dir=directory, state_dir=state_dir, **settings)


@asynccontextmanager
async def running_auditor(
    server: OperatorModeServer, state_dir: Path, **settings: Any
) -> AsyncIterator[Bus]:
    """An auditor in this process, with `settings` of its configuration; yields its own bus."""
    config = auditor_config(server, state_dir, **settings)
    async with connect(config.credentials_dir) as bus, auditing(bus, config):
        yield bus


def start_auditor(
    server: OperatorModeServer, state_dir: Path, log: Path, **settings: str
) -> subprocess.Popen[bytes]:
    """An auditor as a process of its own; `settings` are variables without their prefix."""
    config = auditor_config(server, state_dir)
    environ = os.environ | {
        "AUDITOR_CREDENTIALS_DIR": str(config.credentials_dir),
        "AUDITOR_STATE_DIR": str(state_dir),
        **{f"AUDITOR_{name.upper()}": value for name, value in settings.items()},
    }
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "services.auditor"], env=environ, stderr=file
        )


async def heard_actions(bus: Bus, *actions: str) -> list[str]:
    """Ids of the auditor's own events with these actions, as they are published from now on."""
    heard: list[str] = []

    async def hear(_subject: str, data: bytes) -> None:
        heard.append(msgspec.json.decode(data, type=Event).id)

    for action in actions:
        await bus.subscribe(f"{EVENTS}.{PUBLIC}.auditor.{action}", hear)
    return heard


class EverybodySees:
    """No spaces."""

    def audience_now(self, audience: Audience) -> Audience:
        """The same."""
        return audience

    def open_to_all(self) -> frozenset[Audience]:
        """One."""
        return frozenset({PUBLIC})


class EmittingBus:
    """Publishes events of one emitter as the contract has them, with gapless sequences."""

    def __init__(self, bus: Bus, emitter: str) -> None:
        self.bus = bus
        self.emitter = emitter
        self.sequence = 0
        """Of what was told to everybody."""
        self._sequences: dict[str, int] = {}
        self.time = TIME
        """By the emitter's clock."""

    def draft(
        self, action: str = "package.publish", *, audience: str = PUBLIC, **fields: Any
    ) -> Event:
        """The next event for this audience."""
        if audience == PUBLIC:
            sequence = self.sequence = self.sequence + 1
            place = f"{sequence}"
        else:
            sequence = self._sequences[audience] = self._sequences.get(audience, 0) + 1
            place = f"{audience}.{sequence}"
        body = EventBody(action=action, **{"outcome": "succeeded", **fields})
        return draft_event(
            body,
            event_id=f"{self.emitter.replace('/', '.')}.{place}",
            emitter=self.emitter,
            sequence=sequence,
            time=self.time,
            salt=secrets.token_bytes(16),
            audience=audience,
        )

    async def emit(self, action: str = "package.publish", **fields: Any) -> Event:
        """The next event, stored."""
        event = self.draft(action, **fields)
        await self.bus.publish_event(event)
        return event

    async def emit_many(self, count: int, **fields: Any) -> list[Event]:
        """Many events, stored in order, without waiting for each."""
        events = [self.draft(**fields) for _ in range(count)]
        for event in events:
            await self.bus.connection.publish(
                event.subject, canonical_bytes(event), headers={"Nats-Msg-Id": event.id}
            )
        await self.bus.publish_event(events[-1])
        return events
