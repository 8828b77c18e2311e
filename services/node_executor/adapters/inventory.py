# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What this node is: kernel, architecture, interfaces, and what its kernel can do."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, Protocol

from services.node_executor.adapters.bcc_toolchain import ToolchainProbe
from services.node_executor.adapters.capabilities import KernelCapabilities
from services.node_executor.adapters.netlink import Netlink
from services.node_executor.adapters.probes import probe_features
from shared.contracts.capabilities import Capabilities
from shared.contracts.node import REDACTION, NodeRecord, OfflineMode
from shared.contracts.probes import PROBE_FEATURES
from shared.contracts.trust_notes import TrustMode
from shared.errors import FaultError
from shared.version import VERSION

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Companions(Protocol):
    """Knows whether this node can run them."""

    async def asked(self) -> None:
        """Somebody was asked, or is silent."""

    def features(self) -> tuple[dict[str, bool], dict[str, str]]:
        """Whether it can, and why not; both by the feature's name."""


class Inventory:
    """Reads the node.

    Features of the kernel are probed once, they do not change while it runs; programs are
    installed and removed.
    """

    def __init__(
        self,
        *,
        node: str,
        labels: dict[str, str],
        offline_mode: OfflineMode,
        trust_mode: TrustMode,
        netlink: Netlink,
        compilers: ToolchainProbe,
        capabilities: KernelCapabilities,
        own_programs: Callable[[], Collection[int]],
        companions: Companions,
        now: Callable[[], str],
    ) -> None:
        self._node = node
        self._labels = labels
        self._offline_mode = offline_mode
        self._trust_mode = trust_mode
        self._netlink = netlink
        self._compilers = compilers
        self._kernel = capabilities
        self._capabilities: Capabilities | None = None
        self._own_programs = own_programs
        self._companions = companions
        self._now = now
        self._features = probe_features()

    async def prepare(self) -> None:
        """The kernel was asked what it can do, in this boot."""
        self._capabilities = await self._kernel.find()
        await self._companions.asked()

    def read(self) -> NodeRecord:
        """The node as it is now."""
        names = os.uname()
        compilers, notes = self._compilers.features()
        companions, remarks = self._companions.features()
        probes, missing = _probes(self._capabilities)
        surveyed = self._netlink.survey(self._own_programs())
        return NodeRecord(
            node=self._node,
            hostname=socket.gethostname(),
            architecture=platform.machine(),
            kernel=names.release,
            executor_version=VERSION,
            boot_id=read_boot_id(),
            labels=self._labels,
            interfaces=surveyed.interfaces,
            taken=surveyed.taken,
            features={**self._features, **probes, **compilers, **companions, REDACTION: True},
            feature_notes=missing | notes | remarks,
            capabilities=self._capabilities,
            offline_mode=self._offline_mode,
            trust_mode=self._trust_mode,
            registered_at=self._now(),
        )


def _probes(found: Capabilities | None) -> tuple[dict[str, bool], dict[str, str]]:
    """Which probes can be attached, and why others cannot; nothing is said before it was asked."""
    missing = found.missing_probes if found is not None else None
    if missing is None:
        return {}, {}
    notes: dict[str, str] = {one.hook: one.why for one in missing}
    return {hook: hook not in notes for hook in PROBE_FEATURES}, notes


def read_boot_id() -> str:
    """Names this run of the kernel, unlike any other (proc(5))."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError as error:
        raise FaultError(f"{_BOOT_ID} cannot be read: {error}") from error


def seconds_since_boot() -> float:
    """Goes on while the machine sleeps, and begins anew as pins and links do (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
