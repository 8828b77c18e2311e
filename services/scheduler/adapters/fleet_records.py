# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The fleet as the bus knows it: records read once, then followed, and the scheduler's own writes.

`nodes` and `observed` are written by the nodes and followed; `deployments`, `node_labels` and
`desired` are written by the scheduler alone, so what is kept here is what is stored, and every
write is a compare-and-set that finds out if that is ever not so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import msgspec
import structlog

from services.scheduler.adapters.policy_records import PolicyRecords
from services.scheduler.adapters.read_records import Gathered, changed, is_own, newest, own, values
from services.scheduler.adapters.shared_facts import SharedFacts
from services.scheduler.audiences import audiences_at
from services.scheduler.desired_state import Derivation, Fleet
from services.scheduler.groups import still_to_come
from services.scheduler.liveness import Hearing, Silence, heard, judge_silence
from services.scheduler.placement import NodeView, view_node
from shared.adapters.bus import Bus
from shared.adapters.kv import Entry, KeyValue, RevisionConflictError
from shared.adapters.spaces import KnownSpaces
from shared.adapters.watched_bus import StoredChange
from shared.contracts.cordons import DrainWait
from shared.contracts.deployments import DEPLOYMENTS, DeploymentRecord
from shared.contracts.desired import DESIRED, DesiredNode
from shared.contracts.node import HEARTBEAT, NODES, OBSERVED, NodeRecord, ObservedNode
from shared.contracts.rollout_policy import ROLLOUT_POLICY
from shared.contracts.scheduler import NODE_LABELS, NodeLabels
from shared.contracts.waivers import LICENCE_WAIVERS, Waiver
from shared.errors import FaultError, RefusedError
from shared.licensing.waivers import expiry_of, in_force

WRITES_AT_ONCE: Final = 32
SPARE_BYTES: Final = 16 * 1024
"""Of a message, for its headers."""
LISTED_SECONDS: Final = 60.0
"""How long listing all nodes may take."""

_log = structlog.get_logger()


