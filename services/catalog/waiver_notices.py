# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said when a waiver nears its end, and of what it let through when it has ended.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from services.catalog.waiving import waiver_details
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.package_records import PackageRecord
from shared.contracts.waivers import Waiver
from shared.licensing.waivers import (
    ENDED,
    Notice,
    Subject,
    covers,
    expiry_of,
    state_of,
    waived_rules,
)

_DIGEST_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Saying:
    """One event, and the id under which it is said once."""

    event_id: str
    body: EventBody
    space: Audience
    """Whom it is for, as long as that is not everybody."""


def sayings(
    notice: Notice,
    waiver: Waiver,
    *,
    records: Iterable[PackageRecord],
    in_force: Sequence[Waiver],
    now: datetime,
) -> Iterator[Saying]:
    """`waiver.warn`; or `waiver.end`, and `licence.violate` for each version that needs another.

    Args:
        notice: What is due.
        waiver: The waiver that it is about.
        records: The package that it is for, as it is in each space.
        in_force: The waivers that are.
        now: By the catalog's clock.
    """
    if notice.kind != ENDED:
        left = expiry_of(waiver) - now
        details = {**waiver_details(waiver), "hours_left": int(left.total_seconds() // 3600)}
        body = _body("waiver.warn", waiver, details=details)
        yield Saying(f"{waiver.id}.{notice.kind}", body, waiver.scope.space)
        return
    details = {**waiver_details(waiver), "state": state_of(waiver, now=now)}
    body = _body("waiver.end", waiver, details=details)
    yield Saying(f"{waiver.id}.{ENDED}", body, waiver.scope.space)
    for version in (one for record in records for one in record.versions):
        archive, space = version.archive_sha256, version.space
        subject = Subject(waiver.scope.package, version.version, archive, space)
        rule = waiver.scope.rule
        needs_it = rule in waived_rules(version.licences) and covers(waiver, rule, subject)
        if not needs_it or any(covers(one, rule, subject) for one in in_force):
            continue
        own = "" if space == PUBLIC else f".{space}"
        yield Saying(
            f"{waiver.id}.violate.{archive[:_DIGEST_DIGITS]}{own}",
            EventBody(
                action="licence.violate",
                outcome="observed",
                package=subject.package,
                version=subject.version,
                details={"waiver": waiver.id, "rules": [rule]},
            ),
            space,
        )


def told(waiver: Waiver, notice: Notice) -> Waiver:
    """The waiver once the notice was said."""
    return msgspec.structs.replace(waiver, told=(*waiver.told, notice.kind))


def _body(action: str, waiver: Waiver, *, details: dict[str, object]) -> EventBody:
    return EventBody(
        action=action, outcome="observed", package=waiver.scope.package, details=details
    )
