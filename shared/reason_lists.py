# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""As many reasons as a refusal can carry, whoever wrote what is refused.

Pure.  A refusal names everything that is wrong; a hostile archive can have a hundred thousand
problems, and a refusal that is larger than a message would say nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from shared.canonical import canonical_bytes
from shared.errors import Reason, RefusedError
from shared.event_size import short_reason

MAX_REASONS: Final = 200
MAX_BYTES: Final = 64 * 1024
"""Of all reasons together, in canonical bytes."""


def bounded_reasons(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """The first reasons, large ones by place and rule alone; the others are counted in the last."""
    kept: list[Reason] = []
    left_bytes = MAX_BYTES
    left_out = 0
    for reason in reasons:
        if left_out or len(kept) == MAX_REASONS:
            left_out += 1
            continue
        short = short_reason(reason)
        left_bytes -= len(canonical_bytes(short))
        if left_bytes < 0:
            left_out += 1
        else:
            kept.append(short)
    if left_out:
        kept.append(Reason(path="", rule=f"and {left_out} more problems"))
    return tuple(kept)


def below(path: str, error: RefusedError) -> Iterator[Reason]:
    """Why something at `path` is refused: each reason with the path before its own."""
    for one in error.reasons or (Reason(path="", rule=error.message),):
        place = f"{path}.{one.path}" if one.path else path
        yield Reason(path=place, rule=one.rule, got=one.got, allowed=one.allowed)
