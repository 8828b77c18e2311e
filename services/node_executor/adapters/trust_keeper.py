# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whom this node believes: the newest trust document that it ever saw of each namespace.

Rules:
 * A document is on the node's disk before it counts.
 * An older one, or one that the trust root did not sign, is refused, and the journal says so once;
   what was known before goes on counting.  One that is not offered any more is not forgotten.
 * Nothing is loaded for a bus that was not asked for its documents first, unless it has none or
   its accounts, of an earlier release, let no node read them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
import structlog

from services.node_executor.events import (
    sight_event_id,
    trust_learnt_body,
    trust_refused_body,
)
from services.node_executor.staging import Thread
from shared.adapters.kv import Entry
from shared.canonical import canonical_digest
from shared.contracts.catalog import DsseEnvelope
from shared.contracts.events import Audience, EventBody
from shared.contracts.trust import TrustDocument, TrustRecord
from shared.contracts.trust_notes import TrustMode
from shared.errors import FaultError, RefusedError
from shared.trust.documents import document_digest, is_newer, open_document
from shared.trust.packages import Trust

_SETTING: Final = "trust_documents"
_REFUSED: Final = "trust_refused"
"""The last document that was refused."""
_DECODER: Final = msgspec.json.Decoder(dict[str, DsseEnvelope])

log = structlog.get_logger()


class Store(Protocol):
    """What survives this process."""

    def setting(self, name: str) -> str:
        """Empty: none was kept."""

    def keep_setting(
        self,
        name: str,
        value: str,
        entries: list[tuple[str, EventBody]],
        *,
        audience: Audience,
    ) -> None:
        """On the disk, with what is said of it."""


class Records(Protocol):
    """The bucket of trust documents."""

    async def entries(self) -> list[Entry[TrustRecord]]:
        """All of them."""

    async def follow(
        self,
        key_filter: str,
        handler: Callable[[str, TrustRecord | None, int], Awaitable[None]],
    ) -> object:
        """The handler is told of each that is there, and of each that comes."""


class TrustKeeper:
    """One node's."""

    def __init__(
        self, *, node: str, trust_root: bytes, mode: TrustMode, thread: Thread, store: Store
    ) -> None:
        """Nothing is known yet.  Says so, loudly, if signatures do not matter here.

        Args:
            node: Its name.
            trust_root: The installation's Ed25519 public key, 32 raw bytes.
            mode: As configured.
            thread: The store's.
            store: The node's.
        """
        self._node: Final = node
        self._thread: Final = thread
        self._store: Final = store
        self._envelopes: dict[Audience, DsseEnvelope] = {}
        self._trust = Trust(root=trust_root, mode=mode)
        if mode == "normal":
            log.warning("trust_mode_normal", node=node, what="programs that nobody signed are run")

    def trust(self) -> Trust:
        """Whom to believe now; another object once anything changed."""
        return self._trust

    async def open(self) -> None:
        """What was known when the process ended is known.

        Raises:
            FaultError: The store failed.
        """
        text = await self._thread(self._store.setting, _SETTING)
        documents: dict[Audience, TrustDocument] = {}
        for namespace, envelope in (_DECODER.decode(text) if text else {}).items():
            try:
                documents[namespace] = open_document(envelope, trust_root=self._trust.root)
            except RefusedError as error:
                # Of another installation: nobody else could have written it here.
                log.error("trust_document_dropped", why=error.message)  # noqa: TRY400
            else:
                self._envelopes[namespace] = envelope
        self._trust = Trust(root=self._trust.root, documents=documents, mode=self._trust.mode)

    async def join(self, records: Records, pause_seconds: Callable[[], float]) -> None:
        """What the bus has is known, and followed from now on.

        Args:
            records: The bus's.
            pause_seconds: How long to wait before the bus is asked again.
        """
        while True:
            try:
                await self.learn(records)
                await records.follow(">", self.offered)
            except RefusedError as error:
                log.warning("trust_documents_not_read", why=error.message)
                return
            except FaultError as fault:
                log.warning("learning_failed", why=fault.message)
                await asyncio.sleep(pause_seconds())
            else:
                return

    async def learn(self, records: Records) -> None:
        """What the bus has is known, as far as it is newer.

        Raises:
            FaultError: The bus, or the store, failed.
            RefusedError: The bus lets no node read them: its accounts are of an earlier release.
        """
        for entry in await records.entries():
            await self.offered(entry.key, entry.value, entry.revision)

    async def offered(self, key: str, record: TrustRecord | None, _revision: int) -> None:
        """The document counts from now on, if it is newer.

        Raises:
            FaultError: It could not be kept; it does not count.
        """
        if record is None:
            return
        try:
            document = open_document(record.document, trust_root=self._trust.root)
            before = self._trust.documents.get(document.namespace)
            if not is_newer(document, before):
                return
        except RefusedError as error:
            await self._refuse(key, record.document, error)
            return
        await self._keep(document, record.document, before)

    async def _keep(
        self, document: TrustDocument, envelope: DsseEnvelope, before: TrustDocument | None
    ) -> None:
        envelopes = {**self._envelopes, document.namespace: envelope}
        body = trust_learnt_body(node=self._node, before=before, after=document)
        event_id = self._event_id(body.action, document_digest(document))
        value = msgspec.json.encode(envelopes).decode()
        await self._thread(
            self._store.keep_setting,
            _SETTING,
            value,
            [(event_id, body)],
            audience=document.namespace,
        )
        self._envelopes = envelopes
        documents = {**self._trust.documents, document.namespace: document}
        self._trust = Trust(root=self._trust.root, documents=documents, mode=self._trust.mode)
        log.info("trust_document_learnt", namespace=document.namespace, version=document.version)

    async def _refuse(
        self, namespace: Audience, envelope: DsseEnvelope, error: RefusedError
    ) -> None:
        log.error("trust_document_refused", why=error.message)
        digest = canonical_digest(envelope)
        body = trust_refused_body(node=self._node, sha256=digest, refusal=error.refusal())
        event_id = self._event_id(body.action, digest)
        await self._thread(
            self._store.keep_setting,
            _REFUSED,
            digest,
            [(event_id, body)],
            audience=namespace,
        )

    def _event_id(self, action: str, digest: str) -> str:
        return sight_event_id(self._node, "trust", action, occasion=digest)
