# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package of C source for bcc, and what a node needs to compile it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cli.package_build import BuiltPackage, build_package
from services.node_executor.adapters.bcc_child import Allowance
from services.node_executor.adapters.bcc_sources import SourceCompiler
from services.node_executor.adapters.bcc_toolchain import ToolchainProbe
from services.node_executor.adapters.compilation_cache import CompilationCache
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.packages import OpenedPackage, open_package
from shared.contracts.desired import DesiredProgram
from shared.trust.packages import Trust
from tests.package_builders import NOW, TRUST_ROOT, sign
from tests.support.executors import Published, a_program
from tests.support.package_programs import PACKAGES

SOURCES = Path(__file__).resolve().parents[1] / "bcc"
SYSTEM_PYTHON = Path("/usr/bin/python3")
Change = Callable[[str], str]


def package_folder(folder: Path, *, change: Change = str) -> Path:
    """The package as its author has it; `change` is made to its source."""
    shutil.copytree(SOURCES, folder)
    shutil.copytree(PACKAGES / "port-count" / "LICENSES", folder / "LICENSES")
    source = folder / "port_gate.c"
    source.write_text(change(source.read_text()))
    return folder


@cache
def port_gate(change: Change = str) -> Published:
    """The package, built and signed."""
    with TemporaryDirectory() as folder:
        built: BuiltPackage = build_package(package_folder(Path(folder) / "p", change=change))
    return Published(built.manifest, sign(built.manifest, archive=built.archive), built.archive)


def opened(published: Published) -> OpenedPackage:
    """The package, verified."""
    return open_package(published.signed, published.archive, trust=Trust(root=TRUST_ROOT), now=NOW)


def a_gate(deployment: str = "gate", change: Change = str, **changes: Any) -> DesiredProgram:
    """The package's XDP program."""
    fields: dict[str, Any] = {
        "package": "port-gate",
        "program": "port-gate",
        "function": "port_gate",
        "object": "port_gate.c",
        "signed": port_gate(change).signed,
    }
    return a_program(deployment, **{**fields, **changes})


@contextmanager
def a_compiler(
    folder: Path, *, probe: ToolchainProbe | None = None, allowance: Allowance | None = None
) -> Iterator[SourceCompiler]:
    """A node's compiler that keeps what it compiled in `folder`."""
    thread = KernelThread()
    try:
        yield SourceCompiler(
            node="n1",
            thread=thread,
            probe=probe or ToolchainProbe(SYSTEM_PYTHON),
            cache=CompilationCache(folder),
            allowance=allowance,
        )
    finally:
        thread.close()
