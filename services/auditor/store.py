# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a store of the log does, whatever it keeps the log in, and how it says that it cannot.

Pure: a Protocol and its errors.  One suite (`tests/integration/test_log_stores.py`) holds every
store to it.

Rules:
 * Rows, tree and place in the stream are one transaction: all of a batch is kept or nothing.
 * One process writes.  Who lost the log to another one can never commit again.
 * Every read is of one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, NamedTuple, Protocol

from services.auditor.admission import Admission, Gap, LogState
from services.auditor.checkpoint import TreeHead
from services.auditor.inventory import FoundRuns, FoundSightings
from services.auditor.merkle import Frontier, Hash, Node
from services.auditor.persons.erasing import Asked, Erased
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.records import Draft, render_time_us
from services.auditor.sightings import Sighting
from services.auditor.told_places import Range, RanSpans
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Audience, EventBody
from shared.contracts.inventory import HookPlace
from shared.errors import FaultError, Reason, RefusedError, VerificationError


class StoreFaultError(FaultError):
    """The disk or the database failed; nothing was kept, and the same may be kept later."""


class DamagedLogError(VerificationError):
    """The log that is kept is not the one that was written, or not the one that was signed."""


class SupersededError(FaultError):
    """Another auditor has taken the log over: this process must end, and keeps nothing more."""


class PrunedUntil(NamedTuple):
    """Up to when records may be missing, because they were pruned; microseconds since 1970."""

    through_us: int = 0
    """Records up to this time, by their emitters' clocks; 0: none was pruned."""
    ran_before_us: int = 0
    """What ran before this time is not known; 0: it is."""
    record: int = 0
    """The newest that says that something was pruned."""


class PrunedPastError(RefusedError):
    """What is asked about is not known any more."""

    code: ClassVar[ErrorCode] = "not_found"


class LogStore(Protocol):
    """The log of one origin.  Every method but the properties may raise StoreFaultError."""

    @property
    def state(self) -> LogState:
        """As of the last commit that this process knows of."""

    @property
    def size(self) -> int:
        """Leaves in the tree of `state`."""

    async def append(self, drafts: Sequence[Draft], *, after: int, now: datetime) -> Admission:
        """Keep the messages that are new, and the place in the stream, or nothing.

        Batches may be given one after another without waiting; they are kept in that order.

        Args:
            drafts: In stream order.
            after: The last stream sequence that was given before; if that was not kept, this is
                not kept either.
            now: When they were received.

        Raises:
            StoreFaultError: Nothing was kept, or the store does not know yet whether it was; then
                the next call finds out, and `state` says it.
            SupersededError: Nothing was kept.
        """

    async def start_stream(self, stream_id: str, *, last_sequence: int) -> Admission:
        """Go on from the beginning of a stream that is not the one read so far."""

    async def keep_checkpoint(
        self, size: int, note: str, *, signed_at: datetime, receipts: str = ""
    ) -> None:
        """Keep the signed head of the first `size` leaves.

        Args:
            size: Leaves that it covers.
            note: The signed head.
            signed_at: When it was signed.
            receipts: What was signed beside it (`receipts.sign_receipts`); empty: nothing.
        """

    async def replace_note(self, size: int, note: str) -> None:
        """The head of so many leaves, which is kept, has this note: it says the same."""

    async def newest_checkpoint(self) -> tuple[int, str] | None:
        """Size and note of the newest signed head; None if none was kept."""

    async def unannounced_gaps(self) -> list[tuple[int, Gap]]:
        """Gaps that were not said yet, with their numbers, oldest first."""

    async def mark_announced(self, number: int) -> None:
        """The gap with this number was said."""

    async def page(self, query: RecordQuery) -> tuple[list[StoredRecord], int, bool]:
        """Matching records in the query's order; the tree's size; and whether more match."""

    async def record(self, index: int) -> StoredRecord | None:
        """One record; None if there is none at this index."""

    async def of_actions(
        self, actions: Sequence[str], *, emitter: str = "", first: int = 0, stop: int | None = None
    ) -> list[StoredRecord]:
        """Believed records with one of the actions, oldest first.

        Args:
            actions: Each exactly.
            emitter: Of this one alone; empty: of all.
            first: Only indexes from here.
            stop: Only indexes before this one; None: all.  The range bounds what is read at once.
        """

    async def kept(self, indexes: Sequence[int]) -> list[StoredRecord]:
        """Records as the store keeps them, by index: for an archive, and not to be shown."""

    async def leaves(self, first: int, stop: int) -> list[bytes]:
        """The leaves from index `first` to before `stop`, which is at most the tree's size."""

    async def hashes(self, nodes: Sequence[Node]) -> list[Hash]:
        """Hashes of complete subtrees, in the order asked."""

    async def sightings(
        self, at_us: int, *, audiences: frozenset[Audience], node: str, after: HookPlace | None
    ) -> FoundSightings:
        """The newest words on hook points up to a moment, the tree's size, whether that is all.

        Raises PrunedPastError if that is not known any more.

        By place, a node's word on itself first.  They are found by an index that is written in the
        transaction of the rows and holds nothing that the rows do not say.

        Args:
            at_us: Microseconds since 1970, by the emitters' clocks.
            audiences: Only what was told to these; it is as if nothing else had been said.
            node: Empty: every node.
            after: Only places behind this one.
        """

    async def runs(
        self, digest: str, *, audiences: frozenset[Audience], after: HookPlace | None
    ) -> FoundRuns:
        """Every sighting of a digest on the next places, the tree's size, whether that is all."""

    async def spans(
        self, asked: Range, *, audiences: frozenset[Audience], wanted: Callable[[str], bool]
    ) -> RanSpans:
        """What ran within a range of time, as these audiences were told.

        Raises PrunedPastError if that is not known any more of all of it.

        At each moment it is what `sightings` of that moment come to.

        Args:
            asked: By the emitters' clocks.
            audiences: It is as if nothing else had been said.
            wanted: Whether a node of this name is meant.
        """

    async def standing(self, said: Sequence[tuple[Sighting, int]]) -> frozenset[int]:
        """Records without which it would not be known what ran at the given times and since.

        Args:
            said: What records say of hook points, each with a time, microseconds since 1970.
        """

    async def prune(self, record: int) -> int:
        """What this record says is pruned, but for what is held; how many records.

        Of each remains what `retention.remains` says.  Nothing is pruned that no believed
        `log.prune` of the auditor names, and carrying it out again changes nothing.

        Raises:
            LookupError: The record says no such thing.
        """

    async def carried_out(self) -> frozenset[int]:
        """Records that said prunings which were carried out."""

    async def pruned_until(self, audiences: frozenset[Audience]) -> PrunedUntil:
        """Up to when records of these audiences may be missing."""

    async def root(self, size: int) -> Hash:
        """Root of the first `size` leaves, `size` being at most the tree's."""

    async def inclusion(self, index: int, size: int) -> tuple[Hash, ...]:
        """Audit path of a leaf in the tree of the first `size` leaves."""

    async def consistency(self, old_size: int, new_size: int) -> tuple[Hash, ...]:
        """Proof that the smaller tree is a prefix of the larger one."""

    async def erase(self, asked: Asked) -> Erased:
        """Somebody is in no record, in no table and in no file of the store when this returns.

        What is to be said of it is kept with it.  Nothing else is kept meanwhile.

        Raises:
            RefusedError: As `asked.check` says; nothing is changed.
        """

    async def unsaid_erasures(self) -> list[tuple[int, EventBody]]:
        """Erasures that were not said yet, with their numbers, oldest first."""

    async def mark_erasure_said(self, number: int) -> None:
        """The erasure with this number was said."""

    async def check_against(self, head: TreeHead) -> None:
        """The log still begins with what `head` committed to.

        Raises:
            DamagedLogError: It is smaller, or another one: it was rolled back or altered.
        """

    async def check_every_leaf(self) -> None:
        """Rows and tree belong together, every leaf hashed anew.

        Raises:
            DamagedLogError: They do not.
        """

    async def hold(self) -> None:
        """Never returns: while it runs, nobody takes the log for given up.

        Raises:
            SupersededError: Another auditor has taken it all the same.
        """

    async def aclose(self) -> None:
        """What is being written is finished, and the log is let go of."""


