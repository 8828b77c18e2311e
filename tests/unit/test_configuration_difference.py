# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which configuration of one version the next would refuse."""

from __future__ import annotations

from typing import Any

from cli.package_difference import package_difference
from cli.package_reference import DescribedPackage
from shared.contracts.configuration import MemberEntry, VariableEntry
from shared.contracts.package_manifest import MapEntry
from tests.support.configured_package import a_manifest, facts


def described(**changes: Any) -> DescribedPackage:
    """A version as the catalog shows it."""
    return DescribedPackage("configured", a_manifest(**changes), (facts(),), "0" * 64, None)


def test_other_forms_narrower_ranges_and_lost_variables_are_named() -> None:
    """What takes more than before is none of them."""
    before = described(
        maps={
            "rules": MapEntry(key_members={"port": MemberEntry(format="port", maximum=100)}),
            "peers": MapEntry(key_format="mac"),
        },
        variables={"limit": VariableEntry(minimum=5), "label": VariableEntry()},
    )
    after = described(
        maps={
            "rules": MapEntry(key_members={"port": MemberEntry(maximum=200, minimum=1)}),
            "peers": MapEntry(key_format="hex"),
        },
        variables={"limit": VariableEntry(minimum=6)},
    )

    found = package_difference(before, after)

    assert [reason.path for reason in found.configuration] == [
        "variables.limit.minimum",
        "variables.label",
        "config.rules.key_members.port.format",
        "config.rules.key_members.port.minimum",
        "config.peers.key_format",
    ]
    assert package_difference(before, before).configuration == ()
