# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Executables of user space and the licences of what they are linked to."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from services.catalog.publication import judged
from shared.contracts.licences import LicenceFinding
from shared.contracts.package_analysis import CompanionAnalysis, PackageAnalysis
from shared.licensing.verdict import check_licences
from tests.package_builders import a_version
from tests.support.licensed_packages import an_object, broken, licensed, policy

GLIBC = ("libc.so.6", "ld-linux-x86-64.so.2", "libgcc_s.so.1")
LOADER = "/lib64/ld-linux-x86-64.so.2"


def judge(
    user: str, *libraries: str, interpreter: str = LOADER, platform: str = "linux-x86_64"
) -> LicenceFinding | None:
    """What the rule says of one executable under this licence; None if it holds."""
    package = licensed("GPL-2.0-only", an_object("GPL"), licences={"user": user})
    companion = CompanionAnalysis(
        companion="agent",
        platform=platform,
        path="bin/agent",
        libraries=(*GLIBC, *libraries),
        interpreter=interpreter,
    )
    found = check_licences(dataclasses.replace(package, companions=(companion,)))
    return broken(found).get("companion-libraries")


@pytest.mark.parametrize(
    ("user", "library"),
    [
        ("Apache-2.0", "libbpf.so.1"),
        ("Apache-2.0", "libelf.so.1"),
        ("LicenseRef-Acme", "libmnl.so.0"),
        ("GPL-2.0-only", "libnftnl.so.11"),
        ("GPL-3.0-or-later", "libreadline.so.8"),
        ("Apache-2.0 OR GPL-2.0-or-later", "libnftnl.so.11"),
    ],
)
def test_what_stays_replaceable_or_is_offered_so_may_be_handed_out(user: str, library: str) -> None:
    """Shared libraries under the LGPL, under a permissive choice, or under the GPL as offered."""
    assert judge(user, library) is None


def test_licences_that_exclude_each_other_are_refused() -> None:
    """GPL-2.0 alone and GPL-3.0 cannot be one work."""
    found = judge("GPL-2.0-only", "libreadline.so.8")

    assert found is not None
    assert (found.outcome, found.path) == ("refused", "archive[bin/agent]")
    assert found.evidence["libraries"]["libreadline.so.8"] == ["GPL-3.0-or-later"]


def test_a_library_under_the_gpl_makes_the_whole_a_work_under_it() -> None:
    """Somebody has to look whether that is meant."""
    found = judge("MIT", "libnftnl.so.11")

    assert found is not None
    assert found.outcome == "review"
    assert "libnftnl.so.11" in found.text


def test_what_cannot_be_read_is_noted() -> None:
    """A library that nobody knows, and what was linked statically."""
    unknown, static = judge("MIT", "libacme.so.1"), judge("MIT", interpreter="")

    assert unknown is not None
    assert unknown.outcome == "noted"
    assert unknown.evidence["libraries"] == ["libacme.so.1"]
    assert static is not None
    assert static.outcome == "noted"


def test_executables_for_windows_are_not_read() -> None:
    """Nothing is known of them, and nothing is said."""
    assert judge("MIT", "libreadline.so.8", platform="windows-x86_64") is None


def test_a_publication_judges_what_was_read_of_executables() -> None:
    """The verdict that is kept with the version has it."""
    companion = CompanionAnalysis(
        companion="agent",
        platform="linux-x86_64",
        path="bin/agent",
        libraries=("libreadline.so.8",),
        interpreter=LOADER,
    )
    version = a_version(licences={"user": "GPL-2.0-only"})
    version = msgspec.structs.replace(version, analysis=PackageAnalysis(companions=(companion,)))

    found = judged(version, policy("gpl-ok"), source_licences={}, kernels=())

    assert found.licences is not None
    assert broken(found.licences)["companion-libraries"].outcome == "refused"
