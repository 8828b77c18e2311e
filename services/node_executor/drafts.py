# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains that were staged for a plan, remembered for some minutes to be explained and tried.

Pure.  Whoever asks names a draft by its digest, so nobody but the scheduler decides what a node
links; a draft that is forgotten is staged again by planning again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from shared.contracts.desired import DesiredChain
from shared.contracts.errors import ErrorCode
from shared.contracts.inspection import ChainExplanation, draft_digest
from shared.errors import Reason, RefusedError

DRAFT_SECONDS: Final = 600.0
MAX_DRAFTS: Final = 64
"""The oldest goes first; each is as large as a desired chain, some kilobytes."""


class UnknownDraftError(RefusedError):
    """The node remembers no such draft."""

    code: ClassVar[ErrorCode] = "not_found"


@dataclass(frozen=True, slots=True)
class KeptDraft:
    """One staged chain, and why it is linked as it is."""

    chain: DesiredChain
    explanation: ChainExplanation | None
    expires_at: float


class Drafts:
    """What was staged lately."""

    def __init__(self) -> None:
        """Nothing was."""
        self._kept: dict[str, KeptDraft] = {}

    def keep(
        self, chain: DesiredChain, explanation: ChainExplanation | None, *, now: float
    ) -> None:
        """The chain is remembered; `now` counts seconds and never goes back."""
        digest = draft_digest(chain)
        self._kept.pop(digest, None)
        self._kept[digest] = KeptDraft(chain, explanation, now + DRAFT_SECONDS)
        while len(self._kept) > MAX_DRAFTS:
            del self._kept[next(iter(self._kept))]

    def get(self, digest: str, *, now: float) -> KeptDraft:
        """The draft.

        Raises:
            UnknownDraftError: It was never staged here, or too long ago.
        """
        kept = self._kept.get(digest)
        if kept is None or kept.expires_at <= now:
            rule = "is not remembered by this node; plan the deployment again"
            raise UnknownDraftError(
                f"draft {digest[:16]} {rule}", [Reason(path="draft", rule=rule, got=digest)]
            )
        return kept
