# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that nobody manages come to a host: each is said once, with who holds it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from services.node_executor.adapters import kernel_info, pins
from services.node_executor.adapters.host_programs import HostPrograms
from services.node_executor.adapters.unmanaged_programs import UnmanagedPrograms
from services.node_executor.generations import Point
from services.node_executor.unmanaged import UnmanagedPolicy
from shared.contracts.events import EventBody
from tests.kernel.test_host_programs import FOREIGN, NothingStaged
from tests.support.bpf_objects import compile_source
from tests.support.executors import Executor, Wire, a_chain, a_program


class Said:
    """A journal that keeps what it is given, once for each id."""

    def __init__(self) -> None:
        self.bodies: dict[str, EventBody] = {}

    def journal(self, entries: Iterable[tuple[str, EventBody]]) -> None:
        """Known ids change nothing."""
        for event_id, body in entries:
            self.bodies.setdefault(event_id, body)

    def named(self, name: str) -> list[dict[str, Any]]:
        """What was found under that program name."""
        found = [body.details["found"] for body in self.bodies.values()]
        return [one for one in found if one["program_name"] == name]


async def at_once(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The kernel thread, without a thread."""
    return call(*arguments, **options)


@pytest.fixture
def said() -> Said:
    """Nothing yet."""
    return Said()


@pytest.fixture
def watch(
    executor: Executor, base: PurePosixPath, tmp_path: Path, said: Said
) -> Callable[..., UnmanagedPrograms]:
    """Makes a watch, as each start of an executor does."""

    def made(policy: UnmanagedPolicy = "report", boot_id: str = "boot-1") -> UnmanagedPrograms:
        host = HostPrograms(
            node="n1",
            base=base / "n1",
            boot_id="boot-1",
            points=executor.points,
            staged=NothingStaged(),
        )
        return UnmanagedPrograms(
            node="n1",
            boot_id=boot_id,
            base=base / "n1",
            path=tmp_path / "programs.json",
            host=host,
            journal=said,
            thread=at_once,
            policy=policy,
            stay_seconds=0.1,
        )

    return made


@pytest.fixture
def loads(tmp_path: Path) -> Iterator[Callable[[str], PurePosixPath]]:
    """`bpftool prog load` of a program with that name, pinned; all are gone afterwards."""
    folder = PurePosixPath(f"/sys/fs/bpf/{tmp_path.name}")
    pins.prepare_pin_directory(folder)
    made: list[PurePosixPath] = []

    def load(name: str) -> PurePosixPath:
        found = tmp_path / f"{name}.o"
        found.write_bytes(compile_source(FOREIGN.replace("int foreign", f"int {name}")))
        made.append(folder / name)
        command = ("bpftool", "prog", "load", str(found), str(made[-1]))
        subprocess.run(command, check=True, capture_output=True)
        return made[-1]

    yield load
    for path in made:
        Path(path).unlink(missing_ok=True)
    Path(folder).rmdir()


async def test_what_comes_is_said_once(
    watch: Callable[..., UnmanagedPrograms], said: Said, loads: Callable[[str], PurePosixPath]
) -> None:
    """With name, tag, licence and pin; what was there before is not, nor what stays."""
    loads("was_there")
    watched = watch()
    await watched.look()
    path = loads("comes_later")
    for _ in range(2):
        await watched.look()
    again = watch()  # as after a restart
    loads("comes_meanwhile")
    for _ in range(2):
        await again.look()

    (found,) = said.named("comes_later")
    opened = pins.open_pinned(path)
    assert opened is not None
    with opened:
        info = kernel_info.program_info(opened.fd)
    assert (found["program_id"], found["program_tag"]) == (info.id, info.tag)
    assert (found["type"], found["gpl_compatible"]) == ("xdp", False)
    assert found["pins"] == [str(path)]
    assert said.named("was_there") == []
    assert len(said.named("comes_meanwhile")) == 1
    body = next(iter(said.bodies.values()))
    assert (body.action, body.outcome, body.node) == ("node.drift", "observed", "n1")
    assert (body.details["kind"], body.details["done"]) == ("program-unmanaged", "left")


async def test_what_the_executor_links_is_not_said(
    watch: Callable[..., UnmanagedPrograms], said: Said, executor: Executor, wire: Wire
) -> None:
    """Neither what runs, nor what is loaded and not attached yet."""
    watched = watch()
    await watched.look()
    point, chain = Point(wire.name, "xdp"), a_chain(wire.name, a_program("one"))
    prepared = executor.prepare(chain, point, executor.points.needs(point, chain))
    assert prepared.linked is not None
    await watched.look()
    name = kernel_info.occupant(prepared.linked.program_id).program_name
    prepared.linked.close()
    executor.settle(chain, point, 1)
    await watched.look()

    assert said.named(name) == []


HOLDER = """
import sys
from pathlib import PurePosixPath
from services.node_executor.adapters import pins
held = pins.open_pinned(PurePosixPath(sys.argv[2]))
print(held is not None, flush=True)
sys.stdin.read()
"""


async def test_what_is_on_trial_for_the_executor_is_not_said(
    watch: Callable[..., UnmanagedPrograms], said: Said, loads: Callable[[str], PurePosixPath]
) -> None:
    """It may be of a space, and its name and tag would be told to everybody."""
    watched = watch()
    await watched.look()
    path = loads("is_on_trial")
    trial = subprocess.Popen(
        [sys.executable, "-c", HOLDER, "services.node_executor.package_test", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert trial.stdout is not None
    assert trial.stdout.readline() == b"True\n"
    opened = pins.open_pinned(path)
    assert opened is not None
    with opened:
        program_id = kernel_info.program_info(opened.fd).id
    Path(path).unlink()
    await watched.look()
    trial.communicate()

    found = [body.details["found"]["program_id"] for body in said.bodies.values()]
    assert program_id not in found


async def test_what_is_gone_at_once_is_no_news_and_a_boot_begins_anew(
    watch: Callable[..., UnmanagedPrograms], said: Said, loads: Callable[[str], PurePosixPath]
) -> None:
    """Whoever tries the kernel loads many; ids of another boot say nothing."""
    watched = watch()
    await watched.look()
    Path(loads("is_tried")).unlink()
    await watched.look()
    loads("came_before_the_start")
    await watch(boot_id="boot-2").look()

    assert said.named("is_tried") == said.named("came_before_the") == []


async def test_nothing_is_looked_at_when_nothing_shall_be_said(
    watch: Callable[..., UnmanagedPrograms], tmp_path: Path
) -> None:
    """`ignore` reads nothing and keeps nothing."""
    await watch("ignore").watching()

    assert not (tmp_path / "programs.json").exists()


async def test_a_look_that_finds_nothing_new_writes_nothing(
    watch: Callable[..., UnmanagedPrograms], tmp_path: Path
) -> None:
    """It costs the reading of the kernel's ids, however many there are."""
    watched = watch()
    await watched.look()
    before = (tmp_path / "programs.json").stat()
    await watched.look()
    after = (tmp_path / "programs.json").stat()

    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
