# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Looking into chains: counters of every program, why a chain is linked as it is, trial packets.

Nothing here changes a hook, a map or a counter that packets see.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from shared.canonical import canonical_digest
from shared.contracts.base import API, Document, Endpoint, Message, Request
from shared.identifiers import (
    Digest,
    DigestText,
    Hook,
    InterfaceText,
    NetnsText,
    NetworkHook,
    PlaceText,
    render_place,
)

MIN_PACKET_BYTES: Final = 14
"""An Ethernet header; the kernel runs nothing over less."""
MAX_PACKET_BYTES: Final = 9216
MAX_PACKETS: Final = 256
MAX_PACKETS_BYTES: Final = 256 * 1024
"""All packets of one request together."""
MAX_SHOWN_CHANGES: Final = 32
"""Places of a packet, and entries of maps, that are listed for one packet; all are counted."""


class SlotCounters(Message, frozen=True, kw_only=True):
    """What one program instance did on one hook point since it came, as the kernel counts it."""

    deployment: str
    slot: int
    """Its place in the counter map, the same for as long as the instance is on the hook point."""
    packets_in: int
    verdicts: dict[str, int] = {}
    """Verdict to packets, without those that never were; `other`: a value without a name."""
    went_on: int = 0
    """Packets with a verdict in the `proceed_on` that the program has now."""
    sampled_ns: int = 0
    """Time that the sampled packets took together."""
    samples: int = 0
    """Packets whose time was taken."""


class CpuCounters(Message, frozen=True, kw_only=True):
    """The counters of one processor."""

    cpu: int
    missed: int = 0
    slots: tuple[SlotCounters, ...] = ()


class ChainCounters(Message, frozen=True, kw_only=True):
    """The counters of one hook point, read for this reply."""

    slots: tuple[SlotCounters, ...] = ()
    """Summed over processors, first program first."""
    missed: int = 0
    """Packets that found the chain's next kernel program missing, and were dropped for it."""
    cpus: tuple[CpuCounters, ...] = ()
    """By processor, if asked for; without those that saw no packet."""
    problem: str = ""
    """Why there are none: they are switched off, or could not be read."""


class ConstraintShown(Message, frozen=True, kw_only=True):
    """One rule that shaped a chain."""

    rule: str
    """Its name, which stays the same."""
    path: str = ""
    """What it concerns, as `chain[1] edge`; empty for the chain as a whole."""
    text: str = ""
    """What the rule says, with the numbers of this chain."""
    effect: str = ""
    """What followed from it."""


class BodyExplained(Message, frozen=True, kw_only=True):
    """One program of a linked chain."""

    deployment: str
    mode: str
    reason: str
    segment: int = 0
    slot: int = 0
    instructions: int = 0
    stack_bytes: int = 0
    proceed_on: tuple[str, ...] = ()
    zeroed_stack_bytes: int = 0
    """How much of the shared stack is set to zero before it runs."""
    needed_for_inline: tuple[str, ...] = ()
    """What would have to be otherwise for it to be linked inline; empty: it is."""


class SegmentExplained(Message, frozen=True, kw_only=True):
    """One kernel program of a linked chain."""

    why_begun: str
    layout: str = ""
    licence: str = ""
    deployments: tuple[str, ...] = ()
    context_slot_bytes: int = 0
    is_device_bound: bool = False
    """Whether it is loaded for one interface, whose driver answers a program's questions."""


class ChainExplanation(Message, frozen=True, kw_only=True):
    """The plan of a linked chain, and every rule that shaped it."""

    attachment: str = ""
    has_frags: bool = False
    has_counters: bool = False
    programs: tuple[BodyExplained, ...] = ()
    segments: tuple[SegmentExplained, ...] = ()
    constraints: tuple[ConstraintShown, ...] = ()
    constraints_left_out: int = 0
    """How many more there were than are kept."""
    warnings: tuple[str, ...] = ()


ChainSource = Literal["running", "draft"]
"""What is on the hook, or what was planned and staged but never put there."""


class ExplainChain(Request, frozen=True, kw_only=True):
    """Why chains are linked as they are: those that run, or one that was staged for a plan."""

    interface: PlaceText | None = None
    hook: Hook | None = None
    draft: DigestText | None = None
    """As a deployment's plan names it; the node keeps it for some minutes."""
    netns: NetnsText | None = None
    """A network namespace by name, empty for the executor's own; null: all."""


