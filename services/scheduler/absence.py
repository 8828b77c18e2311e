# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes that are away mean for a command that concerns them.

Pure.

Rules:
 * A node that is silent is not asked to try its chains and stops no command: it is told what to
   run, like all others, and follows when it returns.  Whoever asks is warned.
 * A node that is alive and does not answer still does (`staging`): it could refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from services.scheduler.acceptance import Draft
from services.scheduler.liveness import Silence

SILENT_SHOWN: Final = 20
"""Nodes that are named in warnings; the others are counted."""


def without_silent(draft: Draft, silence: Callable[[str], Silence]) -> Draft:
    """The draft, to be staged on the nodes that are there, with a warning for each other one."""
    silences = {node: silence(node) for node in sorted(draft.staging)}
    silent = tuple(node for node, one in silences.items() if one.is_silent)
    if not silent:
        return draft
    warnings = [_warning(node, silences[node]) for node in silent[:SILENT_SHOWN]]
    if len(silent) > SILENT_SHOWN:
        warnings.append(f"{len(silent) - SILENT_SHOWN} more nodes are silent")
    return replace(
        draft,
        staging={node: one for node, one in draft.staging.items() if node not in silent},
        plan=msgspec.structs.replace(draft.plan, warnings=(*draft.plan.warnings, *warnings)),
        silent=silent,
    )


def _warning(node: str, silence: Silence) -> str:
    what = "it has not tried this, and gets it when it returns"
    if silence.is_unsteady:
        return f"{node} {silence.why}: {what}"
    if silence.seconds is None:
        return f"{node} was never heard by this scheduler: {what}"
    return f"{node} is silent for {silence.seconds:.0f} s: {what}"
