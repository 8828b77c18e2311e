# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The node's messages: what it is told to run, what the kernel says it runs.

The scheduler writes `desired`, the node writes `observed` and `nodes`.  `observed` is read back
from the kernel, never remembered.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    INTERNAL,
    TELEMETRY,
    Bucket,
    Endpoint,
    Message,
    Request,
    Topic,
)
from shared.contracts.capabilities import Capabilities
from shared.contracts.compilation import Compilation
from shared.contracts.desired import (
    Cause,
    DesiredChain,
)
from shared.contracts.drift import ObservedDrift
from shared.contracts.inspection import ChainCounters
from shared.contracts.interfaces import Interface
from shared.contracts.licences import ProgramLicence
from shared.contracts.metrics import Aggregation, HistogramBucket
from shared.contracts.node_companions import ObservedCompanion
from shared.contracts.probes import PROBE_FEATURES, LinkKind, ObservedProbe, ProbeTarget
from shared.contracts.spaces import SpaceText
from shared.contracts.trust_notes import TrustMode
from shared.errors import Refusal
from shared.identifiers import (
    PROBE_HOOKS,
    DigestText,
    Hook,
    NetnsText,
    PlaceText,
    is_probe,
    render_place,
)

ChainState = Literal["attached", "absent", "failed", "waiting-for-interface"]
AttachmentKind = Literal["", "xdp-native", "xdp-generic", "xdp-offload", "tcx", "cls_bpf", LinkKind]
"""How a linked program is on its hook, of probes the kind of link; empty: it is not, or unknown."""


class ObservedProgram(Message, frozen=True, kw_only=True):
    """One body of the linked program that is on the hook now."""

    deployment: str
    revision: int
    package: str
    version: str
    archive_sha256: str
    program: str
    order: int
    mode: str = "inline"
    """Link mode: how it became part of the chain."""
    reason: str = ""
    """Why in this mode; one sentence."""
    segment: int = 0
    """Which of the chain's kernel programs it is in."""
    slot: int = 0
    """Where its counters are, for as long as the instance is on the hook point."""
    instructions: int = 0
    object_sha256: str = ""
    """Of the object that was loaded; empty: linked by a release that did not say it."""
    licence: ProgramLicence | None = None
    """None: linked by a release that did not say it."""
    compilation: Compilation | None = None
    """None: the archive holds the compiled object."""
    unverified: str = ""
    """What trust mode `normal` let pass; empty: those whom the node trusts signed it."""
    restricted: bool = False
    """Whether it is only said that there is one: it is in a space that whoever asked does not see.
    """


class ObservedSegment(Message, frozen=True, kw_only=True):
    """One kernel program of a chain, as the kernel describes it; the first is on the hook."""

    program_id: int
    tag: str
    verified_instructions: int
    jited_bytes: int
    maps_used: int
    """Of 64 that a kernel program can use."""
    licence: str = ""
    gpl_compatible: bool = False


class HookNeighbour(Message, frozen=True, kw_only=True):
    """A program of another owner on the same hook."""

    program_id: int
    program_name: str = ""
    program_tag: str = ""
    link_id: int = 0
    """0: attached without a bpf_link."""


