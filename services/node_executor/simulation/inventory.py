# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a simulated node says that it is.

Pure.  Labels spread the nodes over four zones and twelve racks, so that failure domains mean
something; nobody knows what the kernel cannot do, so that excludes no package but one of probes.
"""

from __future__ import annotations

from typing import Final

from services.node_executor.simulation.kernel import SimulatedKernel
from shared.contracts.interfaces import Interface
from shared.contracts.node import REDACTION, NodeRecord
from shared.contracts.probes import PROBE_FEATURES
from shared.version import VERSION

KERNEL: Final = "6.12.0-simulated"
INTERFACES: Final = ("eth0", "eth1")
ZONES: Final = 4
RACKS: Final = 12


class SimulatedInventory:
    """One node's."""

    def __init__(
        self, node: str, number: int, *, kernel: SimulatedKernel, boot_id: str, at: str
    ) -> None:
        """What it is does not change."""
        self._record = NodeRecord(
            node=node,
            hostname=node,
            architecture="x86_64",
            kernel=KERNEL,
            executor_version=VERSION,
            boot_id=boot_id,
            labels={
                "simulated": "true",
                "zone": f"zone-{number % ZONES + 1}",
                "rack": f"rack-{number % RACKS + 1}",
            },
            interfaces=tuple(
                Interface(
                    name=name,
                    index=index,
                    mtu=1500,
                    up=True,
                    driver="simulated",
                    xdp_features=("basic", "rx-sg"),
                )
                for name, index in kernel.interfaces.items()
            ),
            features={
                "xdp": True,
                "tcx": True,
                "cls_bpf": True,
                "btf": True,
                "bcc": False,
                REDACTION: True,
                **dict.fromkeys(PROBE_FEATURES, False),
            },
            feature_notes=dict.fromkeys(
                (*PROBE_FEATURES, "bcc"), "the kernel of this node is simulated"
            ),
            registered_at=at,
        )

    async def prepare(self) -> None:
        """It is known."""

    def read(self) -> NodeRecord:
        """The node as it is."""
        return self._record
