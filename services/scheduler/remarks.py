# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What every event about a deployment of a version that nobody vouches for says.

Pure.
"""

from __future__ import annotations

from typing import Any

from shared.contracts.deployments import DeploymentRevision
from shared.trust.receipts import unverified


def remarks(revision: DeploymentRevision) -> dict[str, Any]:
    """`unverified` for `details` of its events: what trust mode `normal` let pass, if it did."""
    resolved = revision.resolved
    said = unverified(resolved.signed) if resolved is not None else ""
    return {"unverified": said} if said else {}
