# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reasons where there is little room: in events and in the records of deployments.

Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.errors import Reason

REASON_BYTES: Final = 400
"""A reason over this goes without its values and with its texts cut."""
TEXT_CHARACTERS: Final = 160
"""Of a text that is cut."""


def short_reason(reason: Reason) -> Reason:
    """The reason; of a large one, where and which rule, as far as there is room."""
    if len(msgspec.json.encode(reason)) <= REASON_BYTES:
        return reason
    return Reason(path=reason.path[:TEXT_CHARACTERS], rule=reason.rule[:TEXT_CHARACTERS])
