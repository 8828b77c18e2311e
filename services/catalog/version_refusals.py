# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a command about one version of a package that the rules refuse."""

from __future__ import annotations

from typing import Any, Protocol

from shared.contracts.events import Audience, EventBody
from shared.errors import RefusedError
from shared.outbox_records import Decision


class OfVersion(Protocol):
    """A command that names a package and a version."""

    @property
    def name(self) -> str:
        """The package."""

    @property
    def version(self) -> str:
        """As it was written."""


def refused_of_version(
    action: str, request: OfVersion, error: RefusedError, *, audience: Audience
) -> Decision[Any]:
    """Recorded, and told to those who see the version."""
    refusal = error.refusal()
    event = EventBody(
        action=action,
        outcome="refused",
        package=request.name,
        version=request.version,
        reasons=refusal.reasons,
        details={"code": refusal.code, "message": refusal.message},
    )
    return Decision(refusal=refusal, events=(event,), audience=audience)
