# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: markers by folder, what runs side by side, root for the kernel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

FOLDER_MARKERS = {
    "integration": ("bus",),
    "kernel": ("kernel",),
    "e2e": ("kernel", "bus", "e2e"),
    "chaos": ("kernel", "bus", "chaos"),
}

settings.register_profile(
    "ci",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("ci")


class OneKernelScheduling(LoadScopeScheduling):  # type: ignore[misc]  # because it has no types
    """There is one kernel: whoever counts its programs is alone with it.

    Files that use it run in turn in one process; each other file runs as a whole in any.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        folders = Path(path).parts
        uses_kernel = any(
            folder in folders and "kernel" in markers for folder, markers in FOLDER_MARKERS.items()
        )
        return "kernel" if uses_kernel or folders[0] == "packages" else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneKernelScheduling:
    """What runs beside what, if there are several processes."""
    return OneKernelScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the folder it lies in."""
    for item in items:
        for folder, markers in FOLDER_MARKERS.items():
            if folder in Path(item.path).parts:
                for marker in markers:
                    item.add_marker(marker)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, and not skip, where a kernel test runs without the rights it needs."""
    if item.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.fail("tests marked `kernel` need root: run `make test`", pytrace=False)
