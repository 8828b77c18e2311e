# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The names of features that packages can need are those that nodes report."""

from __future__ import annotations

from services.node_executor.adapters.bcc_toolchain import ToolchainProbe
from services.node_executor.adapters.probe_features import missing_probes
from services.node_executor.adapters.probes import probe_features
from shared.contracts.node import NODE_FEATURES
from tests.support.bcc_packages import SYSTEM_PYTHON


def test_nodes_report_the_features_that_packages_can_need() -> None:
    """A name more or less would be one that no package gets, or that lint calls a mistake."""
    compilers, _ = ToolchainProbe(SYSTEM_PYTHON).features()

    probes = [hook for hook, _ in missing_probes()]
    assert sorted([*probe_features(), *compilers, *probes]) == sorted(NODE_FEATURES)
