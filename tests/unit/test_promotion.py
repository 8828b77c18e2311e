# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a promotion asks of licences and kernels, and what becomes of one that waits."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import msgspec

from services.catalog.code_ownership import lifecycle_of
from services.catalog.release_gate import Demands
from services.catalog.releasing import (
    Circumstances,
    ReleasePolicy,
    held_back,
    promoted,
    promotion_reasons,
    state_of,
)
from services.catalog.reviewing import Speaker, withdrawn
from services.catalog.version_entries import record_of, storable
from shared.adapters.licence_policies import load_policy
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import Actor
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.release_gate import NodeVerdict, ReleaseGate
from shared.contracts.waivers import Waiver, WaiverScope
from shared.errors import Reason
from shared.moments import render_time
from tests.package_builders import NOW, a_record, a_version

SPEAKER = Speaker(Actor(key="UBOB", role="approver", attested=True), "bob", "because", NOW)
WAIVER = Waiver(
    id="w-1",
    scope=WaiverScope(rule="policy-groups", package="one", versions="*"),
    reason="a test",
    expires_at=render_time(NOW + timedelta(days=1)),
    requested_by="Ua",
    requested_name="alice",
    requested_role="publisher",
    requested_at=render_time(NOW),
)


def _given(kernels: int = 0, waivers: tuple[Waiver, ...] = ()) -> Circumstances:
    return Circumstances(
        policy=ReleasePolicy(),
        rules=(),
        licence_policy=load_policy("gpl-ok"),
        waivers=waivers,
        demands=Demands(kernels),
        now=NOW,
    )


def _reasons(
    version: PackageVersion, given: Circumstances, released: PackageVersion | None = None
) -> list[Reason]:
    given = dataclasses.replace(given, released=released)
    return promotion_reasons(version, "stable", given)


def test_a_waiver_that_ended_keeps_a_version_out() -> None:
    """What was excused when it was published has to be excused when it is released."""
    finding = LicenceFinding(
        rule="policy-groups", outcome="refused", path="manifest.licence", text="is not for this"
    )
    verdict = LicenceVerdict(
        policy="p",
        policy_version="1.0.0",
        outcome="noted",
        findings=(msgspec.structs.replace(finding, waiver="w-1"),),
    )
    version = msgspec.structs.replace(a_version(channels=("dev",)), licences=verdict)

    assert [one.path for one in _reasons(version, _given())] == ["manifest.licence"]
    assert _reasons(version, _given(waivers=(WAIVER,))) == []


def test_another_licence_than_the_newest_release_keeps_a_version_out_of_stable() -> None:
    """It could be published elsewhere, and is compared as a release when it is to become one."""
    released = a_version(licence="GPL-2.0-only OR BSD-2-Clause")
    changed = a_version("1.1.0", channels=("dev",), licence="GPL-2.0-only OR BSD-3-Clause")

    found = _reasons(changed, _given(), released)

    assert found
    assert all("licence-drift" in one.rule for one in found)
    assert _reasons(changed, _given()) == []


def test_kernels_that_said_no_refuse_and_missing_ones_are_waited_for() -> None:
    """A promotion that only lacks kernels waits at the gate, and says for how many."""
    version = a_version(channels=("dev",))
    verdict = NodeVerdict(
        node="n1", kernel="6.1.0", machine="x86_64", outcome="failed", at="", why="too complex"
    )
    gate = ReleaseGate(order="o", ordered_at=render_time(NOW), verdicts=(verdict,))
    failed = msgspec.structs.replace(version, gate=gate)

    (found,) = _reasons(failed, _given(1))
    waiting = promoted(version, "stable", _given(1), command_id="command-1")

    assert (found.path, found.rule) == ("kernels.n1", "Linux 6.1.0 says no: too complex")
    assert waiting.gate is not None
    assert (waiting.channels, waiting.gate.awaits) == (("dev",), ("stable",))
    assert (waiting.gate.order, waiting.gate.kernels) == ("command-1", {"stable": 1})
    assert [one.path for one in _reasons(waiting, _given(1))] == ["to"]


def test_what_is_taken_back_waits_for_nothing_any_more() -> None:
    """Neither kernels nor approvals can let it into a channel afterwards."""
    policy = ReleasePolicy(approvals={"stable": 2})
    version = held_back(a_version(channels=("dev", "stable")), policy, submitter=SPEAKER.statement)
    waiting = promoted(version, "canary", _given(1), command_id="command-1")

    yanked = withdrawn(waiting, "yank", SPEAKER)

    assert yanked.gate is not None
    assert (yanked.gate.awaits, lifecycle_of(yanked).targets) == ((), ())
    assert [one.rule for one in _reasons(yanked, _given())] == ["was yanked: because"]


def test_records_of_earlier_releases_are_released() -> None:
    """A version without any word about it is what its channels say."""
    record = a_record("1.0.0", "1.1.0")
    stored = record_of(storable(record))

    assert [one.lifecycle for one in stored.versions] == [None, None]
    assert [state_of(one) for one in stored.versions] == ["released", "released"]
