# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What became of the licence between two versions, and what of it stops a release."""

from __future__ import annotations

from typing import Any

import pytest

from cli.package_difference import package_difference, with_drift
from cli.package_reference import DescribedPackage
from services.catalog.publication import ManifestError, decide_publication, judged, use_events
from services.catalog.release_gate import Demands
from services.catalog.releasing import (
    Circumstances,
    ReleasePolicy,
    judged_for,
    promotion_reasons,
)
from shared.contracts.catalog import PackageVersion
from shared.contracts.licences import LicenceFinding
from shared.contracts.package_facts import ElfFacts
from shared.contracts.waivers import Waiver, WaiverScope
from shared.licensing.drift import drift_findings
from shared.licensing.waivers import waived_rules
from tests.package_builders import NOW, a_manifest, a_version, some_facts
from tests.support.licensed_packages import an_object, licensed, policy

DUAL = "GPL-2.0-only OR BSD-2-Clause"
TRACE = 6
WAIVER = Waiver(
    id="w-1",
    scope=WaiverScope(rule="licence-drift", package="one", versions="=1.1.0"),
    reason="r",
    expires_at="2027-01-01T00:00:00Z",
    requested_by="Ua",
    requested_name="a",
    requested_role="publisher",
    requested_at="2026-01-01T00:00:00Z",
    granted_at="2026-01-02T00:00:00Z",
)


def drift(
    before: tuple[str, ElfFacts], after: tuple[str, ElfFacts], *, is_released: bool = True
) -> list[LicenceFinding]:
    """What is not as it was."""
    old, new = (licensed(spdx, facts) for spdx, facts in (before, after))
    found = drift_findings(old, new, is_released=is_released)
    return [one for one in found if one.outcome != "passed"]


def test_what_says_the_same_in_other_words_has_not_drifted() -> None:
    """The order of choices and old identifiers make no difference."""
    same = an_object("Dual BSD/GPL")

    assert drift((DUAL, same), ("BSD-2-Clause OR GPL-2.0", same)) == []


@pytest.mark.parametrize(("is_released", "outcome"), [(True, "refused"), (False, "review")])
def test_another_expression_stops_a_release(outcome: str, *, is_released: bool) -> None:
    """With both expressions as evidence; outside of `stable` somebody has to look."""
    found = drift(
        (DUAL, an_object("Dual BSD/GPL")),
        (f"{DUAL} OR MIT", an_object("Dual BSD/GPL")),
        is_released=is_released,
    )

    assert (found[0].outcome, found[0].path) == (outcome, "manifest.licence")
    assert found[0].evidence["before"] == DUAL


def test_a_group_that_gets_another_licence_has_drifted() -> None:
    """A group that was left out was under the licence of the kernel code."""
    old = licensed("GPL-2.0-only", an_object("GPL"))
    new = licensed("GPL-2.0-only", an_object("GPL"), licences={"user": "MIT"})

    found = [one.path for one in drift_findings(old, new, is_released=True)]

    assert found == ["manifest.licences.user"]


def test_strings_functions_and_elections_are_for_review() -> None:
    """Each beside the other, at its place."""
    found = drift((DUAL, an_object("Dual BSD/GPL")), (DUAL, an_object("GPL", helpers=(TRACE,))))

    assert {one.outcome for one in found} == {"review"}
    assert [one.path for one in found] == ["archive[one.bpf.o].license", "archive"]
    assert found[1].evidence["functions"] == ["bpf_trace_printk (6)"]


def test_another_election_is_for_review() -> None:
    """A policy that prefers BSD takes it as long as nothing needs the GPL."""
    old = licensed(DUAL, an_object("Dual BSD/GPL"), under="permissive-only")
    new = licensed(DUAL, an_object("Dual BSD/GPL", helpers=(TRACE,)), under="permissive-only")

    found = list(drift_findings(old, new, is_released=True))[-1]

    assert (found.evidence["before"], found.evidence["elected"]) == (
        "BSD-2-Clause",
        "GPL-2.0-only",
    )


def test_functions_that_are_no_longer_called_are_noted() -> None:
    """It can only be looser now."""
    found = drift((DUAL, an_object("GPL", helpers=(TRACE,))), (DUAL, an_object("GPL")))

    assert [one.outcome for one in found] == ["noted"]


def _judged(version: PackageVersion, **arguments: Any) -> PackageVersion:
    return judged(version, policy("gpl-ok"), source_licences={}, kernels=(), **arguments)


def test_only_a_waiver_lets_a_drifted_version_be_released() -> None:
    """And the verdict names it."""
    released = a_version()
    drifted = a_version("1.1.0", licence=f"{DUAL} OR MIT")

    with pytest.raises(ManifestError) as caught:
        decide_publication(None, name="one", version=_judged(drifted, released=released))
    assert ["licence-drift" in one.rule for one in caught.value.reasons] == [True]
    excused = _judged(drifted, released=released, waivers=[WAIVER])
    assert excused.licences is not None
    assert [one.waiver for one in excused.licences.findings if one.waiver] == ["w-1"]
    decide_publication(None, name="one", version=excused)


def test_a_promotion_records_the_waiver_that_lets_it_in() -> None:
    """What was for review elsewhere stops a release; so its end is told, and its use."""
    released = a_version()
    drifted = a_version("1.1.0", licence=f"{DUAL} OR MIT", channels=("canary",))
    elsewhere = _judged(drifted, released=released)

    def given(*waivers: Waiver) -> Circumstances:
        return Circumstances(
            policy=ReleasePolicy(),
            rules=(),
            licence_policy=policy("gpl-ok"),
            waivers=waivers,
            demands=Demands(),
            now=NOW,
            released=released,
        )

    refused = promotion_reasons(elsewhere, "stable", given())
    allowed = promotion_reasons(elsewhere, "stable", given(WAIVER))
    inside = judged_for(elsewhere, "stable", given(WAIVER))

    assert elsewhere.licences is not None
    assert elsewhere.licences.outcome == "review"
    assert waived_rules(elsewhere.licences) == ()
    assert ["licence-drift" in one.rule for one in refused] == [True]
    assert allowed == []
    assert waived_rules(inside.licences) == ("licence-drift",)
    assert [event.details["waiver"] for event in use_events(inside)] == ["w-1"]


def test_a_comparison_of_two_packages_shows_what_became_of_the_licence() -> None:
    """As it would be judged, were the second released after the first."""
    old, new = (
        DescribedPackage(
            label=spdx,
            manifest=a_manifest(licence=spdx),
            elf=(some_facts(),),
            archive_sha256=spdx,
            files=None,
        )
        for spdx in (DUAL, f"{DUAL} OR MIT")
    )

    found = with_drift(package_difference(old, new), old, new, policy("gpl-ok"))

    assert [(one.rule, one.outcome) for one in found.licences] == [("licence-drift", "refused")]
