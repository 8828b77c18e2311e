# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Versions and the constraints that choose among them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shared.errors import RefusedError
from shared.versions import parse_constraint, parse_version

CASES = [
    # constraint, allowed, not allowed
    ("*", "0.0.1 1.0.0 99.0.0", "1.0.0-rc.1"),
    ("1.2.3", "1.2.3 1.2.3+build.7", "1.2.4 1.2.3-rc.1"),
    ("=1.2.3", "1.2.3", "1.2.2 1.2.4"),
    (">=1.2", "1.2.0 2.0.0", "1.1.9"),
    (">=1,<2", "1.0.0 1.99.99", "0.9.9 2.0.0"),
    (" >= 1 , < 2 ", "1.5.0", "2.0.0"),
    (">1", "2.0.0", "1.0.0 1.9.9"),
    (">1.2", "1.3.0", "1.2.9"),
    (">1.2.3", "1.2.4", "1.2.3"),
    ("<=1", "1.9.9 0.1.0", "2.0.0"),
    ("<=1.2", "1.2.9", "1.3.0"),
    ("<=1.2.3", "1.2.3", "1.2.4"),
    ("^1.2", "1.2.0 1.9.9", "1.1.9 2.0.0"),
    ("^1", "1.0.0 1.9.9", "0.9.9 2.0.0"),
    ("^0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0"),
    ("^0.0.3", "0.0.3", "0.0.2 0.0.4"),
    ("^0.0", "0.0.0 0.0.9", "0.1.0"),
    ("^0", "0.0.1 0.9.9", "1.0.0"),
    ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
    ("~1.2", "1.2.0 1.2.9", "1.3.0"),
    ("~1", "1.0.0 1.9.9", "2.0.0"),
    ("1.2.3-rc.1", "1.2.3-rc.1", "1.2.3 1.2.3-rc.2"),
    (">=1.2.3-rc.2", "1.2.3-rc.2 1.2.3-rc.10 1.2.3 2.0.0", "1.2.3-rc.1 1.3.0-rc.1 2.0.0-rc.5"),
    (">1.2.3-rc.1", "1.2.3-rc.2 1.2.3", "1.2.3-rc.1"),
    ("^1.2.3-beta", "1.2.3-beta 1.2.3-rc.1 1.4.0", "1.2.4-beta 2.0.0"),
    (">=1,<2.0.0-rc.1", "1.9.0 2.0.0-beta", "2.0.0-rc.1 2.0.0 1.9.0-rc.1"),
    (">2,<1", "", "0.5.0 1.5.0 2.5.0"),
]


@pytest.mark.parametrize(("text", "allowed", "refused"), CASES)
def test_a_constraint_draws_its_line(text: str, allowed: str, refused: str) -> None:
    """Each form of constraint allows what its documentation says, and nothing else."""
    constraint = parse_constraint(text, path="version")
    versions = [parse_version(one, path="") for one in (*allowed.split(), *refused.split())]

    chosen = [str(version) for version in versions if constraint.allows(version)]

    assert chosen == allowed.split()


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.2", "=1.2", "^", "1.2.3.4", "~1.2-rc.1", "1.2.3,", "x", "^v1", "01.2.3"),
        *("1..2", ">=1.", "==1.2.3", "!=1.2.3", "1.2.x", "1.2.3 || 2.0.0", ">=1 <2", "^1.2.3-01"),
        *("²", "*1"),
    ],
)
def test_what_is_no_constraint_is_refused(text: str) -> None:
    """A term outside the grammar is refused with the grammar, and never guessed at."""
    with pytest.raises(RefusedError) as caught:
        parse_constraint(text, path="version")

    assert {reason.path for reason in caught.value.reasons} == {"version"}


def test_every_bad_term_is_named() -> None:
    """Two bad terms give two reasons."""
    with pytest.raises(RefusedError) as caught:
        parse_constraint(">=1,1.x,^,<2", path="version")

    assert [reason.got for reason in caught.value.reasons] == ["1.x", "^"]


def test_an_endless_constraint_is_refused() -> None:
    """A constraint has a largest length."""
    with pytest.raises(RefusedError, match="too long"):
        parse_constraint(",".join([">=1"] * 100), path="version")


@pytest.mark.parametrize(
    "text", ["1", "1.2", "v1.2.3", "1.2.3\n", "01.0.0", "1.0.0-", "", "1" * 65]
)
def test_what_is_no_version_is_refused(text: str) -> None:
    """Only SemVer 2.0.0 is a version."""
    with pytest.raises(RefusedError, match="SemVer"):
        parse_version(text, path="version")


def test_precedence_is_that_of_semver() -> None:
    """The example of SemVer 2.0.0 item 11 is in order."""
    ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11"
    versions = [parse_version(one, path="") for one in (*ordered.split(), "1.0.0-rc.1", "1.0.0")]

    assert all(lower < higher for lower, higher in pairwise(versions))
