# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said when the installation has another licence policy."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from services.catalog.policy_replaying import (
    MAX_NAMED,
    Replayed,
    policy_in_force,
    replay_event,
    step_id,
)
from shared.contracts.policy_replay import REPLAY_CHANGES
from tests.package_builders import a_version
from tests.support.licensed_packages import policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_policy_is_another_one_by_its_content() -> None:
    """The same name and version with another rule is another; the same content is not."""
    first = policy_in_force(policy("gpl-ok"), None, now=NOW)
    assert first is not None
    assert first.changes == 0
    assert policy_in_force(policy("gpl-ok"), first, now=NOW) is None
    changed = msgspec.structs.replace(policy("gpl-ok"), outcomes={"texts-present": "refused"})
    second = policy_in_force(changed, first, now=NOW)
    assert second is not None
    assert (second.name, second.version, second.changes) == (first.name, first.version, 1)
    third = policy_in_force(policy("gpl-ok"), second, now=NOW)
    assert third is not None
    assert len({step_id(one) for one in (first, second, third)}) == 3


def test_the_event_counts_all_and_names_the_first() -> None:
    """Every change has its count, 0 too."""
    first = policy_in_force(policy("gpl-ok"), None, now=NOW)
    second = policy_in_force(policy("cncf"), first, now=NOW)
    assert first is not None
    assert second is not None
    found = Replayed()
    for number in range(MAX_NAMED + 5):
        found.take(a_version(f"1.0.{number}"), "would-refuse")
    found.take(a_version("2.0.0"), "same")
    body = replay_event(first, second, found)
    assert (body.before, body.after) == (first.sha256, second.sha256)
    assert body.details["versions"] == MAX_NAMED + 6
    assert body.details["counts"] == {
        **dict.fromkeys(REPLAY_CHANGES, 0),
        "would-refuse": MAX_NAMED + 5,
        "same": 1,
    }
    assert len(body.details["refused"]) == MAX_NAMED
