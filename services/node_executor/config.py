# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the environment may say to a node executor.

Pure: `shared.config.load_config` fills it from variables that begin with `NODE_EXECUTOR_`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from services.node_executor.recovery import OrphanPolicy
from services.node_executor.unmanaged import UnmanagedPolicy
from shared.config import Labels, ServiceConfig
from shared.contracts import node
from shared.contracts.trust_notes import TrustMode
from shared.errors import Reason, RefusedError

MAX_PORT: Final = 65535


class NodeExecutorConfig(ServiceConfig, frozen=True, kw_only=True):
    """One node executor.  The node's name is the name in its credentials."""

    bpffs_dir: Path = Path("/sys/fs/bpf/l3af")
    """On a BPF file system, mounted if need be; pins lie in a folder of the node's name."""
    expedited_grace_periods: bool = True
    """Whether the kernel is asked for short waits while a program is put on a hook or taken off
    (below 1 ms instead of 8 to 16); each costs one interrupt on every processor."""
    cache_bytes: Annotated[int, Meta(ge=1024 * 1024)] = 512 * 1024 * 1024
    """What package archives may take on the disk of the state directory, all together.  One that
    does not fit beside what is needed is refused by name."""
    labels: Labels = {}
    """What the node says of itself; labels set through the scheduler win."""
    offline_mode: node.OfflineMode = "available"
    """Whether changes wait for the audit stream: `available` (journaled first) or `strict`."""
    period_seconds: Annotated[float, Meta(ge=1, le=3600)] = 15.0
    """How often every hook point is compared with what is desired, without anybody asking; what
    others change is found within it."""
    orphans: OrphanPolicy = "remove"
    """What happens to pins that nobody remembers or desires: `remove` or `report`."""
    journal_bytes: Annotated[int, Meta(ge=1024 * 1024)] = 256 * 1024 * 1024
    """What the state file may take; when it is full of events that could not be published, no
    change is made until there is room."""
    unmanaged: UnmanagedPolicy = "report"
    """What happens when an eBPF program comes that nobody manages: `report` says it in an event,
    `ignore` does not look."""
    named_namespaces: bool = True
    """Whether interfaces of named network namespaces (below /run/netns) have hook points too."""
    trust_mode: TrustMode = "trusted"
    """`trusted`: what is not signed by those whom the trust documents name is not loaded.
    `normal`: it is loaded, and said at every start and in every event."""
    metrics_listen: str = ""
    """`host:port` where Prometheus may scrape; empty: nothing is served."""
    l3afd_names: bool = False
    """Whether scrapes hold l3afd's names too, for dashboards made for it."""
    companions_socket: str = ""
    """Where the companion supervisor of this node listens; empty: it runs no companions."""
    bcc_python: Path = Path("/usr/bin/python3")
    """The Python that can import bcc: the distribution's."""


def check_bpffs_dir(path: Path) -> PurePosixPath:
    """The directory, if it is the same wherever the process is started.

    Raises:
        RefusedError: It is relative: what an earlier process pinned would be another owner's.
    """
    if not path.is_absolute():
        reason = Reason(path="NODE_EXECUTOR_BPFFS_DIR", rule="must be absolute", got=str(path))
        raise RefusedError(f"configuration: {reason.path} {reason.rule}", [reason])
    return PurePosixPath(path)


def check_listen(text: str) -> tuple[str, int] | None:
    """Host and port of `host:port`; None if it is empty.

    Raises:
        RefusedError: It is neither.
    """
    if not text:
        return None
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        reason = Reason(
            path="NODE_EXECUTOR_METRICS_LISTEN", rule="must be <host>:<port>, or empty", got=text
        )
        raise RefusedError(f"configuration: {reason.path} {reason.rule}", [reason])
    return host, int(port)


def check_labels(labels: Labels) -> Labels:
    """The labels, if the contract allows them all.

    Raises:
        RefusedError: With every label that it does not.
    """
    reasons: list[Reason] = []
    for key, value in labels.items():
        try:
            msgspec.convert({key: value}, node.Labels)
        except msgspec.ValidationError as error:
            reasons.append(Reason(path=f"labels.{key}", rule=str(error), got=value))
    if reasons:
        raise RefusedError("the node's own labels are not allowed", reasons)
    return labels
