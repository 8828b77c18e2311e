# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is remembered of drift at one hook point: what was said, and what was accepted.

Pure.
"""

from __future__ import annotations

import msgspec

from shared.contracts.base import Message
from shared.contracts.drift import ObservedDrift


class KnownDrift(Message, frozen=True, kw_only=True):
    """Drift that is there and was said."""

    identity: str
    """What makes it another occurrence when it changes."""
    seen: ObservedDrift


class AdoptedMap(Message, frozen=True, kw_only=True):
    """Entries that somebody else wrote into a configured map, and that were accepted.

    They hold until the deployment's own entries of the map change, or the instance gets another
    map.
    """

    deployment: str
    name: str
    map_id: int
    config_sha256: str
    """Of the map's configuration when they were accepted."""
    entries: dict[str, str | None]
    """Key to value, hexadecimal, as the kernel has them, where they differ from the configuration;
    null: there is no such entry."""
    event_id: str = ""

    @property
    def seen(self) -> ObservedDrift:
        """As it is reported for as long as it holds."""
        return ObservedDrift(
            kind="map-changed",
            subject=f"{self.deployment}/{self.name}",
            done="adopted",
            found={"entries": len(self.entries)},
            event_id=self.event_id,
        )


class DriftRecord(Message, frozen=True, kw_only=True):
    """One hook point."""

    known: tuple[KnownDrift, ...] = ()
    """As of the last look."""
    count: int = 0
    """How often drift was found; makes event ids."""
    adopted: tuple[AdoptedMap, ...] = ()
    neighbours: tuple[int, ...] | None = None
    """Programs of other owners that belong on the hook: those that were there at the last change,
    and those that were accepted.  None: not known yet."""
    interface_index: int = 0
    """Of the interface that the chain was put on; 0: not known."""

    @property
    def seen(self) -> tuple[ObservedDrift, ...]:
        """What is reported now."""
        return (*(one.seen for one in self.known), *(one.seen for one in self.adopted))

    def has(self, kind: str, subject: str, identity: str) -> KnownDrift | None:
        """The same drift, if it was said."""
        wanted = (kind, subject, identity)
        return next(
            (
                one
                for one in self.known
                if (one.seen.kind, one.seen.subject, one.identity) == wanted
            ),
            None,
        )

    def after_removal(self) -> DriftRecord:
        """Once nothing of ours is there."""
        return DriftRecord(count=self.count)

    def after_attaching(self, neighbours: tuple[int, ...], interface_index: int) -> DriftRecord:
        """Once a program was put on the hook: all of it is as it shall be."""
        return msgspec.structs.replace(
            self, known=(), neighbours=neighbours, interface_index=interface_index
        )

    def after_configuring(self) -> DriftRecord:
        """Once entries were written."""
        known = tuple(one for one in self.known if one.seen.kind != "map-changed")
        return msgspec.structs.replace(self, known=known)
