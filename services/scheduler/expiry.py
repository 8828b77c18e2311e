# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a deployment's time is over, and what becomes of it then.

Pure.

Rules:
 * What is over when it is applied, or brought back, is refused.
 * When its time comes, the deployment says what: it is removed, which is the default, or an event
   says once for each revision that it is over, and it goes on.
 * A removal is for the generation that was over: a newer one, with another end, stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

import msgspec

from services.scheduler.desired_state import Fleet
from services.scheduler.remarks import remarks
from services.scheduler.wanted_places import current_revision
from shared.canonical import canonical_digest
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision, DeploymentSpec
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.errors import Reason, RefusedError
from shared.moments import read_time

ACTION: Final = "deployment.alarm"
AGAIN_SECONDS: Final = 600
"""How long a refused removal is not asked for again with the same answer."""
_ID_DIGITS: Final = 40


class ExpiryError(RefusedError):
    """The deployment's end is no moment, or is over."""

    code: ClassVar[ErrorCode] = "invalid_request"


@dataclass(frozen=True, slots=True)
class Expired:
    """A deployment whose time is over."""

    record: DeploymentRecord
    revision: DeploymentRevision

    @property
    def why(self) -> str:
        """As the event of its removal says it."""
        return f"its expiry {self.revision.spec.expiry} is over"

    @property
    def is_to_go(self) -> bool:
        """Whether it is removed; else it is only said."""
        return self.revision.spec.on_expiry == "remove"

    def command_id(self, now: datetime) -> str:
        """The same for the same deed, so that a scheduler that died does it once."""
        window = int(now.timestamp()) // AGAIN_SECONDS
        parts = [self.record.key, self.revision.revision, self.revision.spec.expiry, window]
        return f"expired-{canonical_digest(parts)[:_ID_DIGITS]}"


def check_expiry(spec: DeploymentSpec, *, at: str) -> None:
    """Nothing, if the deployment has no end or one that is to come.

    Args:
        spec: What is applied or brought back.
        at: When, RFC 3339.

    Raises:
        ExpiryError: Its end is no moment, or is over.
    """
    if not spec.expiry:
        return
    end = _end(spec)
    if end is None:
        reason = Reason(path="expiry", rule="is no moment", got=spec.expiry)
        raise ExpiryError(f"{spec.key}: expiry is no moment", [reason])
    if end <= read_time(at):
        reason = Reason(path="expiry", rule="is over", got=spec.expiry, allowed=f"later than {at}")
        raise ExpiryError(f"{spec.key}: its expiry {spec.expiry} is over", [reason])


def expired(fleet: Fleet, *, now: datetime) -> list[Expired]:
    """What there is to do now, by key: what shall go, and what is still to be said."""
    return [
        one
        for one, end in _ends(fleet)
        if end <= now and (one.is_to_go or one.record.expired != one.revision.revision)
    ]


def seconds_to_next(fleet: Fleet, *, now: datetime) -> float | None:
    """Until the next end of one that runs; None: none has an end that is to come."""
    left = [(end - now).total_seconds() for _, end in _ends(fleet) if end > now]
    return min(left, default=None)


def alarm(one: Expired) -> tuple[str, EventBody]:
    """The event, and the id under which it is said once.

    `details`: on_expiry, expiry and owner.
    """
    spec = one.revision.spec
    body = EventBody(
        action=ACTION,
        outcome="observed",
        deployment=one.record.key,
        package=spec.package,
        version=one.revision.version,
        hook=spec.hook,
        reason=one.why,
        details={
            "on_expiry": spec.on_expiry,
            "expiry": spec.expiry,
            "owner": spec.owner,
            **remarks(one.revision),
        },
    )
    return f"{one.record.key}.expired.{one.revision.revision}", body


def said(current: DeploymentRecord | None, one: Expired) -> DeploymentRecord | None:
    """The record as it is stored now, with the alarm noted; None: it moved on."""
    revision = current_revision(current)
    if current is None or revision is None or revision.revision != one.revision.revision:
        return None
    return msgspec.structs.replace(current, expired=revision.revision)


def _ends(fleet: Fleet) -> Iterator[tuple[Expired, datetime]]:
    for _, record in sorted(fleet.deployments.items()):
        revision = current_revision(record)
        end = _end(revision.spec) if revision is not None else None
        if revision is not None and end is not None:
            yield Expired(record, revision), end


def _end(spec: DeploymentSpec) -> datetime | None:
    try:
        return read_time(spec.expiry)
    except ValueError:
        return None
