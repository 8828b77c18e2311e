# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The whole system on one machine: an installation, its processes, and the moment it is ready."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from installation.adapters.directory import read_bytes, read_facts, read_registry
from installation.adapters.readiness import missing_after
from installation.certificates import expiry_warning
from installation.layout import Layout
from installation.members import add, refresh_stored_accounts
from installation.processes import NATS_SERVER, NODE_EXECUTOR, NodePlace, process_specs
from installation.supervision import ProcessSpec
from installation.supervisor import OnChange, Supervisor, supervising
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, Reason, RefusedError
from shared.installation_facts import CREDENTIALS_FILE

READY_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2
CERTIFICATE_CHECK_SECONDS: Final = 6 * 3600


class NotReadyError(FaultError):
    """Some processes did not answer in time."""


class NodeCredentialsError(RefusedError):
    """A node has no credentials here and cannot be given any."""

    code: ClassVar[ErrorCode] = "not_found"


@dataclass(frozen=True, slots=True)
class System:
    """Running processes of an installation."""

    layout: Layout
    specs: tuple[ProcessSpec, ...]
    supervisor: Supervisor

    async def wait_until_ready(
        self, stop: asyncio.Event, *, seconds: float = READY_SECONDS
    ) -> bool:
        """Every process answers on the bus; False if `stop` came first.

        Raises:
            NotReadyError: Naming each that does not, with the end of its log.
        """
        credentials = self.layout.credentials("service", "supervisor")
        missing = await missing_after(credentials, self.specs, stop, seconds=seconds)
        if not missing and not stop.is_set():
            missing = await self._unfinished_after(stop, seconds=seconds)
        if stop.is_set():
            return False
        if not missing:
            return True
        suspects = {spec.name for spec in missing}
        suspects |= {s.name for s in self.supervisor.statuses if s.state == "ended"}
        reasons = [
            Reason(path=name, rule="the end of its log", got=self.supervisor.log_tail(name))
            for name in sorted(suspects)
        ]
        names = ", ".join(spec.name for spec in missing)
        raise NotReadyError(f"not ready after {seconds:g} s: {names} did not answer", reasons)

    async def _unfinished_after(
        self, stop: asyncio.Event, *, seconds: float
    ) -> tuple[ProcessSpec, ...]:
        """What was to run once and is not done."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        while clock() < deadline and not (self.supervisor.started.is_set() or stop.is_set()):
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.supervisor.started.wait()
        done = {status.name for status in self.supervisor.statuses if status.state == "done"}
        return tuple(spec for spec in self.specs if spec.runs_once and spec.name not in done)


@asynccontextmanager
async def running_system(
    directory: Path,
    *,
    nats_server: Path,
    nodes: Sequence[NodePlace] = (),
    schedulers: int = 1,
    only: Sequence[str] = (),
    environ: Mapping[str, str],
    on_change: OnChange = lambda _: None,
) -> AsyncIterator[System]:
    """The processes of the installation run for the length of the block.

    Args:
        directory: Of an installation.
        nats_server: The server's binary.
        nodes: One executor each; credentials are made for those that have none.
        schedulers: How many; one of them leads.
        only: Names of processes to run; empty: all.
        environ: For log levels, labels and the bpffs directory.
        on_change: Called with every process after each change.

    Raises:
        RefusedError: Not an installation, already running, or a node has no credentials.
    """
    layout = _layout(directory)
    read_facts(layout)
    specs = process_specs(
        layout,
        python=sys.executable,
        nats_server=str(nats_server),
        nodes=nodes,
        schedulers=schedulers,
        only=only,
        environ=environ,
    )
    names = {spec.name for spec in specs}
    if NATS_SERVER in names:
        refresh_stored_accounts(layout.root, now=datetime.now(UTC))
    for place in nodes if not only or NODE_EXECUTOR in only else ():
        _ensure_node(layout, place.node)
    async with supervising(
        specs, logs_dir=layout.logs, run_dir=layout.run, on_change=on_change
    ) as supervisor:
        yield System(layout, specs, supervisor)


async def certificate_warnings(
    directory: Path, stop: asyncio.Event, *, pause_seconds: float = CERTIFICATE_CHECK_SECONDS
) -> AsyncIterator[str]:
    """Warnings about the server's certificate as they become due, until `stop`; nothing ends."""
    path = _layout(directory).server_certificate
    while not stop.is_set():
        warning = expiry_warning(read_bytes(path), now=datetime.now(UTC)) if path.exists() else ""
        if warning:
            yield warning
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds):
                await stop.wait()


def _ensure_node(layout: Layout, node: str) -> None:
    """The node has credentials; a revoked one does not get them back this way.

    Raises:
        NodeCredentialsError: It has none, and cannot be given any.
    """
    if (layout.credentials("node", node) / CREDENTIALS_FILE).is_file():
        return
    if not layout.operator_seed.exists():
        raise _no_credentials(node, "copy its directory from where `operator/` is")
    if any(m.name == node and m.revoked_at for m in read_registry(layout).of_kind("node")):
        raise _no_credentials(node, "it was revoked; `l3af node add` gives it a new key")
    add(layout.root, name=node, role="node", now=datetime.now(UTC))


def _no_credentials(node: str, remedy: str) -> NodeCredentialsError:
    reason = Reason(path="node", rule=f"has no credentials here: {remedy}", got=node)
    return NodeCredentialsError(f"node {node} {reason.rule}", [reason])


def _layout(directory: Path) -> Layout:
    return Layout(directory.absolute())