class PlaceExplained(Message, frozen=True, kw_only=True):
    """Why a program runs where it does in a chain."""

    deployment: str
    order: int
    has_packages_order: bool = False
    """Whether the package decides; otherwise the deployment does, or neither and it is 500."""
    restricted: bool = False
    """Whether it is only said that there is one."""


class ChainExplained(Message, frozen=True, kw_only=True):
    """One hook point's plan."""

    interface: str
    hook: Hook
    source: ChainSource = "running"
    generation: int = 0
    explanation: ChainExplanation | None = None
    problem: str = ""
    """Why there is no explanation."""
    places: tuple[PlaceExplained, ...] = ()
    """First to run first."""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class ChainsExplained(Message, frozen=True, kw_only=True):
    """What was asked for, by hook point."""

    node: str
    chains: tuple[ChainExplained, ...]


PacketBytes = Annotated[bytes, Meta(min_length=MIN_PACKET_BYTES, max_length=MAX_PACKET_BYTES)]


class TryPackets(Request, frozen=True, kw_only=True):
    """Run a chain over packets, one after another, beside the hook.

    The node links the chain once more, with copies of its maps, so live maps and counters stay
    as they are.  Each packet finds the maps as the one before left them.
    """

    interface: InterfaceText
    hook: NetworkHook
    packets: Annotated[tuple[PacketBytes, ...], Meta(min_length=1, max_length=MAX_PACKETS)]
    """Each from its Ethernet header."""
    draft: DigestText | None = None
    """Not what runs, but the chain of this plan."""
    netns: NetnsText = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""


class BytesChange(Message, frozen=True, kw_only=True):
    """One place of a packet that is not as it was; bytes in hexadecimal."""

    offset: int
    before: str = ""
    after: str = ""


class MapChange(Message, frozen=True, kw_only=True):
    """One map entry that is not as it was; null: there is no such entry."""

    deployment: str
    map: str
    key: str
    before: Any = None
    after: Any = None
    cpu: int | None = None
    """Of a per-CPU map: the processor whose value it is."""


class ProgramRan(Message, frozen=True, kw_only=True):
    """One program that a packet reached."""

    deployment: str
    verdict: str
    """Its name, or `other`."""
    went_on: bool
    """Whether the verdict is one after which the chain goes on."""


class PacketTried(Message, frozen=True, kw_only=True):
    """What the chain did to one packet."""

    verdict: str = ""
    """By name; a number if it has none."""
    value: int = 0
    """The verdict as a signed number of 32 bits."""
    decided_by: str = ""
    """The program whose verdict it is: the last that ran."""
    programs: tuple[ProgramRan, ...] = ()
    """Those that ran, first to run first."""
    length_before: int = 0
    length_after: int = 0
    changes: tuple[BytesChange, ...] = ()
    changed_places: int = 0
    """All of them, also those not listed."""
    map_changes: tuple[MapChange, ...] = ()
    changed_entries: int = 0
    """All of them, also those not listed."""
    context: dict[str, int] = {}
    """What it left beside the packet, as `mark`, where that is not zero."""
    problem: str = ""
    """Why the kernel did not run the chain over this packet."""


class PacketsTried(Message, frozen=True, kw_only=True):
    """The packets in their order."""

    node: str
    interface: str
    hook: Hook
    source: ChainSource = "running"
    generation: int = 0
    """Of what runs; 0 for a draft."""
    programs: tuple[str, ...] = ()
    """The chain's deployments, first to run first."""
    packets: tuple[PacketTried, ...] = ()
    notes: tuple[str, ...] = ()
    """Where the trial cannot be as the hook: maps that start empty, and the like."""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


EXPLAIN_CHAIN: Final = Endpoint(f"{API}.node.{{node}}.chain.explain", ExplainChain, ChainsExplained)
TEST_CHAIN: Final = Endpoint(f"{API}.node.{{node}}.chain.test", TryPackets, PacketsTried)


def draft_digest(chain: Document) -> Digest:
    """How plans and nodes name a staged chain: by all of it, its cause included."""
    return canonical_digest(chain)
