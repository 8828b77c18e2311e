# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: markers by folder, what runs side by side, root for the kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the folder it lies in, and say which of them one process runs in turn.

    There is one kernel: whoever counts its programs is alone with it.  Other files run in any
    process, each as a whole, so that what a module sets up is set up once.
    """
    for item in items:
        path = Path(item.path)
        for folder, markers in FOLDER_MARKERS.items():
            if folder in path.parts:
                for marker in markers:
                    item.add_marker(marker)
        group = "kernel" if item.get_closest_marker("kernel") else str(path)
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail, and not skip, where a kernel test runs without the rights it needs."""
    if item.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.fail("tests marked `kernel` need root: run `make test`", pytrace=False)