def check_ran(until: PrunedUntil, at_us: int) -> None:
    """What ran at a moment, microseconds since 1970, is known, and since.

    Raises:
        PrunedPastError: Records that said it were pruned.
    """
    if at_us >= until.ran_before_us:
        return
    since = render_time_us(until.ran_before_us)
    reason = Reason(path="at", rule="records that said what ran were pruned", allowed=since)
    raise PrunedPastError(
        f"what ran before {since} is not known: records that said it were pruned "
        f"(the newest word on that is record {until.record})",
        [reason],
    )


def check_parts(*, size: int, root: Hash, count: int, last: int | None, frontier: Frontier) -> None:
    """Rows, tree and root belong together, as far as can be told without hashing every leaf.

    Args:
        size: Leaves, as the log says.
        root: Of the tree, as the log says.
        count: Records that there are.
        last: The highest index of a record; None if there is none.
        frontier: Read from the tiles.

    Raises:
        DamagedLogError: They do not.
    """
    if count != size or last != (size - 1 if size else None):
        raise DamagedLogError(f"the log says it has {size} records and holds {count}")
    if frontier.root() != root:
        raise DamagedLogError("the tree does not lead to the log's root")


def check_size(head: TreeHead, *, size: int) -> None:
    """A log of `size` leaves can be the one that `head` is of.

    Raises:
        DamagedLogError: It is smaller.
    """
    if size < head.size:
        raise DamagedLogError(
            f"the log holds {size} records, but its signed checkpoint speaks of {head.size}: "
            "it was rolled back"
        )


def check_root(head: TreeHead, *, root: Hash) -> None:
    """The first leaves of the log, which lead to `root`, are those that were signed.

    Raises:
        DamagedLogError: They are not.
    """
    if root != head.root:
        raise DamagedLogError(f"the first {head.size} records are not those that were signed")
