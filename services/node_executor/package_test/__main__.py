# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a package's tests: `python -m services.node_executor.package_test`.

Exit 0: the answer is a `PackageTested`, whether its tests passed or not.  Exit 2 or 3: it is a
`Refusal`, and no test was run.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from services.node_executor.adapters.bcc_sources import SourceCompiler
from services.node_executor.adapters.bcc_toolchain import ToolchainProbe
from services.node_executor.adapters.compilation_cache import CompilationCache
from services.node_executor.adapters.kernel_facts import kernel_facts
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.adapters.package_trials import PackageTrials
from services.node_executor.adapters.trial_confinement import confine
from services.node_executor.packages import OpenedPackage
from shared.adapters.lifecycle import exit_status
from shared.adapters.logs import configure_logs
from shared.contracts.package_tests import PackageTested, RunPackageTests
from shared.errors import FaultError, RefusedError
from shared.package_archive import read_archive
from shared.package_tests import read_tests
from shared.validation import decode_document

BCC_PYTHON: Final = "NODE_EXECUTOR_BCC_PYTHON"
"""As for a node: the interpreter that has bcc."""


async def _run(order: RunPackageTests) -> PackageTested:
    files = read_archive(order.archive, order.manifest)
    tests = read_tests(order.manifest, files)
    package = OpenedPackage(manifest=order.manifest, files=files, publisher="")
    kernel_facts()  # once, so that a kernel that loads nothing at all is said once
    thread = KernelThread()
    try:
        with tempfile.TemporaryDirectory(prefix="l3af-package-test-") as folder:
            compiler = SourceCompiler(
                node="here",
                thread=thread,
                probe=ToolchainProbe(Path(os.environ.get(BCC_PYTHON, "/usr/bin/python3"))),
                cache=CompilationCache(Path(folder)),
            )
            limit_map_bytes = order.limits.map_bytes if order.limits else None
            return await PackageTrials(compiler, limit_map_bytes=limit_map_bytes).run(
                package, tests, only=order.only, loads_all=order.loads_all
            )
    finally:
        thread.close()


def main() -> int:
    """The answer is on standard output; the exit status says what it is."""
    configure_logs(service="package_test", level="warning")
    try:
        order = decode_document(sys.stdin.buffer.read(), RunPackageTests, what="order")
        if order.limits is not None:
            confine(order.limits)
        answer, status = msgspec.json.encode(asyncio.run(_run(order))), 0
    except (RefusedError, FaultError) as error:
        answer, status = msgspec.json.encode(error.refusal()), exit_status(error)
    sys.stdout.buffer.write(answer + b"\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
