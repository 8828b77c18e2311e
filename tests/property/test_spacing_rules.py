# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who makes, changes and lifts a space: laws that hold whoever asks for what."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.spacing import (
    Founder,
    SpaceRequestError,
    SpaceStateError,
    UnknownSpaceError,
    created_space,
    lifted_space,
    opened_space,
    opening_event,
    seen_space,
    space_event,
    updated_space,
)
from shared.contracts.events import Actor
from shared.contracts.spaces import (
    MAX_MEMBERS,
    SPACE_PATTERN,
    CreateSpace,
    LiftSpace,
    SpaceRecord,
    UpdateSpace,
)
from shared.errors import Refusal
from shared.moments import render_time
from shared.visibility import is_lifted, is_visible, opening_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATER = render_time(NOW + HOUR)
NAMES = ("ada", "bob", "eve", "joe")


def founder(name: str, role: str = "approver") -> Founder:
    """Somebody whose key is their name."""
    return Founder(Actor(key=f"U{name.upper()}", role=role, attested=True), name)


def embargo(name: str = "ada", *, command_id: str = "command-1", **fields: Any) -> SpaceRecord:
    """An embargo of somebody."""
    request = CreateSpace(kind="embargo", **fields)
    return created_space({}, request, founder(name), command_id=command_id, now=NOW)


def private(name: str = "ada", **fields: Any) -> SpaceRecord:
    """A private namespace of somebody."""
    request = CreateSpace(kind="private", namespace="acme", **fields)
    return created_space({}, request, founder(name), command_id="command-1", now=NOW)


def known(*spaces: SpaceRecord) -> dict[str, SpaceRecord]:
    """By audience."""
    return {space.audience: space for space in spaces}


names = st.lists(st.sampled_from(NAMES), unique=True).map(tuple)
updates = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(("", "new")),
        "add": names,
        "remove": names,
        "lifts_at": st.sampled_from(("", LATER, "2020-01-01T00:00:00Z", "soon")),
        "lifts_on_release": st.sampled_from(("", "stable")),
    },
)
roles = st.sampled_from(("approver", "administrator"))


@given(members=names, command_id=st.uuids().map(lambda one: one.hex))
def test_who_makes_a_space_is_in_it(members: tuple[str, ...], command_id: str) -> None:
    """With everybody who was named, once; the name of an embargo follows from the command id."""
    space = embargo(members=members, command_id=command_id)

    assert space.members == tuple(sorted({*members, "ada"}))
    assert re.match(SPACE_PATTERN, space.audience)
    assert embargo("bob", title="other", command_id=command_id).audience == space.audience


@given(fields=updates, role=roles, name=st.sampled_from(NAMES))
def test_a_space_of_others_answers_as_one_that_was_never_made(
    fields: dict[str, Any], role: str, name: str
) -> None:
    """Whatever is asked of it, by whatever role: the same refusal, word for word."""
    space = embargo("ada")
    if name == "ada":
        return
    speaker = founder(name, role)

    def refusals(spaces: dict[str, SpaceRecord]) -> list[Refusal]:
        found = []
        with pytest.raises(UnknownSpaceError) as shown:
            seen_space(spaces, space.audience, name, now=NOW)
        found.append(shown.value.refusal())
        update = UpdateSpace(space=space.audience, **fields)
        with pytest.raises(UnknownSpaceError) as updated:
            updated_space(spaces, update, speaker, command_id="command-2", now=NOW)
        found.append(updated.value.refusal())
        lift = LiftSpace(space=space.audience)
        with pytest.raises(UnknownSpaceError) as lifted:
            lifted_space(spaces, lift, speaker, command_id="command-2", now=NOW)
        return [*found, lifted.value.refusal()]

    assert refusals(known(space)) == refusals({})


@given(fields=updates, is_private=st.booleans())
def test_a_change_is_made_whole_or_refused_by_name(
    fields: dict[str, Any], is_private: bool
) -> None:
    """Members are those before, with and without whom the command names; never nobody."""
    before = private(members=("bob",)) if is_private else embargo(members=("bob",))
    request = UpdateSpace(space=before.audience, **fields)
    added, removed = set(request.add), set(request.remove)
    members = ({*before.members} | added) - removed
    wrong = {
        *(["remove"] if added & removed or removed - added - {*before.members} else []),
        *(["members"] if not members else []),
        *(["lifts_at"] if request.lifts_at in ("2020-01-01T00:00:00Z", "soon") else []),
        *(["lifts_at"] if is_private and request.lifts_at else []),
        *(["lifts_on_release"] if is_private and request.lifts_on_release else []),
    }

    def change() -> SpaceRecord:
        return updated_space(
            known(before), request, founder("ada"), command_id="command-2", now=NOW
        )

    if wrong:
        with pytest.raises(SpaceRequestError) as refused:
            change()
        assert {reason.path for reason in refused.value.reasons} == wrong
    else:
        after = change()
        assert set(after.members) == members
        assert after.title == (before.title if request.title is None else request.title)
        assert after.lifts_at == (request.lifts_at or "")
        assert not after.lifted_at


