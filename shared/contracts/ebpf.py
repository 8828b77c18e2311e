# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every eBPF program that a node's kernel holds, whoever loaded it.

Read from the kernel for each reply.  Owners and names in bpffs are looked for within bounds, so a
program without any may have some; `notes` says where a search was cut short.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import API, Endpoint, Message, Request

MAX_LISTED: Final = 64
"""Programs in one reply: the longest ones fit into a message."""
MAX_PARTS: Final = 8
"""Owners, names, attachments of one program that are named; all are counted."""
MAX_NAME_CHARACTERS: Final = 256


class EbpfOwner(Message, frozen=True, kw_only=True):
    """A process with a descriptor of the program or of one of its links."""

    pid: int
    """As this node's executor sees it."""
    command: str = ""
    """The kernel's short name of the process."""


class EbpfAttachment(Message, frozen=True, kw_only=True):
    """Where a program is attached."""

    kind: str
    """Of the bpf_link, as `xdp`, `tcx`, `cgroup`; a number if it is newer than this list."""
    target: str = ""
    """As `eth0/tc-ingress` or `cgroup 42`; empty if the link does not say."""
    link_id: int = 0
    """0: attached without a bpf_link."""


class EbpfProgram(Message, frozen=True, kw_only=True):
    """One program as the kernel holds it."""

    id: int
    type: str
    """As `xdp` or `sched_cls`; a number if it is newer than this list."""
    name: str = ""
    """At most 15 characters, given by who loaded it."""
    tag: str = ""
    """16 hexadecimal digits over its instructions."""
    gpl_compatible: bool = False
    """All that the kernel keeps of the licence."""
    managed: bool = False
    """Whether this executor put it there."""
    role: str = ""
    """What it is to this executor, as `eth0/xdp current`, `eth0/xdp previous`, `eth0/xdp staged`.
    """
    loaded_at: str = ""
    """RFC 3339 UTC, to the second."""
    user_id: int = 0
    """Of who loaded it."""
    translated_bytes: int = 0
    jited_bytes: int = 0
    map_count: int = 0
    owners: tuple[EbpfOwner, ...] = ()
    owner_count: int = 0
    pins: tuple[str, ...] = ()
    """Paths of the program and of its links in bpffs."""
    pin_count: int = 0
    attachments: tuple[EbpfAttachment, ...] = ()
    attachment_count: int = 0
    restricted: bool = False
    """Whether the rest is left out: its chain has a program that whoever asked does not see."""


class ListEbpf(Request, frozen=True, kw_only=True):
    """The programs of a node, ascending by id."""

    after_id: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    """Only those with greater ids: the last one of the reply before."""
    limit: Annotated[int, Meta(ge=1, le=MAX_LISTED)] = MAX_LISTED
    only_unmanaged: bool = False
    """Leave out what this executor put there."""


class EbpfListed(Message, frozen=True, kw_only=True):
    """One page."""

    node: str
    programs: tuple[EbpfProgram, ...] = ()
    has_more: bool = False
    total: int = 0
    """All programs of the kernel, managed or not, on whatever page."""
    managed_total: int = 0
    notes: tuple[str, ...] = ()
    """Where a search ended early."""


LIST_EBPF: Final = Endpoint(f"{API}.node.{{node}}.ebpf.list", ListEbpf, EbpfListed)
