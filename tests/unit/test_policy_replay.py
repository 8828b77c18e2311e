# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What another policy would have said of a history that was recorded."""

from __future__ import annotations

from typing import Any

import msgspec

from services.auditor.reporting.policy_replay import (
    History,
    KnownVersion,
    VersionKey,
    policy_replay,
    replay_csv,
    replay_html,
)
from shared.contracts.audit import AuditRecord
from shared.contracts.events import PUBLIC
from shared.contracts.policy_replay import PolicyReplay, ReplayChange
from shared.errors import Reason
from shared.licensing.replay import facts_of
from shared.licensing.verdict import check_licences, refusals
from shared.moments import render_time
from tests.support.compliance import Story, archive_of, moment
from tests.support.licensed_packages import an_object, licensed, policy

GPL, BOTH = "GPL-2.0-only", "GPL-2.0-only OR BSD-2-Clause"
GROUPS = "policy-groups"
SAME: tuple[ReplayChange, ...] = ("same",)


def judged(spdx: str, under: str = "gpl-ok", *, with_facts: bool = True) -> dict[str, Any]:
    """Details of a publication as the catalog records them."""
    package = licensed(spdx, an_object("GPL"), under=under)
    facts = facts_of(package.manifest, package.source_licences)
    return {
        "licences": msgspec.to_builtins(check_licences(package)),
        **({"licence_facts": msgspec.to_builtins(facts)} if with_facts else {}),
        "channels": ["stable"],
    }


def published(story: Story, hours: float, name: str, details: dict[str, Any], **more: Any) -> int:
    """A publication of version 1.0.0."""
    details = {**details, "archive_sha256": archive_of(name, "1.0.0")}
    return story.say(
        hours, "catalog", "package.publish", package=name, version="1.0.0", details=details, **more
    )


def replayed(story: Story, under: str, **more: Any) -> PolicyReplay:
    """The story under a policy."""
    records = [
        AuditRecord(index=number, leaf="{}", event=event, received_at="", stream_sequence=number)
        for number, event in enumerate(story.events)
    ]
    history = History.of(records[::-1], tree_size=len(records))
    more = {"until": render_time(moment(1000)), **more}
    return policy_replay(history, policy(under), **more)


def changes(found: PolicyReplay) -> list[tuple[int, str]]:
    """Records and what would have become of them."""
    return [(one.record, one.change) for one in found.events]


def test_what_was_accepted_and_would_have_been_refused() -> None:
    """The publication, its promotion and its deployment; a dual licence stays the same."""
    story = Story()
    published(story, 1, "gpl", judged(GPL))
    published(story, 2, "both", judged(BOTH))
    promoted = {"channel": "stable"}
    story.say(3, "catalog", "package.promote", package="gpl", version="1.0.0", details=promoted)
    story.apply(4, "edge", "gpl", "1.0.0")
    story.apply(5, "core", "both", "1.0.0")
    found = replayed(story, "permissive-only")
    assert changes(found) == [
        (0, "would-refuse"),
        (1, "same"),
        (2, "would-refuse"),
        (3, "would-refuse"),
        (4, "same"),
    ]
    assert found.events[0].rules == (GROUPS,)
    assert (found.events[2].channel, found.events[3].deployment) == ("stable", "edge")
    assert found.counts["would-refuse"] == 3
    assert sum(found.counts.values()) == len(found.events)
    assert changes(replayed(story, "gpl-ok")) == [(number, "same") for number in range(5)]


def test_only_the_range_is_judged_and_what_was_before_is_known() -> None:
    """A deployment in the range of a version that was published before it."""
    story = Story()
    published(story, 1, "gpl", judged(GPL))
    story.apply(4, "edge", "gpl", "1.0.0")
    story.apply(8, "edge", "gpl", "1.0.0", revision=2)
    span = {"since": render_time(moment(3)), "until": render_time(moment(8))}
    assert changes(replayed(story, "permissive-only", **span)) == [(1, "would-refuse")]


def test_what_was_refused_for_its_licences_alone_would_have_been_accepted() -> None:
    """And what was refused for something else too would not."""
    package = licensed(GPL, an_object("GPL"), under="permissive-only")
    why = tuple(refusals(check_licences(package)))
    other = Reason(path="manifest.version", rule="already published with the same content")
    story = Story()
    refused = {"outcome": "refused", "reasons": why}
    published(story, 1, "gpl", judged(GPL, "permissive-only"), **refused)
    refused["reasons"] = (*why, other)
    published(story, 2, "gpl", judged(GPL, "permissive-only"), **refused)
    story.say(3, "catalog", "package.publish", outcome="refused", reasons=(other,))
    assert changes(replayed(story, "gpl-ok")) == [(0, "would-accept"), (1, "same")]
    assert changes(replayed(story, "permissive-only")) == [(0, "same"), (1, "same")]


def test_waivers_count_as_they_were_in_force_then() -> None:
    """By when they were granted, expired and were revoked."""
    story = Story()
    published(story, 1, "gpl", judged(GPL))
    story.grant(2, "w-1", GROUPS, "gpl", until=10)
    story.apply(3, "edge", "gpl", "1.0.0")
    story.apply(11, "edge", "gpl", "1.0.0", revision=2)
    story.grant(12, "w-2", GROUPS, "gpl", until=99)
    story.apply(13, "edge", "gpl", "1.0.0", revision=3)
    story.withdraw(14, "w-2", GROUPS, "gpl", until=99)
    story.apply(15, "edge", "gpl", "1.0.0", revision=4)
    found = [(one.change, one.waivers) for one in replayed(story, "permissive-only").events]
    assert found == [
        ("would-refuse", ()),
        ("same", ("w-1",)),
        ("would-refuse", ()),
        ("same", ("w-2",)),
        ("would-refuse", ()),
    ]


def test_what_was_recorded_too_little_of_is_asked_of_the_catalog_or_not_judged() -> None:
    """An event of an earlier release has no facts; and it says so."""
    story = Story()
    published(story, 1, "gpl", judged(GPL, with_facts=False))
    story.apply(2, "edge", "gpl", "1.0.0")
    story.apply(3, "core", "unknown", "1.0.0")
    found = replayed(story, "permissive-only")
    assert changes(found) == [(0, "unjudged"), (1, "unjudged"), (2, "unjudged")]
    assert all(one.why for one in found.events)
    package = licensed(GPL, an_object("GPL"))
    facts = facts_of(package.manifest, package.source_licences)
    archive = archive_of("gpl", "1.0.0")
    known = KnownVersion(archive, check_licences(package), facts, ("stable",))
    key = VersionKey(PUBLIC, "gpl", "1.0.0")
    found = replayed(story, "permissive-only", from_catalog={key: known})
    assert changes(found) == [(0, "would-refuse"), (1, "would-refuse"), (2, "unjudged")]


def test_only_who_decides_is_believed() -> None:
    """A node that says that something was published changes nothing."""
    story = Story()
    published(story, 1, "gpl", judged(GPL))
    details = {**judged(BOTH), "archive_sha256": "0" * 64}
    story.say(2, "node/h1", "package.publish", package="gpl", version="1.0.0", details=details)
    assert changes(replayed(story, "permissive-only")) == [(0, "would-refuse")]


def test_the_report_is_a_table_or_a_page() -> None:
    """Every event once; texts of others are escaped."""
    story = Story()
    published(story, 1, "<b>gpl", judged(GPL))
    found = replayed(story, "permissive-only")
    assert len(replay_csv(found).splitlines()) == 2
    assert "&lt;b&gt;gpl" in replay_html(found)
    assert "gpl" not in replay_html(found, changes=SAME).split("</thead>")[1]
