# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs of first-party packages, built and linked as a node does it, alone on their hook."""

from __future__ import annotations

import socket
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from cli.package_build import BuiltPackage, build_package
from lab.hosts import DATA_INTERFACE, Host, create_lab
from services.node_executor.adapters import hooks
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import entries, read_number, update
from services.node_executor.adapters.network_namespaces import inside
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import Handle, ProgramSource
from shared.contracts.node import DEFAULT_PROCEED_ON, verdicts_of
from shared.identifiers import Hook
from shared.package_archive import unpack_archive

PACKAGES = Path(__file__).parents[2] / "packages"


@cache
def built(package: str) -> BuiltPackage:
    """The package, compiled once a test run."""
    return build_package(PACKAGES / package)


class RunningProgram:
    """One program on a hook of its own, and its maps."""

    def __init__(self, chain: LinkedChain, hook: Hook) -> None:
        self.chain = chain
        self.hook = hook

    def verdict(self, packet: bytes) -> str:
        """The verdict's name for one packet."""
        value = run_packet(self.chain.program, packet).verdict
        names = {number & 0xFFFFFFFF: name for name, number in verdicts_of(self.hook).items()}
        return names[value]

    def map(self, name: str) -> Handle:
        """One of its maps."""
        (maps,) = self.chain.maps.values()
        return maps[name].handle

    def number(self, name: str) -> int:
        """The sum over all entries and processors of a map of numbers."""
        return read_number(self.map(name), None) or 0

    def set_number(self, name: str, port: int, value: int) -> None:
        """Port to 32-bit number."""
        update(self.map(name), struct.pack("=H", port), struct.pack("=I", value))

    def pairs(self, name: str) -> dict[int, tuple[int, int]]:
        """Port to a pair of 64-bit numbers, summed over processors."""
        found = {}
        for key, value in entries(self.map(name)):
            numbers = struct.unpack(f"={len(value) // 8}Q", value)
            found[struct.unpack("=H", key)[0]] = (sum(numbers[::2]), sum(numbers[1::2]))
        return found


@contextmanager
def running(
    package: str, program: str, hook: Hook, variables: Mapping[str, bytes] | None = None
) -> Iterator[RunningProgram]:
    """The program of that name, verified and linked for `hook`, with these global variables."""
    manifest = built(package).manifest
    entry = next(entry for entry in manifest.programs if entry.name == program)
    assert hook in entry.hooks
    source = ProgramSource(
        name=program,
        object_path=entry.object,
        data=unpack_archive(built(package).archive)[entry.object],
        function=entry.function,
        proceed_on=entry.proceed_on or DEFAULT_PROCEED_ON[hook],
        globals=variables or {},
    )
    with link_chain([source], hook, name=program) as chain:
        yield RunningProgram(chain, hook)


@contextmanager
def on_a_host(program: RunningProgram) -> Iterator[Host]:
    """A host of a lab with the program on the interface that its peer's packets come in by."""
    with create_lab(f"p{uuid.uuid4().hex[:7]}", 1) as lab:
        (host,) = lab.hosts
        with inside(host.namespace):
            index = socket.if_nametoindex(DATA_INTERFACE)
            attached = hooks.attach(
                program.chain.program, index, program.hook, hook_point=host.namespace
            )
        with attached.link:
            yield host
