# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node keeps of trust documents: the newest it ever saw, whatever the bus says later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from services.node_executor.adapters.state_store import StateStore
from services.node_executor.adapters.trust_keeper import TrustKeeper
from shared.adapters.kv import Entry
from shared.contracts.events import Event
from shared.contracts.trust import TrustDocument, TrustRecord
from shared.contracts.trust_notes import TrustMode
from shared.errors import FaultError, RefusedError
from shared.trust.documents import sign_document
from tests.package_builders import PUBLISHER_SEED, TRUST_ROOT, TRUST_SEED
from tests.support.trusting import a_key, a_trust_document

ResultT = TypeVar("ResultT")


async def at_once(call: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
    """A thread that is this one."""
    return call(*arguments, **options)


@dataclass
class Bucket:
    """What the bus says."""

    documents: list[TrustDocument] = field(default_factory=list)
    seed: bytes = TRUST_SEED

    async def entries(self) -> list[Entry[TrustRecord]]:
        """All of them."""
        return [
            Entry(one.namespace, TrustRecord(document=sign_document(one, seed=self.seed)), 1)
            for one in self.documents
        ]

    async def follow(
        self, key_filter: str, handler: Callable[[str, TrustRecord | None, int], Awaitable[None]]
    ) -> None:
        """Each of them, as a relist does."""
        assert key_filter == ">"
        for entry in await self.entries():
            await handler(entry.key, entry.value, entry.revision)


@dataclass
class Node:
    """A node's store on the disk, opened again and again."""

    path: Path
    events: list[Event] = field(default_factory=list)
    stores: list[StateStore] = field(default_factory=list)

    async def keeper(self, *, mode: TrustMode = "trusted", root: bytes = TRUST_ROOT) -> TrustKeeper:
        """The keeper of a new process."""
        self.close()
        store = StateStore.open(
            self.path,
            emitter="node/n1",
            now=lambda: "2026-03-01T12:00:00.000000Z",
            new_salt=lambda: bytes(16),
            on_event=self.events.append,
        )
        self.stores.append(store)
        keeper = TrustKeeper(node="n1", trust_root=root, mode=mode, thread=at_once, store=store)
        await keeper.open()
        return keeper

    def said(self) -> list[tuple[str, str]]:
        """Actions about trust, and to whom."""
        return [
            (one.data.action, one.audience)
            for one in self.events
            if one.data.action.startswith("trust.")
        ]

    def close(self) -> None:
        """The process ended."""
        while self.stores:
            self.stores.pop().close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Nothing is known yet."""
    made = Node(tmp_path / "state.sqlite")
    yield made
    made.close()


async def test_a_node_without_documents_trusts_certificates(node: Node) -> None:
    """As in every earlier release."""
    keeper = await node.keeper()
    await keeper.learn(Bucket())

    assert (dict(keeper.trust().documents), keeper.trust().root) == ({}, TRUST_ROOT)


async def test_what_was_seen_is_known_after_a_restart_without_the_bus(node: Node) -> None:
    """A document is on the disk before it counts, and its coming is an event."""
    document = a_trust_document(a_key(), version=3)
    await (await node.keeper()).learn(Bucket([document]))

    assert (await node.keeper()).trust().documents == {"public": document}
    assert node.said() == [("trust.learn", "public")]


async def test_an_older_document_is_refused_and_said_once(node: Node) -> None:
    """Whoever replays what was signed once brings no revoked key back, restart or not."""
    kept = a_trust_document(a_key(revoked_at="2026-02-01T00:00:00Z"), version=3)
    older = Bucket([a_trust_document(a_key(), version=2)])
    await (await node.keeper()).learn(Bucket([kept]))

    for _ in range(2):
        keeper = await node.keeper()
        await keeper.learn(older)
        assert keeper.trust().documents == {"public": kept}

    assert node.said() == [("trust.learn", "public"), ("trust.refuse", "public")]
    assert "is older than the one that is known" in node.events[-1].data.details["message"]


async def test_a_document_that_the_trust_root_did_not_sign_is_refused(node: Node) -> None:
    """Whoever can write to the bus cannot say whom to trust."""
    keeper = await node.keeper()
    await keeper.learn(Bucket([a_trust_document(a_key())], seed=PUBLISHER_SEED))

    assert dict(keeper.trust().documents) == {}
    assert node.said() == [("trust.refuse", "public")]


async def test_a_document_that_is_gone_from_the_bus_is_not_forgotten(node: Node) -> None:
    """Deleting it is no way around it."""
    document = a_trust_document(a_key())
    keeper = await node.keeper()
    await keeper.learn(Bucket([document]))
    await keeper.offered("public", None, 9)
    await keeper.learn(Bucket())

    assert keeper.trust().documents == {"public": document}


async def test_a_bus_that_fails_is_asked_again_and_one_that_denies_is_not(node: Node) -> None:
    """Nothing is loaded before the documents are known; old accounts give none to nodes."""

    class Failing(Bucket):
        def __init__(self, *errors: Exception) -> None:
            super().__init__([a_trust_document(a_key())])
            self.errors = list(errors)

        async def entries(self) -> list[Entry[TrustRecord]]:
            if self.errors:
                raise self.errors.pop(0)
            return await super().entries()

    keeper = await node.keeper()
    await keeper.join(Failing(RefusedError("not permitted")), lambda: 0.0)
    assert dict(keeper.trust().documents) == {}

    await keeper.join(Failing(FaultError("away"), FaultError("away")), lambda: 0.0)
    assert set(keeper.trust().documents) == {"public"}


async def test_namespaces_are_kept_side_by_side_and_told_to_their_own(node: Node) -> None:
    """What a private namespace trusts is no event for everybody."""
    documents = [a_trust_document(a_key()), a_trust_document(namespace="p_acme")]
    await (await node.keeper()).learn(Bucket(documents))

    assert set((await node.keeper()).trust().documents) == {"public", "p_acme"}
    assert node.said() == [("trust.learn", "public"), ("trust.learn", "p_acme")]


async def test_a_new_installation_begins_anew(node: Node) -> None:
    """Documents of another trust root bind nobody who does not know it."""
    await (await node.keeper()).learn(Bucket([a_trust_document(a_key())]))

    assert dict((await node.keeper(root=bytes(32))).trust().documents) == {}


async def test_mode_normal_is_said_at_every_start(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loudly, and each time."""
    for _ in range(2):
        assert (await node.keeper(mode="normal")).trust().mode == "normal"

    assert capsys.readouterr().out.count("trust_mode_normal") == 2
