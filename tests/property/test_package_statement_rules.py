# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Rules that hold for every glob and every range of kernels."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from msgspec import ValidationError, convert
from semver import Version

from shared.contracts.package_manifest import FileGlob
from shared.errors import RefusedError
from shared.file_groups import matches_glob, stated_groups
from shared.kernel_versions import is_in_range, kernel_version, parse_kernel_range
from shared.versions import Constraint, parse_constraint

_PARTS = st.text("ab.", min_size=1, max_size=3).filter(lambda part: not part.startswith("."))
_PATHS = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)
_GLOBS = st.lists(st.text("ab.*", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)
_NUMBERS = st.integers(0, 8)
_VERSIONS = st.tuples(_NUMBERS, _NUMBERS, _NUMBERS)
_TERMS = st.tuples(
    st.sampled_from(("", "=", ">=", ">", "<=", "<", "^", "~")),
    _VERSIONS,
).map(lambda term: f"{term[0]}{'.'.join(map(str, term[1]))}")


def is_glob(text: str) -> bool:
    """Whether a manifest may say it."""
    try:
        convert(text, FileGlob)
    except ValidationError:
        return False
    return True


def read_range(text: str) -> tuple[Constraint | None, RefusedError | None]:
    """The range, or why it is none."""
    try:
        return parse_kernel_range(text, path="needs.kernel"), None
    except RefusedError as error:
        return None, error


def as_pattern(glob: str) -> str:
    """The glob as a regular expression, written in another way than the code."""
    parts = [
        r"(?:[^/]+/)*" if part == "**" else re.escape(part).replace(r"\*", "[^/]*") + "/"
        for part in glob.split("/")
    ]
    return "".join(parts)


@given(_PATHS, _GLOBS.filter(is_glob))
def test_a_glob_names_what_its_pattern_matches(path: str, glob: str) -> None:
    """`*` is any characters of a part, `**` any parts, and all else is itself."""
    assert matches_glob(path, glob) == bool(re.fullmatch(as_pattern(glob), f"{path}/"))


@given(_PATHS)
def test_every_path_is_a_glob_that_names_it_alone(path: str) -> None:
    """A glob without stars is a path."""
    assert is_glob(path)
    assert matches_glob(path, path)
    assert not matches_glob(f"{path}/a", path)


@given(_PATHS, st.lists(_GLOBS.filter(is_glob), min_size=1, max_size=3))
def test_a_file_is_in_the_groups_that_name_it(path: str, globs: list[str]) -> None:
    """Being in a group is being named by one of its globs."""
    groups = stated_groups(path, {"user": globs, "docs": ["**"]})

    assert ("user" in groups) == any(matches_glob(path, glob) for glob in globs)
    assert "docs" in groups


@given(st.lists(_TERMS, min_size=1, max_size=3).map(",".join))
def test_a_range_that_is_accepted_has_a_kernel_in_it(text: str) -> None:
    """A range is refused if, and only if, no release from 0.0.0 to 9.9.9 is in it."""
    releases = [Version(a, b, c) for a in range(10) for b in range(10) for c in range(10)]
    constraint, refusal = read_range(text)

    if refusal is None:
        assert constraint is not None
        assert any(map(constraint.allows, releases))
    else:
        assert refusal.reasons[0].rule == "is a range that no kernel is in"
        assert not any(map(parse_constraint(text, path="needs.kernel").allows, releases))


@given(_VERSIONS, st.sampled_from(("", "-91-generic", "-rc3", "+", ".el9_4.x86_64")))
def test_of_a_release_only_its_numbers_count(numbers: tuple[int, int, int], suffix: str) -> None:
    """What distributions add changes neither the version nor what it is in."""
    release = ".".join(map(str, numbers))

    assert kernel_version(release + suffix) == Version(*numbers)
    assert is_in_range(release + suffix, f"={release}")
    assert not is_in_range(release + suffix, f">{release}")


@given(st.text("<=>^~.,* 0123456789-+abc", max_size=20))
def test_whatever_is_written_is_a_range_or_refused(text: str) -> None:
    """No text breaks the reader, and a refusal says what would be accepted."""
    _, refusal = read_range(text)

    assert refusal is None or (refusal.reasons[0].path and refusal.reasons[0].allowed)
