# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package verify`, and waiting for what a version waits for."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_matrix import render
from cli.rollout import CommandIdOption, ReasonOption, SpaceOption, chosen_id
from shared.adapters.bus import Bus
from shared.contracts.catalog import PackagePublished, PackageVersion
from shared.contracts.verification import (
    GET_MATRIX,
    VERIFY_PACKAGE,
    GetMatrix,
    VerificationMatrix,
    VerificationOrdered,
    VerifyPackage,
)
from shared.errors import FaultError

LOOK_SECONDS: Final = 0.5

WatchFlag = Annotated[
    bool,
    Parameter(name="--watch", negative=(), help="Wait for the kernels, saying what is missing."),
]
TimeoutOption = Annotated[
    int, Parameter(name="--timeout", help="Seconds to wait at most with --watch.")
]


def verify(
    name: str,
    version: str,
    *,
    watch: WatchFlag = False,
    timeout: TimeoutOption = 600,
    space: SpaceOption = "",
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Have every verifying node try a version on its kernel, anew.

    What kernels said of it before no longer counts.  A version that is released stays released.
    With --watch, exit status 2: a kernel says no, or what is demanded did not come in time.
    """

    async def ask() -> VerificationOrdered | VerificationMatrix:
        command = VerifyPackage(
            name=name,
            version=version,
            space=space,
            reason=reason,
            command_id=chosen_id(command_id),
        )
        async with session.connected(credentials) as bus:
            ordered = await bus.request(VERIFY_PACKAGE, command)
            if not watch:
                return ordered
            wanted = GetMatrix(name=name, version=ordered.version, space=space)
            return await until_decided(bus, wanted, seconds=timeout, json=json)

    answer = console.run(ask(), json=json)
    if isinstance(answer, VerificationOrdered):
        console.emit(answer, _render_ordered, json=json)
        return
    show_decided(answer, json=json)


def waiting_facts(published: PackagePublished) -> dict[str, str]:
    """What a version that was just published waits for, if it does."""
    if not published.awaits:
        return {}
    channels = [
        f"{channel} takes it after {count} different kernel{'s' if count > 1 else ''}"
        for channel, count in published.awaits.items()
    ]
    return {
        "waits": "; ".join(channels),
        "see": f"l3af package matrix {published.name} {published.version}",
    }


def gate_facts(package: PackageVersion) -> dict[str, str]:
    """What a published version still waits for, if it does."""
    gate = package.gate
    if gate is None or not gate.awaits:
        return {}
    channels = ", ".join(f"{one} ({gate.kernels[one]} kernels)" for one in gate.awaits)
    return {"waits for": f"{channels}: l3af package matrix {package.manifest.name}"}


async def wait_for_kernels(
    credentials: Path | None, published: PackagePublished, *, seconds: int, json: bool
) -> VerificationMatrix:
    """As `until_decided`, over a connection of its own."""
    wanted = GetMatrix(name=published.name, version=published.version, space=published.space)
    async with session.connected(credentials) as bus:
        return await until_decided(bus, wanted, seconds=seconds, json=json)


def show_decided(found: VerificationMatrix, *, json: bool) -> None:
    """The matrix is shown; exit status 2 if the version is not where it shall be."""
    console.emit(found, render, json=json)
    if is_kept_out(found):
        sys.exit(console.REFUSED)


def is_kept_out(found: VerificationMatrix) -> bool:
    """Whether a kernel said no, or a channel is still waited for."""
    has_failed = any(node.state == "failed" for node in found.nodes)
    return has_failed or bool(found.gate and found.gate.awaits)


async def until_decided(
    bus: Bus, wanted: GetMatrix, *, seconds: int, json: bool
) -> VerificationMatrix:
    """The matrix, once nothing changes any more by itself, or the time is over.

    Whatever is missing is said whenever it changes.

    Raises:
        FaultError: The catalog is away when the time is over.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    said: tuple[str, ...] = ()
    with nullcontext() if json else console.progress(f"verifying {wanted.name} {wanted.version}"):
        while True:
            is_late = loop.time() > deadline
            try:
                found = await bus.request(GET_MATRIX, wanted)
            except FaultError:
                if is_late:
                    raise
            else:
                if not found.is_open or is_late:
                    return found
                if found.waits_for != said:
                    said = found.waits_for
                    console.say("; ".join(said), json=json)
            await asyncio.sleep(LOOK_SECONDS)


def _render_ordered(ordered: VerificationOrdered) -> RenderableType:
    awaits = f", waits for {', '.join(ordered.awaits)}" if ordered.awaits else ""
    line = f"{ordered.name} {ordered.version}: asked {', '.join(ordered.verifiers)}{awaits}"
    return Text(plain(f"{line}\nl3af package matrix {ordered.name} {ordered.version}"))