class FleetRecords:
    """Every record the scheduler decides by, at hand."""

    def __init__(
        self,
        bus: Bus,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """From now on silence of nodes is counted, by `clock`."""
        self._bus: Final = bus
        self._now: Final = now
        self._clock: Final = clock
        self._started_at: Final = clock()
        self.nodes_concerned: Final = asyncio.Event()
        """Set when something changed that the nodes may have to be told of."""
        self.spaces: Final = KnownSpaces(bus, now=now, changed=self.nodes_concerned.set)
        """Who sees which deployment."""
        self.policies: Final = PolicyRecords(bus)
        """What holds of every rollout."""
        self.endings_concerned: Final = asyncio.Event()
        """Set when something changed that a command may have waited for."""
        self.ends_concerned: Final = asyncio.Event()
        """Set when a deployment may have got another end."""
        self.rollouts_concerned: Final = asyncio.Event()
        """Set when something changed that a rollout may have waited for."""
        self.upkeep_concerned: Final = asyncio.Event()
        """Set when something changed that cordoned nodes may have waited for."""
        self._deployments_bucket: Final[KeyValue[DeploymentRecord]] = bus.bucket(DEPLOYMENTS)
        self._labels_bucket: Final[KeyValue[NodeLabels]] = bus.bucket(NODE_LABELS)
        self._desired_bucket: Final[KeyValue[DesiredNode]] = bus.bucket(DESIRED)
        self._nodes_bucket: Final[KeyValue[NodeRecord]] = bus.bucket(NODES)
        self._observed_bucket: Final[KeyValue[ObservedNode]] = bus.bucket(OBSERVED)
        self._waivers_bucket: Final[KeyValue[Waiver]] = bus.bucket(LICENCE_WAIVERS)
        self._waivers: Final[dict[str, Waiver]] = {}
        self._waivers_in_force: tuple[Waiver, ...] = ()
        self._stored: Mapping[str, Entry[DeploymentRecord]] = {}
        self._deployments: Mapping[str, Entry[DeploymentRecord]] = {}
        """What was stored when every command that is seen was seen whole."""
        self._labels: Mapping[str, Entry[NodeLabels]] = {}
        self._desired: Final[Gathered[Entry[DesiredNode]]] = Gathered()
        self._views: Final[Gathered[NodeView]] = Gathered()
        self._viewed: dict[str, tuple[NodeRecord, NodeLabels | None, tuple[Waiver, ...]]] = {}
        """What each view was made of."""
        self.known: Derivation | None = None
        """What was derived last, so that only what changed since is derived anew."""
        self._facts: Final = SharedFacts()
        self._hearings: Final[dict[str, Hearing]] = {}
        self._watched: tuple[asyncio.Event, ...] = ()
        """Set when all nodes, and all that they observe, were listed once."""
        self.nodes: Final[dict[str, NodeRecord]] = {}
        """The inventory, by node."""
        self.observed: Final[dict[str, ObservedNode]] = {}
        """What the nodes read back last, by node."""
        self.lost: frozenset[str] = frozenset()
        """Nodes that are silent for so long that others may take their place."""
        self.drain_waits: Mapping[str, tuple[DrainWait, ...]] = {}
        """By node that is drained, what that waited for when it was looked at last."""

    @property
    def fleet(self) -> Fleet:
        """What is known now."""
        if any(expiry_of(one) <= self._now() for one in self._waivers_in_force):
            self._view_nodes()
        return Fleet(
            deployments=values(self._deployments),
            nodes=self._views.taken(dict),
            desired=self._desired.taken(values),
            audiences=audiences_at(self.spaces.current, now=self._now()),
            policy=self.policies.policy,
            lost=self.lost,
            known=self.known,
        )

    @property
    def max_reply_bytes(self) -> int:
        """What a reply may take."""
        return self._bus.max_payload_bytes - SPARE_BYTES

    def labels_of(self, node: str) -> NodeLabels | None:
        """What operators set."""
        entry = self._labels.get(node)
        return entry.value if entry is not None else None

    def silence(self, node: str) -> Silence:
        """How long nothing was heard of the node."""
        hearing = self._hearings.get(node)
        return judge_silence(hearing, started_at=self._started_at, now=self._clock())

    def is_heard(self, node: str) -> bool:
        """Whether it is there for certain: of whom nothing was heard yet, nobody knows."""
        silence = self.silence(node)
        return silence.seconds is not None and not silence.is_silent

    def silences(self) -> Mapping[str, Silence]:
        """Of every node that registered."""
        return {node: self.silence(node) for node in self.nodes}

    def cordoned(self) -> list[NodeLabels]:
        """What operators said of the nodes that are cordoned, by node."""
        return [one.value for _, one in sorted(self._labels.items()) if one.value.cordon]

    def revision_of(self, deployment: str) -> int:
        """Of its record in the fleet, by key; 0: there is none.

        Not of one that is stored and not acted upon yet: whoever decided without it must not
        write over it.
        """
        entry = self._deployments.get(deployment)
        return entry.revision if entry is not None else 0

    async def watch(self) -> None:
        """From now on what others write is followed; a process that stands by needs no more.

        Raises:
            FaultError: The bus does not answer.
        """
        await self._bus.subscribe(HEARTBEAT.at(node="*").subject, self._on_heartbeat)
        await self.spaces.open()
        self._watched = (
            await self._nodes_bucket.follow(">", self._on_node),
            await self._observed_bucket.follow(">", self._on_observed),
        )
        try:
            await self._waivers_bucket.follow(">", self._on_waiver)
        except RefusedError as error:
            _log.warning("waivers_not_followed", why=error.message)

    async def open(self) -> None:
        """Everything is known: what others write, and what schedulers wrote before.

        Raises:
            FaultError: Something could not be read.
        """
        if not self._watched:
            await self.watch()
        await asyncio.gather(
            self._reread_desired(),
            self.reread_labels(),
            self.reread_deployments(),
            self.policies.reread(),
        )
        await self.reread_waivers()
        try:
            async with asyncio.timeout(LISTED_SECONDS):
                for listed in self._watched:
                    await listed.wait()
        except TimeoutError as error:
            raise FaultError("the nodes' records cannot be read") from error
        self._view_nodes()

    async def reread(self) -> None:
        """Everything is read anew."""
        nodes, observed, _, _, _, _ = await asyncio.gather(
            self._nodes_bucket.snapshot(kept_as=self._facts.node),
            self._observed_bucket.snapshot(kept_as=self._facts.observed),
            self._reread_desired(),
            self.reread_labels(),
            self.reread_deployments(),
            self.policies.reread(),
        )
        await self.reread_waivers()
        self.nodes.update(changed(own(nodes), self.nodes))
        self.observed.update(changed(own(observed), self.observed))
        self._view_nodes()

    async def _reread_desired(self) -> None:
        desired = await self._desired_bucket.snapshot(kept_as=self._facts.desired)
        self._desired.put_all(newest(desired, self._desired.values))

    async def reread_deployments(self) -> int:
        """Deployments are read anew; the last sequence of their bucket."""
        snapshot = await self._deployments_bucket.snapshot()
        self._take(newest(snapshot, self._stored))
        return snapshot.sequence

    def take_all(self) -> None:
        """What is stored counts, for nobody is left who would write the rest of a command."""
        missing = still_to_come(values(self._stored))
        if missing:
            _log.error("command_incomplete", missing=sorted(missing))
        self._deployments = self._stored

    def _take(self, stored: Mapping[str, Entry[DeploymentRecord]]) -> None:
        """Stored deployments are known; acted upon once they are whole."""
        self._stored = stored
        if not still_to_come(values(stored)):
            self._deployments = stored

    async def reread_waivers(self) -> None:
        """Waivers are read anew; credentials of an earlier release have no right to, and know none.

        What is waived on their word is then in force nowhere.
        """
        try:
            entries = await self._waivers_bucket.entries()
        except RefusedError as error:
            _log.warning("waivers_not_read", why=error.message)
            return
        self._waivers.update((entry.key, entry.value) for entry in entries)
        self._view_nodes()

    async def reread_labels(self) -> int:
        """Labels are read anew; the last sequence of their bucket."""
        snapshot = await self._labels_bucket.snapshot()
        self._labels = newest(snapshot, self._labels)
        self._view_nodes()
        return snapshot.sequence

    def note(self, change: StoredChange) -> None:
        """A command's change is known without reading it back."""
        if change.bucket == DEPLOYMENTS.name:
            record = msgspec.json.decode(change.data, type=DeploymentRecord)
            entry = Entry(change.key, record, change.revision)
            self._take({**self._stored, change.key: entry})
            self.ends_concerned.set()
            self.upkeep_concerned.set()
        elif change.bucket == ROLLOUT_POLICY.name:
            self.policies.note(change)
            self.ends_concerned.set()
        else:
            labels = msgspec.json.decode(change.data, type=NodeLabels)
            entry_of_labels = Entry(change.key, labels, change.revision)
            self._labels = {**self._labels, change.key: entry_of_labels}
            self._view_nodes()
            self.upkeep_concerned.set()
        self.nodes_concerned.set()

    async def tell(self, desired: Mapping[str, DesiredNode]) -> bool:
        """Whether every node's record is as given; if not, what is stored was read and differs.

        Raises:
            FaultError: Something could not be written.
        """
        gate = asyncio.Semaphore(WRITES_AT_ONCE)

        async def write(node: DesiredNode) -> bool:
            async with gate:
                return await self._tell_node(node)

        return all(await asyncio.gather(*(write(node) for node in desired.values())))

    async def rewrite_deployment(self, record: DeploymentRecord) -> bool:
        """Whether the record is stored; not if it was changed since it was read."""
        entry = self._deployments[record.key]
        try:
            revision = await self._deployments_bucket.update(
                record.key, record, revision=entry.revision
            )
        except RevisionConflictError:
            await self.reread_deployments()
            return False
        self._take({**self._stored, record.key: Entry(record.key, record, revision)})
        return True

    async def rewrite_labels(self, labels: NodeLabels) -> bool:
        """Whether the node's record is stored; not if it was changed since it was read."""
        entry = self._labels[labels.node]
        try:
            revision = await self._labels_bucket.update(
                labels.node, labels, revision=entry.revision
            )
        except RevisionConflictError:
            await self.reread_labels()
            return False
        self._labels = {**self._labels, labels.node: Entry(labels.node, labels, revision)}
        if labels.node in self.nodes:
            self._view(self.nodes[labels.node])
        self.nodes_concerned.set()
        self.rollouts_concerned.set()
        return True

    async def _tell_node(self, node: DesiredNode) -> bool:
        known = self._desired.values.get(node.node)
        try:
            revision = await self._desired_bucket.update(
                node.node, node, revision=known.revision if known else 0
            )
        except RevisionConflictError:
            stored = await self._desired_bucket.get(node.node)
            if stored is not None:
                self._desired.put(node.node, stored)
            return False
        self._desired.put(node.node, Entry(node.node, node, revision))
        if node.node in self.drain_waits:
            self.upkeep_concerned.set()  # it waits for something else now
        return True

    def _view_nodes(self) -> None:
        waivers = in_force(self._waivers.values(), now=self._now())
        if waivers != self._waivers_in_force:
            self._waivers_in_force = waivers
        for record in self.nodes.values():
            self._view(record)

    def _view(self, record: NodeRecord) -> None:
        """The node's view is of now, and the same object if nothing it shows changed."""
        labels, waivers = self.labels_of(record.node), self._waivers_in_force
        known = self._viewed.get(record.node)
        if known is not None and known[0] is record and known[2] is waivers and known[1] == labels:
            return
        self._viewed[record.node] = record, labels, waivers
        self._views.put(record.node, view_node(record, labels, waivers))

    async def _on_waiver(self, key: str, waiver: Waiver | None, _: int) -> None:
        if waiver is None or self._waivers.get(key) == waiver:
            return
        self._waivers[key] = waiver
        self._view_nodes()
        for concerned in (self.nodes_concerned, self.endings_concerned, self.ends_concerned):
            concerned.set()

    async def _on_node(self, node: str, record: NodeRecord | None, _: int) -> None:
        if record is None or self.nodes.get(node) == record or not is_own(node, record):
            return
        self.nodes[node] = record = self._facts.node(record)
        self._view(record)
        self.nodes_concerned.set()

    async def _on_observed(self, node: str, observed: ObservedNode | None, _: int) -> None:
        if observed is None or self.observed.get(node) == observed or not is_own(node, observed):
            return
        self.observed[node] = self._facts.observed(observed)
        self.endings_concerned.set()
        self.upkeep_concerned.set()
        self.rollouts_concerned.set()

    async def _on_heartbeat(self, subject: str, _: bytes) -> None:
        # The node is the token before the last; no other may publish there.
        node = subject.split(".")[-2]
        if not self.is_heard(node):
            self.rollouts_concerned.set()
        self._hearings[node] = heard(self._hearings.get(node), at=self._clock())
