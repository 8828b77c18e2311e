# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Is every signed head one of this tree?  Then each is consistent with every other one.

Pure.  A head that somebody else kept (a witness, a node, a file) shows what the log's own heads
cannot: that the last records are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from services.auditor.checkpoint import CheckpointError, TreeHead, VerifierKey, open_checkpoint
from services.auditor.log_keys import open_statement
from services.auditor.merkle import EMPTY_ROOT, Hash
from services.auditor.receipts import open_receipts
from services.auditor.verification.problems import Problem, shown
from services.auditor.verification.receipts import Mark


class KeptHead(NamedTuple):
    """A signed head, and where it was found."""

    note: str
    where: str
    """Empty: among the log's own."""
    size: int | None = None
    """What it is kept under; None if it is not kept by size."""
    signed_us: int = 0
    """When it was signed, as the log keeps it."""
    receipts: str = ""
    """What was signed beside it; empty: nothing."""


def check_head(
    kept: KeptHead, *, size: int, keys: Sequence[VerifierKey], root_of: Callable[[int], Hash]
) -> list[Problem]:
    """What is wrong with a head, given the tree's size and root at every smaller size."""
    at = str(kept.size) if kept.size is not None else ""
    source = f"the one in {kept.where}: " if kept.where else ""
    try:
        kept.note.encode()
        head = open_signed(kept.note, keys)
    except UnicodeEncodeError:
        return [Problem("checkpoint", at, "note", f"{source}it is not UTF-8")]
    except CheckpointError as error:
        return [Problem("checkpoint", at, "note", f"{source}{error.message}")]
    problems = []
    if kept.size is not None and head.size != kept.size:
        why = f"it is {kept.size} where the signed note says {head.size}"
        problems.append(Problem("checkpoint", at, "size", why))
    if head.size > size:
        gone = head.size - size
        why = f"{source}the log has {size} records: the last {gone} that were signed are gone"
        problems.append(Problem("checkpoint", str(head.size), "size", why))
    elif (root_of(head.size) if head.size else EMPTY_ROOT) != head.root:
        why = f"{source}the first {head.size} records are not those that were signed"
        problems.append(Problem("checkpoint", str(head.size), "root", why))
    return problems


def check_statement(
    kept: KeptHead, keys: Sequence[VerifierKey]
) -> tuple[Mark | None, list[Problem]]:
    """What is signed of receipts beside one of the log's own heads, and what is wrong with it."""
    if not kept.receipts or kept.size is None:
        return None, []
    at = str(kept.size)
    failure = CheckpointError("there is no key to verify it with")
    for key in keys:
        try:
            kept.receipts.encode()
            said = open_receipts(kept.receipts, key=key)
        except (CheckpointError, UnicodeEncodeError) as error:
            failure = CheckpointError(str(error))
            continue
        problems = [
            Problem("checkpoint", at, field, f"it is {got} where the signed statement says {right}")
            for field, got, right in (
                ("size", kept.size, said.size),
                ("signed_us", kept.signed_us, said.signed_us),
            )
            if got != right
        ]
        return Mark(said.receipts, said.size, f"checkpoint {at}"), problems
    return None, [Problem("checkpoint", at, "receipts", failure.message)]


def related_keys(
    trusted: Sequence[VerifierKey], statements: Iterable[tuple[int, str]]
) -> tuple[tuple[VerifierKey, ...], list[Problem]]:
    """The keys that signed the log, given those that are trusted, and statements that are none.

    Both keys sign a statement, so each vouches for the other, whichever is trusted.

    Args:
        trusted: As whoever verifies knows them.
        statements: Each with the index of its record.
    """
    keys, problems, pairs = list(trusted), [], []
    for index, note in statements:
        try:
            statement = open_statement(note)
        except CheckpointError as error:
            problems.append(Problem("record", str(index), "body", error.message))
        else:
            pairs.append((statement.old, statement.new))
    for old, new in (*pairs, *reversed(pairs)):
        for known, other in ((old, new), (new, old)):
            if known in keys and other not in keys:
                keys.append(other)
    return tuple(keys), problems


def open_signed(note: str, keys: Sequence[VerifierKey]) -> TreeHead:
    """The head, once one of the log's keys is known to have signed it.

    Raises:
        CheckpointError: None of them did.
    """
    failure = CheckpointError("there is no key to verify it with")
    for key in keys:
        try:
            return open_checkpoint(note, key=key)
        except CheckpointError as error:
            failure = error
    raise failure


def check_unstated(heads: Sequence[KeptHead], *, said: bool) -> list[Problem]:
    """Heads without a signed word on receipts, or with times that do not grow as the log does.

    Args:
        heads: The log's own, by size.
        said: Whether a record speaks of receipts: then each head from the first one with such a
            word on has one.
    """
    problems = []
    first = next((at for at, head in enumerate(heads) if head.receipts), len(heads))
    for before, head in pairwise(heads[:first]):
        if head.signed_us < before.signed_us:
            why = f"it is {shown(head.signed_us)}, before that of checkpoint {before.size}"
            problems.append(Problem("checkpoint", str(head.size), "signed_us", why))
    if said and first == len(heads):
        problems.append(Problem("checkpoint", "", "receipts", "none has a signed word on them"))
    problems += [
        Problem("checkpoint", str(head.size), "receipts", "it is gone")
        for head in heads[first:]
        if not head.receipts
    ]
    return problems
