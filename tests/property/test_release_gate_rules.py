# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the gate, whatever nodes report, in whatever order, and whoever vanishes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.release_gate import Asked, Demands, Verifier, gated, judge, settled
from shared.contracts.catalog import PackageVersion
from shared.contracts.verification import VerificationReport
from shared.dsse import manifest_digest
from tests.package_builders import NOW, a_version

CHANNELS = ("stable", "canary", "edge")
VERSION = a_version(channels=CHANNELS)
DIGEST = manifest_digest(VERSION.signed)
KERNELS = ("6.18.0", "6.1.0", "5.15.0")

demands = st.builds(
    Demands, st.integers(0, 3), st.dictionaries(st.sampled_from(CHANNELS), st.integers(0, 3))
)
Node = tuple[str, Literal["passed", "failed", "running", "silent", "unasked"]]
"""A kernel, and what becomes of asking."""
nodes = st.lists(
    st.tuples(
        st.sampled_from(KERNELS),
        st.sampled_from(("passed", "failed", "running", "silent", "unasked")),
    ),
    max_size=6,
)


def _look(version: PackageVersion, fleet: Sequence[Node], heard: int) -> PackageVersion:
    """The version after the reports of the first `heard` nodes are there."""
    gate = version.gate
    assert gate is not None
    verifiers = {
        f"n{index}": Verifier(f"n{index}", kernel, "x86_64")
        for index, (kernel, _) in enumerate(fleet)
    }
    reports = [
        VerificationReport(
            node=f"n{index}",
            kernel=kernel,
            machine="x86_64",
            package="one",
            version=version.version,
            manifest_sha256=DIGEST,
            order=gate.order,
            outcome="passed" if state == "passed" else "failed",
            at="",
        )
        for index, (kernel, state) in enumerate(fleet[:heard])
        if state in ("passed", "failed")
    ]
    asked = {
        f"n{index}": Asked("silent" if state == "silent" else "running", NOW)
        for index, (_, state) in enumerate(fleet)
        if state != "unasked"
    }
    standing = judge(
        version,
        manifest_sha256=DIGEST,
        verifiers=verifiers,
        reports=reports,
        asked=asked,
        now=NOW + timedelta(seconds=1),
        trial_seconds=60,
    )
    return settled(version, standing)


@given(demands, nodes, st.data())
def test_no_channel_has_what_its_kernels_did_not_pass(
    demanded: Demands, fleet: list[Node], data: st.DataObject
) -> None:
    """After any order of reports each channel has as many kernels as it demands, and no failure."""
    version = gated(VERSION, demanded, now=NOW)
    if version.gate is None:
        assert all(demanded.of(channel) == 0 for channel in CHANNELS)
        return
    free = version.channels
    fleet = data.draw(st.permutations(fleet))
    for heard in range(len(fleet) + 1):
        version = _look(version, fleet, heard)

    assert version.gate is not None
    assert sorted((*version.channels, *version.gate.awaits)) == sorted(CHANNELS)
    passed = {kernel for kernel, state in fleet if state == "passed"}
    is_whole = not any(state in ("failed", "running", "unasked") for _, state in fleet)
    for channel in set(CHANNELS) - set(free):
        is_in = channel in version.channels
        assert is_in == (is_whole and demanded.of(channel) <= len(passed))


@given(demands, nodes)
def test_looking_twice_changes_nothing(demanded: Demands, fleet: list[Node]) -> None:
    """What is recorded is recorded once, so a catalog that starts again repeats nothing."""
    version = gated(VERSION, demanded, now=NOW)
    if version.gate is None:
        return

    once = _look(version, fleet, len(fleet))

    assert _look(once, fleet, len(fleet)) == once
