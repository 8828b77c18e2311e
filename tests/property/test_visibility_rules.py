# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who sees a space: laws that hold whoever asks and whenever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.events import PUBLIC
from shared.contracts.spaces import SpaceRecord
from shared.moments import render_time
from shared.visibility import (
    Sight,
    current_audience,
    is_lifted,
    is_open,
    is_visible,
    opening_of,
    visible_spaces,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = ("ada", "bob", "eve", "")
AUDIENCES = ("p_acme", "p_other", f"r_{'0' * 16}", f"r_{'1' * 16}")

moments = st.integers(-1000, 1000).map(lambda seconds: START + timedelta(seconds=seconds))
written = st.none() | moments


def _space(
    audience: str, members: tuple[str, ...], lifts: datetime | None, lifted: datetime | None
) -> SpaceRecord:
    return SpaceRecord(
        audience=audience,
        kind="embargo" if audience.startswith("r_") else "private",
        members=members,
        created_at=render_time(START),
        created_by="UADA",
        lifts_at=render_time(lifts) if lifts else "",
        lifted_at=render_time(lifted) if lifted else "",
    )


members = st.lists(st.sampled_from(NAMES[:2]), unique=True, max_size=2).map(tuple)
spaces = st.fixed_dictionaries(
    {},
    optional={
        audience: st.builds(_space, st.just(audience), members, written, written)
        for audience in AUDIENCES
    },
)
anything = st.sampled_from((PUBLIC, *AUDIENCES))


@given(known=spaces, name=st.sampled_from(NAMES), now=moments)
def test_exactly_the_visible_spaces_are_seen(
    known: dict[str, SpaceRecord], name: str, now: datetime
) -> None:
    """The set and the single question agree for every audience, and `public` is in the set."""
    seen = visible_spaces(known, name, now=now)

    assert PUBLIC in seen
    for audience in (PUBLIC, *AUDIENCES):
        assert (audience in seen) == is_visible(audience, known, name, now=now)


@given(
    known=spaces,
    asked=st.lists(st.tuples(st.sampled_from(NAMES), moments), min_size=1, max_size=4),
)
def test_what_is_looked_up_is_what_is_visible(
    known: dict[str, SpaceRecord], asked: list[tuple[str, datetime]]
) -> None:
    """Whoever is asked about, and whenever, one after another."""
    sight = Sight(known)

    for name, now in asked:
        assert sight.of(name, now=now) == visible_spaces(known, name, now=now)
        openings = [at for one in known.values() if (at := opening_of(one)) and at > now]
        assert sight.next_opening(now=now) == min(openings, default=None)


@given(known=spaces, name=st.sampled_from(NAMES), audience=anything, now=moments)
def test_a_closed_space_is_seen_by_its_named_members_alone(
    known: dict[str, SpaceRecord], name: str, audience: str, now: datetime
) -> None:
    """Membership decides until the space opens, and nothing does for one that is not known."""
    space = known.get(audience)

    if is_open(audience, known, now=now):
        assert is_visible(audience, known, name, now=now)
    else:
        assert is_visible(audience, known, name, now=now) == (
            space is not None and name in space.members
        )


@given(known=spaces, audience=anything, now=moments, later=moments)
def test_what_is_open_stays_open(
    known: dict[str, SpaceRecord], audience: str, now: datetime, later: datetime
) -> None:
    """A later moment closes nothing."""
    if is_open(audience, known, now=min(now, later)):
        assert is_open(audience, known, now=max(now, later))


@given(space=st.builds(_space, st.just("p_acme"), members, written, written), now=moments)
def test_a_space_opens_at_its_very_moment(space: SpaceRecord, now: datetime) -> None:
    """Not a microsecond earlier, and with nothing written down in between."""
    opening = opening_of(space)

    assert is_lifted(space, now=now) == (opening is not None and opening <= now)
    if opening is not None:
        assert is_lifted(space, now=opening)
        assert not is_lifted(space, now=opening - timedelta(microseconds=1))


@given(known=spaces, audience=anything, now=moments)
def test_events_go_to_everybody_once_everybody_sees(
    known: dict[str, SpaceRecord], audience: str, now: datetime
) -> None:
    """And to nobody else than before until then."""
    expected = PUBLIC if is_open(audience, known, now=now) else audience

    assert current_audience(audience, known, now=now) == expected
