# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What every event about a version that nobody vouches for says.

Pure.
"""

from __future__ import annotations

from typing import Any

from shared.contracts.catalog import PackageVersion


def remarks(version: PackageVersion) -> dict[str, Any]:
    """`unverified` for `details` of its events: what trust mode `normal` let pass, if it did."""
    warning = version.trust.warning if version.trust is not None else ""
    return {"unverified": warning} if warning else {}
