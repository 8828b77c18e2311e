# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The counter of programs on the running kernel."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.node_executor.adapters.chain import LinkedChain
from services.node_executor.adapters.map_access import entries, read_number
from services.node_executor.adapters.probe_chain import load_probe
from services.node_executor.adapters.probe_links import make_link
from services.node_executor.kernel_types import Handle, ProgramSource
from services.node_executor.probe_types import loading_of
from shared.contracts.probes import TracepointTarget
from shared.package_archive import unpack_archive
from tests.support.package_programs import built

pytestmark = pytest.mark.kernel

TARGET = TracepointTarget(category="sched", name="sched_process_exec")


def _running() -> LinkedChain:
    package = built("exec-count")
    (entry,) = package.manifest.programs
    source = ProgramSource(
        name=entry.name,
        object_path=entry.object,
        data=unpack_archive(package.archive)[entry.object],
        function=entry.function,
        proceed_on=(),
    )
    return load_probe(source, "tracepoint", loading_of(TARGET))


@pytest.fixture
def maps() -> Iterator[dict[str, Handle]]:
    """Of the probe that counts now."""
    with _running() as chain, make_link(chain.program, TARGET):
        (found,) = chain.maps.values()
        yield {name: one.handle for name, one in found.items()}


def test_programs_are_counted_by_command_and_by_user(
    maps: dict[str, Handle], tmp_path: Path
) -> None:
    """Each once, by the name that it has afterwards; whoever else starts something counts too."""
    program = tmp_path / "l3af-exec-count-test"
    shutil.copy("/bin/true", program)

    for _ in range(3):
        subprocess.run([program], check=True)

    commands = {key.rstrip(b"\0"): value for key, value in entries(maps["ec_commands"])}
    users = {struct.unpack("=I", key)[0]: value for key, value in entries(maps["ec_users"])}
    assert struct.unpack("=Q", commands[program.name.encode()[:15]]) == (3,)
    assert struct.unpack("=Q", users[os.getuid()])[0] >= 3
    assert (read_number(maps["ec_started"], None) or 0) >= 3
