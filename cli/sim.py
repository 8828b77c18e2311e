# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af sim`: how the system behaves with a fleet that nobody has to own."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from cyclopts import Parameter, validators
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console
from cli.console import JsonFlag, plain
from cli.deployment_document import read_deployment
from cli.package_new import begin_package
from cli.simulated_deployment import Converged, deploy_to
from cli.simulated_nodes import Absences, FleetWish, ProcessUse, simulated_system
from shared.contracts.base import Message

PACKAGE: Final = "simulated"

app = cyclopts.App(name="sim", help="Simulate a fleet on this machine.")

Share = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=0.5))]
Milliseconds = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=10_000))]


class FleetSimulated(Message, frozen=True, kw_only=True):
    """What came of it."""

    installation: str
    """Gone by now, unless the folder was named."""
    fleet: FleetWish
    registered_seconds: float
    """From the start of the nodes until the bus had the inventory of each."""
    deployed: Converged
    absences: Absences
    used: dict[str, ProcessUse]
    """By process, from its start."""


@app.command
def fleet(
    *,
    nodes: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=20_000))] = 100,
    seed: int = 0,
    failure_rate: Share = 0.0,
    latency_ms: Milliseconds = 0.0,
    vanish_rate: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))] = 0.0,
    away_seconds: Annotated[float, Parameter(validator=validators.Number(gt=0, lte=3600))] = 60.0,
    processes: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=64))] = 1,
    package: Path | None = None,
    deployment: Path | None = None,
    folder: Path | None = None,
    stay: Annotated[bool, Parameter(negative=())] = False,
    wait_seconds: float = 600.0,
    json: JsonFlag = False,
) -> None:
    """Start the whole system with simulated nodes, deploy to them, and say how long it took.

    Every node is a node executor with a connection, key and permissions of its own; only its kernel
    is simulated: no packet comes, and no verifier refuses.  Nothing of this machine is touched but
    the folder.

    Parameters
    ----------
    nodes
        How many.  Each is named sim-00001 and so on, with labels `zone` (4) and `rack` (12).
    seed
        Decides what fails, how long things take and who goes away; the same seed, the same
        troubles.
    failure_rate
        Share of the calls to kernels that fail; nodes try again.
    latency_ms
        How long each step that blocks takes on average.
    vanish_rate
        Share of the nodes whose connection is cut just before the deployment; all come back, about
        half of them with an executor that started anew over the same disk and kernel.
    away_seconds
        How long they are away on average.  One that was not heard for 30 s counts as silent, and
        the deployment is accepted without it; until then it is asked for again and again.
    processes
        Over how many processes the nodes are spread.
    package
        The folder of a package to deploy; left out: a small one is made (that takes clang).
    deployment
        The deployment file; left out: `deployment.toml` of the package's folder.
    folder
        Where installation and logs are, and stay; left out: in a folder that is removed.
    stay
        Go on until Ctrl-C, so that other commands can be tried with `L3AF_INSTALLATION`.
    wait_seconds
        How long the deployment may take.
    """
    wish = FleetWish(
        nodes=nodes,
        seed=seed,
        failure_rate=failure_rate,
        latency_ms=latency_ms,
        vanish_rate=vanish_rate,
        away_seconds=away_seconds if vanish_rate else 0.0,
        processes=processes,
    )
    with ExitStack() as held:
        place = folder or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="l3af-sim-")))
        with console.refusing(json=json):
            source = package or Path(begin_package(PACKAGE, "xdp", place / "package").folder)
            spec = read_deployment(deployment or source / "deployment.toml")

        async def simulated() -> FleetSimulated:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop.set)
            with _told(nodes, json=json) as told:
                began = loop.time()
                async with simulated_system(place, wish, stop=stop, told=told) as system:
                    registered = loop.time() - began
                    deployed = await deploy_to(
                        system,
                        source,
                        spec,
                        wait_seconds=wait_seconds,
                        stop=stop,
                        told=told,
                        sends_away=vanish_rate > 0,
                    )
                    done = FleetSimulated(
                        installation=str(place / "installation"),
                        fleet=wish,
                        registered_seconds=round(registered, 3),
                        deployed=deployed,
                        absences=system.absences,
                        used=system.used(),
                    )
                    if stay and not stop.is_set():
                        console.emit(done, _render, json=json)
                        console.say(f"L3AF_INSTALLATION={done.installation}; Ctrl-C ends it")
                        await stop.wait()
                    return done

        done = console.run(simulated(), json=json)
    if not stay:
        console.emit(done, _render, json=json)
    if done.deployed.outcome != "succeeded":
        sys.exit(console.REFUSED)


@contextmanager
def _told(nodes: int, *, json: bool) -> Iterator[Callable[[str, int], None]]:
    """Says what is waited for, on a terminal how far it is."""
    said = ""
    with ExitStack() as shown:
        move: Callable[[int], None] = lambda _: None  # noqa: E731 because it is replaced

        def told(what: str, count: int) -> None:
            nonlocal said, move
            if what != said:
                said = what
                shown.close()
                console.say(f"{what} ...", json=json)
                if not json:
                    move = shown.enter_context(console.progress(what, total=nodes))
            move(count)

        yield told


def _render(done: FleetSimulated) -> RenderableType:
    found = done.deployed
    style = "bold green" if found.outcome == "succeeded" else "bold red"
    lines: list[RenderableType] = [
        Text(
            plain(
                f"{done.fleet.nodes} nodes registered after {done.registered_seconds:.2f} s; "
                f"staged and accepted after {found.accepted_seconds:.2f} s; "
                f"{found.outcome} {found.converged_seconds:.2f} s after that, "
                f"at {found.places} places"
            ),
            style=style,
        )
    ]
    lines += [Text(plain(one), style="red") for one in found.reasons]
    if (gone := done.absences).away:
        lines.append(
            Text(
                f"{gone.away} nodes went away, {gone.restarted} of them started anew, "
                f"{gone.returned} came back; accepted without {found.silent} of them"
            )
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("process", "CPU s", "of these to converge", "MiB"):
        table.add_column(heading, header_style="bold", justify="right" if table.columns else "left")
    for name, use in done.used.items():
        spent = found.cpu_seconds.get(name, 0.0)
        row = (f"{use.cpu_seconds:.2f}", f"{spent:.2f}", f"{use.resident_mib:.0f}")
        table.add_row(plain(name), *row)
    return Group(*lines, table)
