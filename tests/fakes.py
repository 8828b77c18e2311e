# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel in memory, by the name that tests have for it.

It may only behave as the real thing was seen to behave: `test_fakes_match_reality.py` runs one
suite against both.  Change that suite first.
"""

from __future__ import annotations

from services.node_executor.simulation.kernel import SimulatedKernel as FakeKernel
from services.node_executor.simulation.maps import SimulatedFaultError as FakeFaultError

__all__ = ["FakeFaultError", "FakeKernel"]
