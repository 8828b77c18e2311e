# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents on the bus: set by commands, shown to those who see their namespace."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, Protocol

import structlog

from services.catalog.trusting import decide_document
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.catalog import DsseEnvelope
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Audience
from shared.contracts.trust import (
    GET_TRUST,
    SET_TRUST,
    TRUST,
    GetTrust,
    SetTrust,
    TrustDocument,
    TrustRecord,
    TrustSet,
    TrustShown,
)
from shared.contracts.trust_notes import TrustMode
from shared.dsse import public_key_of
from shared.errors import FaultError, Reason, RefusedError
from shared.outbox_records import Decision
from shared.trust.documents import open_document
from shared.trust.packages import Trust

_log = structlog.get_logger()


class UnknownDocumentError(RefusedError):
    """The namespace has no trust document, or the caller does not see the namespace."""

    code: ClassVar[ErrorCode] = "not_found"


class UnreadableTrustError(FaultError):
    """What is stored is not by this installation's trust root."""


class Seen(Protocol):
    """Who sees what."""

    async def sees(self, name: str, audience: Audience) -> bool:
        """Whether the principal of that name sees this audience."""


class TrustDocuments:
    """One document a namespace; commands replace them through the outbox."""

    def __init__(
        self,
        bus: Bus,
        outbox: Outbox,
        *,
        trust_root: bytes,
        clock_seed: bytes,
        mode: TrustMode,
        spaces: Seen,
    ) -> None:
        """Says so, loudly, if signatures do not matter here.

        Args:
            bus: The catalog's.
            outbox: The catalog's.
            trust_root: The installation's Ed25519 public key, 32 raw bytes.
            clock_seed: Of the catalog's receipts.
            mode: As configured.
            spaces: Who sees which namespace.
        """
        self._bucket: Final[KeyValue[TrustRecord]] = bus.bucket(TRUST)
        self._trust_root: Final = trust_root
        self.clock_seed: Final = clock_seed
        self._mode: Final[TrustMode] = mode
        self._spaces: Final = spaces
        self._set: Final = outbox.command(SET_TRUST, self.set_trust)
        self._opened: Final[dict[str, TrustDocument]] = {}
        """By the payload of its envelope, so that a signature is verified once."""
        if mode == "normal":
            _log.warning("trust_mode_normal", what="packages that nobody signed are published")

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {SET_TRUST: self._set, GET_TRUST: self.get_trust}

    async def set_trust(
        self, request: SetTrust, _caller: Caller, command_id: str, _now: datetime
    ) -> Decision[TrustSet]:
        """The document is in force, or the refusal why not."""
        offered = open_document(request.document, trust_root=self._trust_root)
        snapshot = await self._bucket.snapshot()
        entry = snapshot.entries.get(offered.namespace)
        kept = self._open(entry.value.document) if entry else None
        return decide_document(
            kept, offered, request.document, command_id=command_id, sequence=snapshot.sequence
        )

    async def get_trust(self, request: GetTrust, caller: Caller) -> TrustShown:
        """As the trust root signed it."""
        entry = None
        if await self._spaces.sees(caller.name, request.namespace):
            entry = await self._bucket.get(request.namespace)
        if entry is None:
            reason = Reason(path="namespace", rule="has no trust document", got=request.namespace)
            raise UnknownDocumentError(f"{request.namespace}: {reason.rule}", [reason])
        clock = public_key_of(self.clock_seed).hex()
        return TrustShown(document=entry.value.document, mode=self._mode, clock=clock)

    async def trust(self) -> Trust:
        """Whom to believe now.

        Raises:
            FaultError: It cannot be read.
        """
        try:
            snapshot = await self._bucket.snapshot()
        except RefusedError as error:
            # Credentials of an earlier release have no right to read them.
            _log.warning("trust_documents_not_read", why=error.message)
            return Trust(root=self._trust_root, mode=self._mode)
        opened = [self._open(entry.value.document) for entry in snapshot.entries.values()]
        return Trust(
            root=self._trust_root,
            documents={one.namespace: one for one in opened},
            mode=self._mode,
        )

    def _open(self, envelope: DsseEnvelope) -> TrustDocument:
        opened = self._opened.get(envelope.payload)
        if opened is None:
            try:
                opened = open_document(envelope, trust_root=self._trust_root)
            except RefusedError as error:
                raise UnreadableTrustError(f"a stored trust document: {error.message}") from error
            self._opened[envelope.payload] = opened
        return opened
