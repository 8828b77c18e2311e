# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""That an archive is handed out to somebody, said once however many chunks it has.

Pure.

Rules:
 * Chunks of one version's archive that one caller asks for, to take it to one place, are one
   handing out, as long as LAPSE does not pass between them.
 * It is begun by whichever chunk is asked for first.
 * What nodes are given, to run it, is none: their events say what they run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, NamedTuple

from shared.contracts.catalog import PackageVersion
from shared.contracts.distribution import DISTRIBUTE
from shared.contracts.events import Actor, Audience, EventBody
from shared.dsse import manifest_digest

LAPSE: Final = timedelta(minutes=5)
"""Whoever asked for no chunk for longer begins anew."""


class Handing(NamedTuple):
    """One archive on its way to one place."""

    caller: str
    """Key."""
    space: Audience
    name: str
    version: str
    """Two versions may have the same archive."""
    destination: str


def handing_event(
    version: PackageVersion, *, size_bytes: int, destination: str, actor: Actor
) -> EventBody:
    """What the audit log says of it.

    Args:
        version: Whose archive it is.
        size_bytes: Of the archive.
        destination: Where it goes from there, in the caller's words.
        actor: Who was given it.
    """
    details: dict[str, Any] = {
        "archive_sha256": version.signed.archive_sha256,
        "manifest_sha256": manifest_digest(version.signed),
        "size_bytes": size_bytes,
        "licence": version.manifest.licence,
    }
    if destination:
        details["destination"] = destination
    return EventBody(
        action=DISTRIBUTE,
        outcome="succeeded",
        actor=actor,
        package=version.manifest.name,
        version=version.version,
        details=details,
    )
