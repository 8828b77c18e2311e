# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What was found out about a version's signatures, kept with the version."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Message
from shared.contracts.events import Audience
from shared.errors import Reason

TrustMode = Literal["trusted", "normal"]
"""`trusted`: what is not signed as it must be is refused.  `normal`: it is let pass, and said."""


class TrustNote(Message, frozen=True, kw_only=True):
    """By whom it is signed, and what was wrong with that."""

    mode: TrustMode
    namespace: Audience
    """Whose keys counted."""
    document: int = 0
    """Version of the trust document that said which; 0: the trust root's certificate did."""
    signers: tuple[str, ...] = ()
    """Names of those whose signatures counted, ascending."""
    problems: tuple[Reason, ...] = ()
    """What mode `normal` let pass; none: the signatures are as they must be."""

    @property
    def warning(self) -> str:
        """One sentence for whoever is about to use it; empty: there is nothing to say."""
        if not self.problems:
            return ""
        return f"NOT VERIFIED (trust mode normal): {self.problems[0].path}: {self.problems[0].rule}"
