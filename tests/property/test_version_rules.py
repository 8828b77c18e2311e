# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of versions and constraints."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from semver import Version

from shared.errors import RefusedError
from shared.versions import base_of, overlay_of, parse_constraint, parse_version, precedence

numbers = st.integers(0, 4)
words = st.from_regex(r"(rc|beta|0|[1-9][0-9]?)(\.[1-9])?", fullmatch=True)
versions = st.builds(Version, numbers, numbers, numbers, st.none() | words)
releases = st.builds(Version, numbers, numbers, numbers)
operators = st.sampled_from(["", "=", ">=", ">", "<=", "<", "^", "~"])
terms = st.builds(lambda operator, version: f"{operator}{version}", operators, versions)
constraints = st.lists(terms, min_size=1, max_size=3).map(",".join)


@given(versions)
def test_a_version_reads_as_it_was_written(version: Version) -> None:
    """Parsing is the inverse of writing."""
    assert parse_version(str(version), path="") == version


@given(versions)
def test_a_version_is_its_own_constraint(version: Version) -> None:
    """A full version as constraint allows exactly the versions of its precedence."""
    assert parse_constraint(str(version), path="").allows(version)


@given(releases, releases)
def test_caret_never_crosses_a_breaking_version(base: Version, other: Version) -> None:
    """What `^` allows is no older and has the same leftmost non-zero part."""
    allowed = parse_constraint(f"^{base}", path="").allows(other)

    if base.major:
        same = other.major == base.major
    elif base.minor:
        same = (other.major, other.minor) == (0, base.minor)
    else:
        same = other == base
    assert allowed == (same and other >= base)


@given(releases, releases)
def test_tilde_never_crosses_a_minor_version(base: Version, other: Version) -> None:
    """What `~` allows is no older and has the same major and minor part."""
    allowed = parse_constraint(f"~{base}", path="").allows(other)

    same = (other.major, other.minor) == (base.major, base.minor)
    assert allowed == (same and other >= base)


@given(constraints, constraints, versions)
def test_a_comma_only_narrows(left: str, right: str, version: Version) -> None:
    """A release that two constraints allow together is allowed by each alone."""
    both = parse_constraint(f"{left},{right}", path="")
    each = [parse_constraint(text, path="") for text in (left, right)]

    if version.prerelease is None:
        assert both.allows(version) == all(one.allows(version) for one in each)
    elif both.allows(version):
        assert any(one.allows(version) for one in each)


@given(constraints, versions)
def test_no_prerelease_comes_unasked(text: str, version: Version) -> None:
    """A prerelease is allowed only if the constraint names one of the same release."""
    if parse_constraint(text, path="").allows(version) and version.prerelease is not None:
        assert f"{version.finalize_version()}-" in text


@given(versions, versions, st.sampled_from(["", "+build", "+build.1.2", "+20260102", "+acme.0"]))
def test_precedence_orders_as_comparing_does(left: Version, right: Version, build: str) -> None:
    """The quick key is less, equal or greater exactly when the version is."""
    first, second = precedence(f"{left}{build}"), precedence(str(right))

    assert (first > second) - (first < second) == left.compare(right)


@given(versions, versions, st.integers(1, 99), st.integers(1, 99))
def test_overlays_come_after_what_they_stand_on(
    left: Version, right: Version, one: int, other: int
) -> None:
    """By their number, and before any version that comes after what they stand on."""
    first, second = f"{left}+acme.{one}", f"{left}+acme.{other}"

    assert precedence(str(left)) < precedence(first)
    assert (precedence(first) < precedence(second)) == (one < other)
    assert precedence(first) != precedence(f"{left}+other.{one}")
    if left != right:
        assert (precedence(first) < precedence(str(right))) == (left < right)
    assert (base_of(first), overlay_of(first)) == (str(left), ("acme", one))


@given(versions, st.integers(1, 99), st.integers(1, 99))
def test_a_constraint_names_an_overlay_exactly(version: Version, one: int, other: int) -> None:
    """What it stands on allows each of them; one of them allows itself alone."""
    overlays = [parse_version(f"{version}+acme.{number}", path="") for number in (one, other)]

    assert parse_constraint(f"={version}", path="").allows(overlays[0])
    exact = parse_constraint(f"={overlays[0]}", path="")
    assert exact.allows(overlays[0])
    assert exact.allows(overlays[1]) == (one == other)
    assert not exact.allows(version)


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text makes the parsers fail in another way."""
    for parse in (parse_constraint, parse_version):
        with suppress(RefusedError):
            parse(text, path="version")