@given(hours=st.integers(-48, 48), released=st.booleans(), lifts=st.booleans(), by=st.booleans())
def test_a_space_is_lifted_once_at_its_moment(
    hours: int, released: bool, lifts: bool, by: bool
) -> None:
    """At its time, or by the release that was named; what is written down is when it opened."""
    space = embargo(lifts_at=LATER if lifts else "", lifts_on_release="stable" if by else "")
    now = NOW + timedelta(hours=hours)

    opened = opened_space(space, released=released, now=now)

    due = (lifts and hours >= 1) or (by and released)
    assert (opened is not None) == due
    if opened is not None:
        opening = opening_of(opened)
        assert opening is not None
        assert opening <= now
        assert is_lifted(opened, now=now)
        assert is_visible(opened.audience, known(opened), "eve", now=now)
        assert opened_space(opened, released=True, now=now + HOUR) is None


def test_a_private_namespace_is_never_lifted() -> None:
    """Neither by a command nor by a time, a release or a change."""
    space = private()
    with pytest.raises(SpaceStateError):
        lifted_space(
            known(space),
            LiftSpace(space=space.audience),
            founder("ada"),
            command_id="command-2",
            now=NOW,
        )
    assert opened_space(space, released=True, now=NOW + 1000 * HOUR) is None
    with pytest.raises(SpaceRequestError) as refused:
        private(lifts_at=LATER, lifts_on_release="stable")
    assert [one.path for one in refused.value.reasons] == ["lifts_at", "lifts_on_release"]


def test_what_is_lifted_stays_so() -> None:
    """It is neither changed nor lifted again, at its time or after a command."""
    by_command = lifted_space(
        known(embargo()),
        LiftSpace(space=embargo().audience),
        founder("ada"),
        command_id="command-2",
        now=NOW,
    )
    for space, now in ((by_command, NOW), (embargo(lifts_at=LATER), NOW + HOUR)):
        spaces, audience = known(space), space.audience
        with pytest.raises(SpaceStateError):
            updated_space(
                spaces,
                UpdateSpace(space=audience, title="x"),
                founder("ada"),
                command_id="command-3",
                now=now,
            )
        with pytest.raises(SpaceStateError):
            lifted_space(
                spaces, LiftSpace(space=audience), founder("ada"), command_id="command-3", now=now
            )


def test_everything_wrong_with_a_new_space_is_named() -> None:
    """Kind, members and time at once; a taken namespace is a conflict."""
    many = tuple(f"n{number}" for number in range(MAX_MEMBERS))
    with pytest.raises(SpaceRequestError) as refused:
        created_space(
            {},
            CreateSpace(kind="embargo", namespace="acme", members=many, lifts_at="tomorrow"),
            founder("ada"),
            command_id="command-1",
            now=NOW,
        )
    assert [one.path for one in refused.value.reasons] == ["namespace", "members", "lifts_at"]
    with pytest.raises(SpaceRequestError):
        created_space(
            {}, CreateSpace(kind="private"), founder("ada"), command_id="command-1", now=NOW
        )
    with pytest.raises(SpaceStateError):
        created_space(
            known(private("bob")),
            CreateSpace(kind="private", namespace="acme"),
            founder("ada"),
            command_id="command-2",
            now=NOW,
        )


def test_events_say_what_became_of_the_space() -> None:
    """With both states, and which of its versions `public` has too."""
    before = embargo(members=("bob",), title="cve")
    after = updated_space(
        known(before),
        UpdateSpace(space=before.audience, remove=("bob",), lifts_at=LATER),
        founder("ada"),
        command_id="command-2",
        now=NOW,
    )

    event = space_event("space.update", after, before)
    said = opening_event(after, twice=("one 1.0.0",))

    assert event.before != event.after != ""
    assert (event.details["members"], event.details["lifts_at"]) == (["ada"], LATER)
    assert (said.action, said.outcome) == ("space.lift", "observed")
    assert said.details["twice"] == ["one 1.0.0"]
