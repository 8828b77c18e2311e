# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a moment is written down."""

from __future__ import annotations

from datetime import UTC, datetime


def render_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds and `Z`; of an aware moment."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