class ObservedChain(Message, frozen=True, kw_only=True):
    """One hook point as the kernel has it."""

    interface: str
    hook: Hook
    state: ChainState
    generation: int = 0
    """The chain's own generation: up by one with every linked program put on this hook point."""
    desired_generation: int = 0
    """The node generation this follows from."""
    plan_sha256: str = ""
    """Digest of the desired chain that was linked, map configuration left out."""
    config_sha256: str = ""
    """Digest of the map configuration last written."""
    program_id: int = 0
    program_tag: str = ""
    link_id: int = 0
    xdp_mode: str = ""
    """`native`, `generic` or `offload`; empty for TC."""
    attachment: AttachmentKind = ""
    attachment_reason: str = ""
    """Why it is attached in this way and not in a better one, and what that costs."""
    runs_after: tuple[HookNeighbour, ...] = ()
    """Programs of others that see packets before the chain does, first to run first."""
    runs_before: tuple[HookNeighbour, ...] = ()
    """Programs of others that see what the chain lets through, first to run first."""
    displaced: HookNeighbour | None = None
    """The program of another owner that was taken over, and is put back afterwards."""
    gpl_compatible: bool = False
    verified_instructions: int = 0
    jited_bytes: int = 0
    map_ids: tuple[int, ...] = ()
    programs: tuple[ObservedProgram, ...] = ()
    segments: tuple[ObservedSegment, ...] = ()
    cause: Cause | None = None
    refusal: Refusal | None = None
    """Why the desired chain is not what runs; what ran before still runs."""
    warnings: tuple[str, ...] = ()
    """What is not wrong, and should be known: maps made fresh, timers of an earlier generation,
    damaged pins."""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""
    companions: tuple[ObservedCompanion, ...] = ()
    """Of the programs of the chain, by deployment and name."""
    drift: tuple[ObservedDrift, ...] = ()
    """What others changed, as of the last look (every 15 s), and what is done about it."""
    restricted: bool = False
    """Whether things are left out: whoever asked does not see every program of the chain."""
    target: ProbeTarget | None = None
    """What the probe that runs was attached to; None: it is none, or nothing runs."""
    probe: ObservedProbe | None = None
    """What the kernel says of the probe that runs."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class ObservedNode(Message, frozen=True, kw_only=True):
    """KV `observed`, key = node."""

    node: str
    desired_generation: int
    """The newest desired generation that was acted upon, successfully or not."""
    chains: tuple[ObservedChain, ...]
    at: str


OBSERVED: Final = Bucket("observed", ObservedNode, has_writer_per_key=True)


OfflineMode = Literal["available", "strict"]
"""`available`: a change is journaled before it is made.  `strict`: and it waits until the audit
stream has acknowledged its `chain.request` event."""


NODE_FEATURES: Final = ("bcc", "btf", "cls_bpf", "tcx", "xdp", *PROBE_FEATURES)
"""Names under which nodes of this release report what they tried."""
REDACTION: Final = "redaction"
"""Feature of an executor: it keeps what is in a space from those who do not see it."""


class TakenSlot(Message, frozen=True, kw_only=True):
    """Programs of other owners where a chain goes on one hook, attached in one way."""

    interface: str
    hook: Hook
    attachment: AttachmentKind
    """`tcx` leaves room for a chain; XDP and the preference of our `cls_bpf` filter do not."""
    programs: int = 1
    program_id: int = 0
    """Of the first; 0: a filter without an eBPF program."""
    program_name: str = ""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class NodeRecord(Message, frozen=True, kw_only=True):
    """KV `nodes`, key = node: the inventory.  Written only when it changes."""

    node: str
    hostname: str
    architecture: str
    """As `uname -m` says."""
    kernel: str
    """As `uname -r` says."""
    executor_version: str
    boot_id: str
    labels: dict[str, str] = {}
    """What the node's own configuration says; labels set through the scheduler win."""
    interfaces: tuple[Interface, ...] = ()
    taken: tuple[TakenSlot, ...] = ()
    """What others have on hooks of these interfaces; all else is free or the node's own, as its
    observed chains say.  Empty in lists of nodes."""
    features: dict[str, bool] = {}
    """What was probed, as `xdp`, `tcx`, `btf`, `bcc`."""
    feature_notes: dict[str, str] = {}
    """By feature: why it is missing, or what is not as it could be."""
    capabilities: Capabilities | None = None
    """What the kernel answered when it was asked in this boot; null in lists of nodes."""
    offline_mode: OfflineMode = "available"
    """What the executor does while its events cannot be published."""
    trust_mode: TrustMode = "trusted"
    """`normal`: it loads what nobody signed."""
    registered_at: str = ""


NODES: Final = Bucket("nodes", NodeRecord, has_writer_per_key=True)


class Heartbeat(Message, frozen=True, kw_only=True):
    """`l3af.v1.tel.node.<node>.heartbeat`, every HEARTBEAT_SECONDS."""

    node: str
    at: str
    desired_generation: int
    chains_attached: int
    chains_failed: int


class NodeMetrics(Message, frozen=True, kw_only=True):
    """`l3af.v1.tel.node.<node>.metrics`: the numbers that deployments asked for."""

    node: str
    at: str
    values: dict[str, float | int]
    """`<interface>/<hook>/<deployment>/<metric>` to value; `<netns>/` before it where there is
    one, and behind it `{<key>}` of a series, or `{le=<bound>}` of a histogram."""


HEARTBEAT_SECONDS: Final = 10
HEARTBEAT: Final = Topic(f"{TELEMETRY}.node.{{node}}.heartbeat", Heartbeat)
METRICS: Final = Topic(f"{TELEMETRY}.node.{{node}}.metrics", NodeMetrics)


