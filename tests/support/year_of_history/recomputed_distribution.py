# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which archive went to whom, by a second reading of the stream.

Shares no code with the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.support.year_of_history.recomputed_log import Record

Archive = tuple[str, str, str, str]
"""Package, version, SHA-256, and the space it is of; everybody's: empty."""
Recipient = tuple[str, str]
"""Key and destination."""


def handed_out(
    records: Sequence[Record], *, since: str, until: str
) -> dict[Archive, dict[Recipient, dict[str, Any]]]:
    """How often each archive went to each recipient, when first and last, and by which records."""
    found: dict[Archive, dict[Recipient, dict[str, Any]]] = {}
    for record in records:
        event = record["event"]
        body = event["data"]
        if event["emitter"] != "catalog" or body["action"] != "package.distribute":
            continue
        if not since <= event["time"] < until:
            continue
        details = body["details"]
        space = "" if event["audience"] == "public" else event["audience"]
        archive = (body["package"], body["version"], details["archive_sha256"], space)
        recipient = (body["actor"]["key"], details.get("destination", ""))
        said = (event["time"], record["number"])
        seen = found.setdefault(archive, {}).setdefault(
            recipient, {"times": 0, "first": said, "last": said}
        )
        seen["times"] += 1
        seen["first"] = min(seen["first"], said)
        seen["last"] = max(seen["last"], said)
    return found
