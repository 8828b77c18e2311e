# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which helpers this kernel opens to GPL-compatible programs only.

Before the kernel was asked, the table of this release holds.
"""

from __future__ import annotations

from shared.bytecode.licences import GPL_ONLY_HELPERS
from shared.contracts.capabilities import Capabilities
from shared.kernel_abilities import PROGRAM_TYPE_OF_HOOK, kernel_abilities

_tables = [GPL_ONLY_HELPERS]


def learn_restricted_helpers(found: Capabilities) -> None:
    """From now on the table is the one that was probed; of a kernel that was not asked, ours."""
    abilities = kernel_abilities(found)
    types = PROGRAM_TYPE_OF_HOOK.values()
    _tables[0] = frozenset().union(*(abilities.restricted(one) for one in types))


def restricted_helpers() -> frozenset[int]:
    """Their ids, for the types of program that chains are made of."""
    return _tables[0]
