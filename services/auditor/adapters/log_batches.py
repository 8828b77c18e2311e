# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Batches that are decided, and made into rows, while those before them are being kept.

A batch goes on from the log as it will be once the ones before are kept.  Only a supposition: who
keeps a batch compares what it was made from with the log as it is, and has it made anew if they are
not the same.  So nothing that was supposed is ever kept, and only time is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from services.auditor.adapters.log_rows import Row
from services.auditor.admission import Admission, EventKey, LogState, Record, admit
from services.auditor.persons.masking import Masking
from services.auditor.persons.vault import Seals, Vault
from services.auditor.records import Draft
from services.auditor.store import StoreFaultError

_NONE_KNOWN: Final[Mapping[EventKey, bytes]] = {}


class Given(NamedTuple):
    """What a store was asked to keep."""

    drafts: Sequence[Draft]
    """In stream order."""
    after: int
    """The last stream sequence before them."""
    received_us: int
    """When they were received."""


class Batch(NamedTuple):
    """What is to be kept, and what it was made from."""

    base: LogState
    """Of the log before."""
    admission: Admission
    rows: list[Row]
    seals: Seals
    """Persons' words that the rows have tokens of."""
    generation: int
    """Of the vault: what was made before somebody was forgotten is made anew."""


class Batches:
    """Makes the batches of one log, in the order in which they are to be kept."""

    def __init__(self, row_of: Callable[[Record, int], Row], vault: Vault) -> None:
        self._row_of: Final = row_of
        self._vault: Final = vault
        self._thread: Final = ThreadPoolExecutor(1, thread_name_prefix="log-batches")
        self._ahead: LogState | None = None
        """What the batch that was made last leads to."""

    async def ahead(self, state: LogState, given: Given) -> Batch | None:
        """The next batch, made by another thread; None if it is not known what it goes on from.

        Args:
            state: Of the log as far as it is kept.
            given: What the batch is to hold.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._make_ahead, state, given
        )

    def make(
        self, base: LogState, given: Given, known: Mapping[EventKey, bytes] = _NONE_KNOWN
    ) -> Batch:
        """The batch that goes on from `base`, as `admit` decides it."""
        drafts, _, received_us = given
        admission = admit(base, drafts, known, received_us=received_us)
        self._ahead = admission.state
        row_of, vault, seals = self._row_of, self._vault, Seals()
        generation = vault.generation
        masking = Masking(vault, seals)
        rows = [masking.row(record, row_of(record, received_us)) for record in admission.records]
        return Batch(base, admission, rows, seals, generation)

    def settled(self, state: LogState, given: Given, made: Batch | None) -> Batch:
        """The batch that goes on from the log as it is: the one that was made, if that is it.

        Raises:
            StoreFaultError: What came before was not kept.
        """
        if state.stream_sequence != given.after:
            raise StoreFaultError(f"what came before stream sequence {given.after} was not kept")
        if made is None or made.base is not state or made.generation != self._vault.generation:
            return self.make(state, given)
        return made

    def close(self) -> None:
        """What is being made is finished."""
        self._thread.shutdown()

    def _make_ahead(self, state: LogState, given: Given) -> Batch | None:
        for base in (self._ahead, state):
            if base is not None and base.stream_sequence == given.after:
                return self.make(base, given)
        return None
