# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which eBPF programs of a host are new and nobody's: what is said of them, once.

Pure.  A program is known by its id and the moment it was loaded at: ids begin anew with each boot.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from typing import Any, Final, Literal, NamedTuple

import msgspec

from shared.canonical import sha256_hex
from shared.contracts.base import Message
from shared.contracts.ebpf import EbpfProgram
from shared.contracts.events import EventBody
from shared.event_size import fit_event_body
from shared.identifiers import Digest

MAX_NEW: Final = 16
"""Looked into at one look; more of them are at the next."""


UnmanagedPolicy = Literal["report", "ignore"]


class Loaded(NamedTuple):
    """One program, as it is recognised."""

    program_id: int
    loaded_ns: int
    """Since the kernel started."""


class KnownPrograms(Message, frozen=True, kw_only=True):
    """What was there at the last look, as it is kept on the disk."""

    boot_id: str
    programs: tuple[Loaded, ...] = ()


def arrivals(known: Collection[Loaded], present: Iterable[Loaded]) -> tuple[Loaded, ...]:
    """What was not there at the last look, oldest first, as many as are looked into at once."""
    news = sorted(set(present).difference(known), key=lambda one: (one.loaded_ns, one.program_id))
    return tuple(news[:MAX_NEW])


def is_nobodys(program: EbpfProgram, *, executors: Collection[int], family: PurePosixPath) -> bool:
    """Whether no executor put it there.

    Args:
        program: As the inventory has it.
        executors: Processes that are executors, and hold what they link or staged just now.
        family: Below it this executor and others of the host pin what is theirs.
    """
    owners = {one.pid for one in program.owners}
    is_under_way = bool(owners) and owners.issubset(executors)
    is_pinned_here = any(PurePosixPath(pin).is_relative_to(family) for pin in program.pins)
    return not (program.managed or is_under_way or is_pinned_here)


def drift_id(node: str, boot_id: str, loaded: Loaded) -> Digest:
    """The same for the same program, whoever says it again."""
    return sha256_hex(
        f"{node}|{boot_id}|{loaded.program_id}|{loaded.loaded_ns}|node.drift".encode()
    )


def drift_body(node: str, program: EbpfProgram) -> EventBody:
    """A program that nobody manages came."""
    found: dict[str, Any] = {
        "program_id": program.id,
        "program_name": program.name,
        "program_tag": program.tag,
        "type": program.type,
        "gpl_compatible": program.gpl_compatible,
        "loaded_at": program.loaded_at,
        "user_id": program.user_id,
        "owners": msgspec.to_builtins(program.owners),
        "owner_count": program.owner_count,
        "pins": list(program.pins),
        "attachments": msgspec.to_builtins(program.attachments),
    }
    return fit_event_body(
        EventBody(
            action="node.drift",
            outcome="observed",
            node=node,
            details={
                "kind": "program-unmanaged",
                "subject": f"program {program.id}",
                "policy": "report",
                "done": "left",
                "found": found,
            },
        )
    )
