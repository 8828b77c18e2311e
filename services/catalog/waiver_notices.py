# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said when a waiver nears its end, and of what it let through when it has ended.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from services.catalog.waiving import waiver_details
from shared.contracts.events import EventBody
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


def sayings(
    notice: Notice,
    waiver: Waiver,
    *,
    record: PackageRecord | None,
    in_force: Sequence[Waiver],
    now: datetime,
) -> Iterator[Saying]:
    """`waiver.warn`; or `waiver.end`, and `licence.violate` for each version that needs another.

    Args:
        notice: What is due.
        waiver: The waiver that it is about.
        record: The package that it is for; None: nothing is published under its name.
        in_force: The waivers that are.
        now: By the catalog's clock.
    """
    if notice.kind != ENDED:
        left = expiry_of(waiver) - now
        details = {**waiver_details(waiver), "hours_left": int(left.total_seconds() // 3600)}
        yield Saying(f"{waiver.id}.{notice.kind}", _body("waiver.warn", waiver, details=details))
        return
    details = {**waiver_details(waiver), "state": state_of(waiver, now=now)}
    yield Saying(f"{waiver.id}.{ENDED}", _body("waiver.end", waiver, details=details))
    for version in record.versions if record else ():
        subject = Subject(waiver.scope.package, version.version, version.archive_sha256)
        rule = waiver.scope.rule
        needs_it = rule in waived_rules(version.licences) and covers(waiver, rule, subject)
        if not needs_it or any(covers(one, rule, subject) for one in in_force):
            continue
        yield Saying(
            f"{waiver.id}.violate.{subject.archive_sha256[:_DIGEST_DIGITS]}",
            EventBody(
                action="licence.violate",
                outcome="observed",
                package=subject.package,
                version=subject.version,
                details={"waiver": waiver.id, "rules": [rule]},
            ),
        )


def told(waiver: Waiver, notice: Notice) -> Waiver:
    """The waiver once the notice was said."""
    return msgspec.structs.replace(waiver, told=(*waiver.told, notice.kind))


def _body(action: str, waiver: Waiver, *, details: dict[str, object]) -> EventBody:
    return EventBody(
        action=action, outcome="observed", package=waiver.scope.package, details=details
    )