class StageChains(Request, frozen=True, kw_only=True):
    """Fetch, verify, load and link these chains without attaching anything.

    The node keeps the linked programs for a minute, so that the desired record that follows
    only has to swap.  Every refusal that the kernel would give is given here, before acceptance.
    """

    chains: tuple[DesiredChain, ...]
    tickets: dict[DigestText, str] = {}
    """Archive digest to the catalog's ticket."""
    members: dict[SpaceText, tuple[str, ...]] = {}
    """Of each audience of a chain that is not public: who may ask for it as a draft."""


class StagedChain(Message, frozen=True, kw_only=True):
    """One chain that loads here."""

    interface: str
    hook: Hook
    plan_sha256: str
    verified_instructions: int
    programs: tuple[ObservedProgram, ...]
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""


class ChainsStaged(Message, frozen=True, kw_only=True):
    """All chains load on this node; otherwise the request is refused with every reason."""

    chains: tuple[StagedChain, ...]
    duration_ms: dict[str, float] = {}
    """By phase: fetch, verify, load, link."""


class GetChains(Request, frozen=True, kw_only=True):
    """What is on the hooks right now, with counters."""

    interface: PlaceText | None = None
    hook: Hook | None = None
    per_cpu: bool = False
    """Whether the counters of each processor are wanted too."""
    netns: NetnsText | None = None
    """A network namespace by name, empty for the executor's own; null: all."""


class MetricValue(Message, frozen=True, kw_only=True):
    """One metric: of what was read from the kernel for this reply, or of the last samples."""

    deployment: str
    metric: str
    map: str
    key: str
    aggregation: Aggregation = "scalar"
    value: float | int | None = None
    """None where every key is a series, of a histogram, or while there are too few samples."""
    series: dict[str, float | int] = {}
    """Value of each key, if every key is a series."""
    buckets: tuple[HistogramBucket, ...] = ()
    problem: str = ""
    """Why there is no value; other metrics are not affected."""


class ChainShown(Message, frozen=True, kw_only=True):
    """One hook point and its metrics."""

    chain: ObservedChain
    metrics: tuple[MetricValue, ...] = ()
    counters: ChainCounters = ChainCounters()
    previous_generation: int = 0
    """The generation that is kept loaded to go back to; 0: none."""
    previous_kept_until: str = ""
    """When it is given up, RFC 3339 UTC; empty: not before the next change."""


class ChainsShown(Message, frozen=True, kw_only=True):
    """All managed hook points of the node."""

    node: str
    chains: tuple[ChainShown, ...]


STAGE_CHAINS: Final = Endpoint(f"{INTERNAL}.node.{{node}}.chain.stage", StageChains, ChainsStaged)
GET_CHAINS: Final = Endpoint(f"{API}.node.{{node}}.chain.get", GetChains, ChainsShown)

XDP_VERDICTS: Final[dict[str, int]] = {"aborted": 0, "drop": 1, "pass": 2, "tx": 3, "redirect": 4}
"""include/uapi/linux/bpf.h, enum xdp_action."""
TC_VERDICTS: Final[dict[str, int]] = {
    "unspec": -1,
    "ok": 0,
    "reclassify": 1,
    "shot": 2,
    "pipe": 3,
    "stolen": 4,
    "queued": 5,
    "repeat": 6,
    "redirect": 7,
    "trap": 8,
}
"""include/uapi/linux/pkt_cls.h, TC_ACT_*."""
TERMINAL_VERDICTS: Final = {
    "xdp": frozenset(("aborted", "drop", "tx", "redirect")),
    "tc": frozenset(("shot", "stolen", "queued", "repeat", "redirect", "trap")),
}
"""Verdicts that end a packet's way, by kind of hook."""
DEFAULT_PROCEED_ON: Final[dict[Hook, tuple[str, ...]]] = {
    "xdp": ("pass",),
    "tc-ingress": ("ok", "pipe", "unspec"),
    "tc-egress": ("ok", "pipe", "unspec"),
    **dict.fromkeys(PROBE_HOOKS, ()),
}


def verdicts_of(hook: Hook) -> dict[str, int]:
    """Verdict names of a hook and their values, signed 32 bit; a probe has none."""
    if is_probe(hook):
        return {}
    return XDP_VERDICTS if hook == "xdp" else TC_VERDICTS


def terminal_verdicts(hook: Hook) -> frozenset[str]:
    """Those after which a hook lets nobody else decide; a probe has none."""
    if is_probe(hook):
        return frozenset()
    return TERMINAL_VERDICTS["xdp" if hook == "xdp" else "tc"]


LabelKey = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9./_-]{0,61}[a-z0-9])?(?!\n)$")]
LabelValue = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,63}(?!\n)$")]
Labels = dict[LabelKey, LabelValue]
