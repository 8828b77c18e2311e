# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Judging by another policy from what was recorded, held to judging the whole package anew."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.licences import (
    OUTCOMES,
    LicenceFacts,
    LicenceFinding,
    LicenceOutcome,
    LicenceVerdict,
)
from shared.licensing.drift import RULE as DRIFT
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import USUAL_OUTCOMES, LicencePolicy, SettableRule
from shared.licensing.replay import OF_POLICY, facts_of, rejudged
from shared.licensing.verdict import check_licences
from tests.support.licensed_packages import COMPLETE, an_object, licensed, policy

SPDX = st.sampled_from(
    [
        "GPL-2.0-only",
        "MIT",
        "GPL-2.0-only OR BSD-2-Clause",
        "Apache-2.0 OR GPL-2.0-only",
        "GPL-2.0-only AND Apache-2.0",
        "LicenseRef-Acme",
        "NoSuchLicence-1.0",
    ]
)
STRINGS = st.sampled_from(["GPL", "Dual BSD/GPL", "MIT", "Proprietary"])
FILES = st.sampled_from(["one.bpf.c", "tool.py", "common/a.h", "README.md"])
SETTABLE = st.sampled_from(sorted(USUAL_OUTCOMES))
PACKS = st.builds(
    lambda name, outcomes: msgspec.structs.replace(policy(name), outcomes=outcomes),
    st.sampled_from(["gpl-ok", "permissive-only", "lfn-l3af", "cncf"]),
    st.dictionaries(SETTABLE, st.sampled_from(OUTCOMES), max_size=3),
)
PACKAGES = st.fixed_dictionaries(
    {
        "spdx": SPDX,
        "string": STRINGS,
        "tags": st.dictionaries(FILES, SPDX, max_size=4),
        "licences": st.dictionaries(st.sampled_from(["shared", "user", "docs"]), SPDX, max_size=3),
        "platforms": st.sampled_from([("linux",), ("linux", "windows")]),
        "files": st.sampled_from([COMPLETE, {"one.bpf.o": b"\x7fELF one"}]),
    }
)


def a_package(made: dict[str, Any], under: LicencePolicy) -> LicensedPackage:
    """The package under a policy."""
    more = {name: made[name] for name in ("tags", "licences", "platforms", "files")}
    groups = {"shared": ("common/*.h",)}
    subject = an_object(made["string"], helpers=(6,))
    return licensed(made["spdx"], subject, under=under, file_groups=groups, **more)


def recorded(package: LicensedPackage) -> tuple[LicenceFacts, LicenceVerdict]:
    """What travels: only what JSON keeps."""
    facts = facts_of(package.manifest, package.source_licences)
    verdict = check_licences(package)
    told = [one for one in verdict.findings if one.outcome != "passed" or one.text]
    verdict = msgspec.structs.replace(verdict, findings=tuple(told))
    return (
        msgspec.json.decode(msgspec.json.encode(facts), type=LicenceFacts),
        msgspec.json.decode(msgspec.json.encode(verdict), type=LicenceVerdict),
    )


def grave(verdict: LicenceVerdict) -> set[tuple[str, str, str]]:
    """What is broken: of tags one file stands for all."""
    return {
        (one.rule, one.outcome, "" if "file" in one.evidence else one.path)
        for one in verdict.findings
        if one.outcome != "passed"
    }


@settings(max_examples=150, deadline=None)
@given(PACKAGES, PACKS, PACKS)
def test_another_policy_says_of_the_record_what_it_says_of_the_package(
    made: dict[str, Any], before: LicencePolicy, after: LicencePolicy
) -> None:
    """Whatever the policy was under which it was recorded."""
    found = rejudged(*recorded(a_package(made, before)), after)
    anew = check_licences(a_package(made, after))
    assert grave(found) == grave(anew)
    assert (found.outcome, found.policy) == (anew.outcome, after.name)


@given(st.sampled_from(OUTCOMES), st.booleans())
def test_drift_is_graded_by_the_policy_of_releases_alone(
    outcome: LicenceOutcome, is_released: bool
) -> None:
    """Other channels have it for review, whatever a policy says of releases."""
    rule: SettableRule = "licence-drift"
    pack = msgspec.structs.replace(policy("gpl-ok"), outcomes={rule: outcome})
    drift = LicenceFinding(
        rule=DRIFT, outcome="review", text="was another", evidence={"group": "kernel"}
    )
    facts, verdict = recorded(licensed("GPL-2.0-only", an_object("GPL")))
    verdict = msgspec.structs.replace(verdict, findings=(*verdict.findings, drift))
    found = rejudged(facts, verdict, pack, channels=("stable",) if is_released else ("edge",))
    outcomes = [one.outcome for one in found.findings if one.rule == DRIFT]
    expected = outcome if is_released else "review"
    assert outcomes == ([] if expected == "passed" else [expected])


def test_what_a_pack_wants_is_never_taken_from_the_record() -> None:
    """A finding of the old pack's own rules says nothing under another."""
    package = licensed("GPL-2.0-only", an_object("GPL"), under="permissive-only")
    facts, verdict = recorded(package)
    assert any(one.rule in OF_POLICY for one in verdict.findings)
    assert rejudged(facts, verdict, policy("gpl-ok")).outcome == "passed"
