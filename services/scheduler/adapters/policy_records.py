# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The rollout policy as it is stored; the scheduler alone writes it."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from shared.adapters.bus import Bus
from shared.adapters.kv import Entry, KeyValue
from shared.adapters.watched_bus import StoredChange
from shared.contracts.rollout_policy import (
    NO_POLICY,
    POLICY_KEY,
    ROLLOUT_POLICY,
    RolloutPolicy,
    RolloutPolicyRecord,
)
from shared.errors import RefusedError

_log = structlog.get_logger()


class PolicyRecords:
    """The one policy, at hand."""

    def __init__(self, bus: Bus) -> None:
        """Nothing is read yet."""
        self._bucket: Final[KeyValue[RolloutPolicyRecord]] = bus.bucket(ROLLOUT_POLICY)
        self._entry: Entry[RolloutPolicyRecord] | None = None

    @property
    def record(self) -> RolloutPolicyRecord | None:
        """As it is stored; None: none was ever set."""
        return self._entry.value if self._entry is not None else None

    @property
    def policy(self) -> RolloutPolicy:
        """In force."""
        return self._entry.value.policy if self._entry is not None else NO_POLICY

    async def reread(self) -> int:
        """It is read anew; its revision, 0 if there is none.

        Credentials of an earlier release have no right to, and know none.

        Raises:
            FaultError: It could not be read.
        """
        try:
            read = await self._bucket.get(POLICY_KEY)
        except RefusedError as error:
            _log.warning("rollout_policy_not_read", why=error.message)
            return 0
        known = self._entry
        if read is None or known is None or read.revision > known.revision:
            self._entry = read
        return self._entry.revision if self._entry is not None else 0

    def note(self, change: StoredChange) -> None:
        """A command's change is known without reading it back."""
        record = msgspec.json.decode(change.data, type=RolloutPolicyRecord)
        self._entry = Entry(change.key, record, change.revision)
