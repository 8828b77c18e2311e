# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What runs on hook points: as nodes say it in their events, and as the audit log tells it later.

A node reads what it says back from the kernel.  Its events `chain.*` hold a HookReading's fields in
`details`; `node.snapshot` holds one for each hook point under `details.hook_points`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.licences import ProgramLicence

SNAPSHOT: Final = "node.snapshot"
MAX_PLACES_NAMED: Final = 200
"""Hook points that are named of one chain; all are counted."""
Source = Literal["change", "observation"]


class RunningProgram(Message, frozen=True, kw_only=True):
    """One program of a chain, in the place where it runs."""

    deployment: str
    revision: int = 0
    package: str = ""
    version: str = ""
    program: str = ""
    archive_sha256: str = ""
    object_sha256: str = ""
    """Of the object that was loaded; empty: not known."""
    licence: ProgramLicence | None = None
    """None: said by a release that did not say it."""


class HookReading(Message, frozen=True, kw_only=True):
    """What the kernel had on one hook point."""

    interface: str = ""
    netns: str = ""
    hook: str = ""
    generation: int = 0
    program_id: int = 0
    """Of the program on the hook that is ours; 0: nothing of ours runs there."""
    program_tag: str = ""
    """The kernel's digest of its instructions."""
    attachment: str = ""
    gpl_compatible: bool = False
    """What the kernel says of the licence of the program on the hook."""
    plan_sha256: str = ""
    """Of the chain that it was linked from."""
    running: tuple[RunningProgram, ...] | None = None
    """First to run first; null: said by a release that did not say it."""


class HookPlace(Message, frozen=True, kw_only=True):
    """One hook point of the fleet."""

    node: str
    netns: str = ""
    interface: str = ""
    hook: str = ""


class HookRun(Message, frozen=True, kw_only=True):
    """What ran on one hook point at a moment."""

    place: HookPlace
    source: Source = "change"
    """`change`: a command led to it, and it was read back.  `observation`: it was found so, and
    the log has no change that explains it."""
    since: str
    """When it was first read back, by the node's clock."""
    record: int
    """Index of the record that says so."""
    confirmed_at: str = ""
    """When it was found to be so for the last time up to that moment; empty: not since."""
    confirmed_record: int | None = None
    actor_key: str = ""
    """Who gave the command; empty: nobody did, or it is not known."""
    actor_role: str = ""
    correlation: str = ""
    """Id of that command."""
    reading: HookReading
    difference: str = ""
    """What does not agree between changes and what was found; one sentence."""


class GetInventory(Request, frozen=True, kw_only=True):
    """What ran at a moment, rebuilt from the log."""

    at: str
    """RFC 3339; what nodes said to have happened up to then, whenever it was received."""
    node: Annotated[str, Meta(max_length=63)] = ""
    """Empty: every node."""
    after: HookPlace | None = None
    """Go on behind this place: `next` of the page before."""


class InventoryShown(Message, frozen=True, kw_only=True):
    """Hook points by node, network namespace, interface and hook; one page."""

    at: str
    hook_points: tuple[HookRun, ...]
    tree_size: int
    """Leaves in the log when this was read."""
    next: HookPlace | None = None
    """Where the next page goes on; null: this is the end."""


class FindRuns(Request, frozen=True, kw_only=True):
    """Where something with this digest ever ran."""

    digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64}|[0-9a-f]{16})$")]
    """SHA-256 of an archive, of an object or of a chain's plan, or a kernel program's tag."""
    after: HookPlace | None = None


class Run(Message, frozen=True, kw_only=True):
    """From when to when it ran on one hook point, without a break."""

    place: HookPlace
    since: str
    until: str = ""
    """Empty: nothing says that it ended."""
    record: int
    """Index of the record that says that it began."""
    until_record: int | None = None


class RunsFound(Message, frozen=True, kw_only=True):
    """By place and time; one page."""

    digest: str
    runs: tuple[Run, ...]
    tree_size: int
    next: HookPlace | None = None
    pruned_before: str = ""
    """RFC 3339 UTC: runs that ended before are not known, and of others perhaps not when they
    began, because records that said it were pruned.  Empty: none were."""


class ChainInRange(Message, frozen=True, kw_only=True):
    """One chain of programs, on whichever hook points it ran within a range of time."""

    key: str
    """Digest of what tells it from all others."""
    program_tag: str = ""
    """The kernel's digest of its instructions."""
    running: tuple[RunningProgram, ...] | None = None
    """First to run first, without their revisions; null: nobody said it."""
    since: str
    """When it ran first within the range."""
    until: str = ""
    """When it ran last; empty: it ran when the range ended."""
    record: int
    """Index of the record that says that it ran then."""
    hook_points: int
    """On how many it ran."""
    places: tuple[HookPlace, ...]
    """The first MAX_PLACES_NAMED, by place."""


class GetRange(Request, frozen=True, kw_only=True):
    """What ran at any moment of a range of time, by the nodes' clocks."""

    since: Annotated[str, Meta(max_length=64)] = ""
    """RFC 3339, inclusive; empty: from the beginning."""
    until: Annotated[str, Meta(max_length=64)] = ""
    """RFC 3339, exclusive; empty: now."""
    node: Annotated[str, Meta(max_length=63)] = ""
    """Empty: every node."""
    after: Annotated[str, Meta(max_length=64)] = ""
    """Go on behind the chain with this key: `next` of the page before."""


class RangeShown(Message, frozen=True, kw_only=True):
    """Chains by key; one page."""

    since: str
    until: str
    chains: tuple[ChainInRange, ...]
    tree_size: int
    """Leaves in the log when this was read."""
    next: str = ""
    """Where the next page goes on; empty: this is the end."""


GET_INVENTORY: Final = Endpoint(f"{API}.auditor.inventory.get", GetInventory, InventoryShown)
FIND_RUNS: Final = Endpoint(f"{API}.auditor.run.find", FindRuns, RunsFound)
GET_RANGE: Final = Endpoint(f"{API}.auditor.inventory.range", GetRange, RangeShown)
