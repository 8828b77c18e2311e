# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Probes that count, what they are attached to, and things that happen so many times."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import (
    LINK_NEXT_ID,
    MAP_NEXT_ID,
    PROGRAM_NEXT_ID,
    ids,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.probe_links import describe_link
from services.node_executor.adapters.probe_places import cgroup2_roots
from services.node_executor.generations import Point
from services.node_executor.packages import OpenedPackage
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.package_manifest import MapEntry, PackageManifest, ProgramEntry
from shared.contracts.probes import ProbeTarget, TracepointTarget, kind_of
from shared.identifiers import PROBE_HOOKS, Hook, ProbeHook
from tests.support.bpf_objects import SOURCES, compile_source
from tests.support.executors import Executor, Published, packed

PATIENCE_SECONDS = 30.0
GETPGID = TracepointTarget(category="syscalls", name="sys_enter_getpgid")
STEPS = {"1.0.0": 1, "2.0.0": 1000, "3.0.0": 1}
"""What each version counts an event as."""
OBJECT = "probes.bpf.o"
_SUBJECT = """
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) int l3af_probed(int number)
{
	__asm__ volatile("" : "+r"(number) : : "memory");
	return number;
}

int main(int count, char **words)
{
	for (int done = 0; done < atoi(words[1]); done++)
		l3af_probed(done);
	return count == 2 ? 0 : 1;
}
"""


def published_probes(version: str = "1.0.0") -> Published:
    """Package `probes`: one program for each kind of probe."""
    return _published(version)


@cache
def _published(version: str) -> Published:
    source = (SOURCES / "probes.bpf.c").read_text()
    data = compile_source(f"#define STEP {STEPS[version]}\n{source}")
    functions: dict[str, ProbeHook] = {
        **{f"on_{hook.replace('-', '_')}": hook for hook in PROBE_HOOKS if hook != "cgroup"},
        "on_egress": "cgroup",
        "on_connect4": "cgroup",
        "on_task": "iterator",
        "refused": "tracepoint",
    }
    functions.pop("on_iterator")
    manifest = PackageManifest(
        name="probes",
        version=version,
        summary="Count",
        licence="GPL-2.0-only OR BSD-2-Clause",
        programs=tuple(
            ProgramEntry(name=name.replace("_", "-"), object=OBJECT, function=name, hooks=(hook,))
            for name, hook in functions.items()
        ),
        maps={"only": MapEntry()},
    )
    return packed(manifest, {OBJECT: data})


def a_probe(
    target: ProbeTarget,
    function: str,
    *,
    version: str = "1.0.0",
    place: str = "watch",
    pid: int = 0,
    **changes: Any,
) -> DesiredChain:
    """The desired probe; with a process, of what that one does alone."""
    program = DesiredProgram(
        deployment=place.partition("@")[0],
        revision=1,
        package="probes",
        version=version,
        program=function.replace("_", "-"),
        function=function,
        object=OBJECT,
        order=500,
        proceed_on=(),
        config={"only": {"0": pid}} if pid else {},
        signed=published_probes(version).signed,
    )
    chain = DesiredChain(
        interface=place,
        hook=kind_of(target),
        programs=(program,),
        cause=Cause(command_id="command-1", actor_key="UALICE", actor_role="operator"),
        target=target,
    )
    return msgspec.structs.replace(chain, **changes)


def opened(program: DesiredProgram, _hook: Hook) -> OpenedPackage:
    """Verified, as before every load."""
    return published_probes(program.version).opened()


def run_probe(executor: Executor, chain: DesiredChain, generation: int = 1) -> Point:
    """The executor runs the probe."""
    point = Point(chain.interface, chain.hook)
    executor.settle(chain, point, generation)
    return point


def counted(executor: Executor, point: Point) -> int:
    """What the probe that runs has counted."""
    return executor.scalar(point, point.interface.partition("@")[0], "runs", "0")


def own_objects() -> set[tuple[str, int]]:
    """Programs and maps of this package that the kernel has now, whoever loaded them."""
    found: set[tuple[str, int]] = set()
    for program_id in ids(PROGRAM_NEXT_ID):
        with suppress(KernelFaultError), kernel_info.program_by_id(program_id) as program:
            name = kernel_info.program_info(program.fd).name
            if name.startswith(("on_", "refused")):
                found.add((name, program_id))
    for map_id in ids(MAP_NEXT_ID):
        with suppress(KernelFaultError), kernel_info.map_by_id(map_id) as opened_map:
            name = kernel_info.map_info(opened_map.fd).name
            if name in ("runs", "only"):
                found.add((name, map_id))
    return found


def until(condition: Callable[[], bool]) -> None:
    """The kernel ends links and programs in workers of its own, soon."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def links_of(program_id: int) -> list[int]:
    """The links that run the program."""
    found = []
    for link_id in ids(LINK_NEXT_ID):
        try:
            with kernel_info.link_by_id(link_id) as link:
                if describe_link(link.fd).program_id == program_id:
                    found.append(link_id)
        except KernelFaultError:
            continue
    return found


def getpgid(times: int) -> None:
    """So many system calls that nobody else makes for this process."""
    for _ in range(times):
        os.getpgid(0)


@cache
def subject(folder: Path) -> Path:
    """A program that calls its function `l3af_probed` as often as it is told."""
    source, made = folder / "subject.c", folder / "subject"
    source.write_text(_SUBJECT)
    subprocess.run(("clang", "-O1", "-o", str(made), str(source)), check=True)
    return made


def call_probed(program: Path, times: int) -> None:
    """The program's function is called so often."""
    subprocess.run((str(program), str(times)), check=True)


@contextmanager
def a_cgroup() -> Iterator[Path]:
    """A cgroup of its own, gone afterwards with what is attached to it."""
    path = cgroup2_roots()[0] / f"l3af-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    try:
        yield path
    finally:
        if path.exists():
            path.rmdir()


_CONNECT = """
import os, socket, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as procs:
    procs.write(str(os.getpid()))
for _ in range(int(sys.argv[2])):
    with socket.create_connection(("127.0.0.1", int(sys.argv[3]))):
        pass
"""


def connect_in(cgroup: Path, times: int) -> None:
    """A process of that cgroup makes so many TCP connections, one after another."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        port = server.getsockname()[1]
        command = ("python3", "-c", _CONNECT, str(cgroup), str(times), str(port))
        subprocess.run(command, check=True)
