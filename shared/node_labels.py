# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which labels a node carries.

Pure.
"""

from __future__ import annotations

from shared.contracts.node import NodeRecord
from shared.contracts.scheduler import NodeLabels


def effective_labels(record: NodeRecord, labels: NodeLabels | None) -> dict[str, str]:
    """The node's own labels, and over them those that operators set."""
    return {**record.labels, **(labels.labels if labels else {})}
