# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler with the records of many nodes: what a fleet would have written, without the fleet.

The records are written by one user with all rights, whose key is signed by the account itself.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.fleet_planning import a_node, deployed
from benchmarks.services import READY_SECONDS, running_bus
from installation.adapters.directory import read_keys
from installation.layout import Layout
from services.scheduler.desired_state import Fleet
from services.scheduler.placement import view_node
from shared.adapters.bus import Bus, connect
from shared.contracts.base import Bucket
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.desired import DESIRED, DesiredChain, DesiredNode
from shared.contracts.node import (
    NODES,
    OBSERVED,
    NodeRecord,
    ObservedChain,
    ObservedNode,
    ObservedProgram,
)
from shared.installation_facts import CREDENTIALS_FILE, FACTS_FILE
from shared.nkeys import NKey, render_credentials, render_jwt

WRITES_AT_ONCE: Final = 256
_ROLE: Final = "service-scheduler"


@dataclass(frozen=True, slots=True)
class ManyNodes:
    """A bus with records, and the scheduler that read them."""

    layout: Layout
    everything: Path
    """Credentials of a user with all rights."""
    names: Sequence[str]
    scheduler: int
    """Its process id."""


@contextmanager
def many_nodes(folder: Path, nodes: int, *, deployments: int) -> Iterator[ManyNodes]:
    """So many nodes run so many deployments each; the scheduler is up and has read it all."""
    with running_bus(folder) as layout:
        everything = all_rights(layout, folder / "everything")
        names = asyncio.run(_fill(everything, nodes, deployments))
        ready = folder / "scheduler-ready"
        command: list[str | Path] = [
            *(Path(sys.executable).parent / "l3af", "up", "--installation", layout.root),
            *("--no-node", "--only", "scheduler", "--ready-file", ready),
        ]
        with (folder / "scheduler.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit((folder / "scheduler.log").read_text())
                time.sleep(0.05)
            pid = int((layout.run / "scheduler.pid").read_text())
            yield ManyNodes(layout, everything, names, pid)
        finally:
            process.terminate()
            process.wait()


def all_rights(layout: Layout, folder: Path) -> Path:
    """Credentials of a user of the services' account who may do everything."""
    account, key = read_keys(layout).accounts["control"], NKey("user", secrets.token_bytes(32))
    unlimited: dict[str, Any] = dict.fromkeys(("subs", "data", "payload"), -1)
    claims: dict[str, Any] = {
        "sub": key.public,
        "name": "everything",
        "iat": int(datetime.now(UTC).timestamp()),
        "nats": {
            "type": "user",
            "version": 2,
            "pub": {"allow": [">"]},
            "sub": {"allow": [">"]},
            **unlimited,
        },
    }
    folder.mkdir()
    shutil.copy(layout.facts, folder / FACTS_FILE)
    text = render_credentials(render_jwt(claims, signer=account), key)
    (folder / CREDENTIALS_FILE).write_text(text)
    return folder


def connect_as(everything: Path) -> Any:
    """A connection of the user with all rights."""
    return connect(everything, role=_ROLE)


async def _fill(everything: Path, nodes: int, deployments: int) -> list[str]:
    records = [a_node(number) for number in range(nodes)]
    fleet = fleet_of(records, deployments)
    async with connect_as(everything) as bus:
        await _put(bus, DEPLOYMENTS, dict(fleet.deployments))
        await _put(bus, NODES, {one.node: one for one in records})
        await _put(bus, DESIRED, dict(fleet.desired))
        await _put(bus, OBSERVED, {name: observing(one) for name, one in fleet.desired.items()})
    return [one.node for one in records]


def fleet_of(records: Sequence[NodeRecord], deployments: int) -> Fleet:
    """The fleet with so many deployments accepted, and every node told."""
    fleet = Fleet({}, {one.node: view_node(one, None) for one in records}, {})
    for number in range(deployments):
        fleet = deployed(fleet, 2 * number)  # those that every kernel can run
    return fleet


async def _put(bus: Bus, bucket: Bucket[Any], records: dict[str, Any]) -> None:
    gate, written = asyncio.Semaphore(WRITES_AT_ONCE), bus.bucket(bucket)

    async def put(key: str, record: Any) -> None:
        async with gate:
            await written.put(key, record)

    await asyncio.gather(*(put(*item) for item in records.items()))


def observing(desired: DesiredNode) -> ObservedNode:
    """The node runs what it was told."""
    return ObservedNode(
        node=desired.node,
        desired_generation=desired.generation,
        chains=tuple(map(_running, desired.chains)),
        at="2026-01-01T00:00:00.000000Z",
    )


def _running(chain: DesiredChain) -> ObservedChain:
    return ObservedChain(
        interface=chain.interface,
        hook=chain.hook,
        state="attached",
        generation=1,
        desired_generation=1,
        plan_sha256="0" * 64,
        config_sha256="0" * 64,
        program_id=7,
        program_tag="0123456789abcdef",
        link_id=3,
        attachment="xdp-native",
        programs=tuple(
            ObservedProgram(
                deployment=one.deployment,
                revision=one.revision,
                package=one.package,
                version=one.version,
                archive_sha256=one.signed.archive_sha256,
                program=one.program,
                order=one.order,
            )
            for one in chain.programs
        ),
        cause=chain.cause,
    )
