# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of review and release, whoever says what in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.code_ownership import counted, lifecycle_of, owners_of, with_lifecycle
from services.catalog.release_gate import Demands
from services.catalog.releasing import (
    DEV,
    Circumstances,
    ReleasePolicy,
    held_back,
    promoted,
    promotion_reasons,
    retired,
    state_of,
)
from services.catalog.resolution import resolve
from services.catalog.reviewing import (
    Speaker,
    approved,
    refuse_promotion,
    reviewed,
    submitted,
    withdrawn,
)
from shared.adapters.licence_policies import load_policy
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import Actor
from shared.contracts.lifecycle import Approval, Lifecycle, ReviewState
from shared.contracts.package_records import PackageRecord
from shared.contracts.reviews import OwnerRule
from shared.dsse import manifest_digest
from shared.errors import RefusedError
from shared.moments import render_time
from tests.package_builders import NOW, a_record, a_record_of, a_version

ORDER: Final[tuple[ReviewState, ...]] = get_args(ReviewState)
NAMES = ("acme", "alice", "bob", "carol", "dave")
"""`acme` published; see `tests.package_builders`."""
RULES = (
    OwnerRule(packages="o*", owners=("acme", "alice", "bob")),
    OwnerRule(packages="one", paths="*.c", owners=("carol",)),
    OwnerRule(packages="other", owners=("dave",)),
)
CHANNELS = ("dev", "candidate", "stable")
DIGEST = manifest_digest(a_version().signed)

policies = st.builds(
    ReleasePolicy,
    st.dictionaries(st.sampled_from(CHANNELS), st.integers(0, 3)),
    st.dictionaries(st.sampled_from(CHANNELS), st.sampled_from((0, 60))),
)
approvals = st.lists(
    st.builds(
        Approval,
        by=st.sampled_from(("UPUBLISHER", *(f"U{name}" for name in NAMES))),
        name=st.sampled_from(NAMES),
        role=st.just("code-owner"),
        at=st.just(""),
        manifest_sha256=st.sampled_from((DIGEST, "0" * 64)),
    ),
    max_size=8,
)
words = st.lists(
    st.tuples(
        st.sampled_from(("submit", "review", "approve", "promote", "deprecate", "yank", "revoke")),
        st.sampled_from(NAMES),
        st.sampled_from(CHANNELS),
        st.sampled_from((0, 59, 60, 3600)),
    ),
    max_size=12,
)


def _speaker(name: str, role: str = "administrator", *, seconds: int = 0) -> Speaker:
    key = "UPUBLISHER" if name == "acme" else f"U{name}"
    actor = Actor(key=key, role=role, attested=True)
    return Speaker(actor, name, "because", NOW + timedelta(seconds=seconds))


def _given(policy: ReleasePolicy, *, seconds: int = 0) -> Circumstances:
    return Circumstances(
        policy=policy,
        rules=RULES,
        licence_policy=load_policy("gpl-ok"),
        waivers=(),
        demands=Demands(),
        now=NOW + timedelta(seconds=seconds),
    )


def _published(policy: ReleasePolicy, channels: Sequence[str] = CHANNELS) -> PackageVersion:
    version = a_version(channels=tuple(channels))
    return held_back(version, policy, submitter=_speaker("acme").statement)


def _record(version: PackageVersion) -> PackageRecord:
    return a_record_of(version)


def _said(
    version: PackageVersion, policy: ReleasePolicy, word: tuple[str, str, str, int]
) -> PackageVersion:
    verb, name, channel, seconds = word
    speaker, given_now = _speaker(name, seconds=seconds), _given(policy, seconds=seconds)
    record = _record(version)

    def promote() -> PackageVersion:
        refuse_promotion(record, version, channel, speaker, given_now)
        return promoted(version, channel, given_now, command_id="c")

    acts: dict[str, Callable[[], PackageVersion]] = {
        "submit": lambda: submitted(record, version, channel, speaker, notes="", tags=()),
        "review": lambda: reviewed(version, speaker, RULES),
        "approve": lambda: approved(version, speaker, RULES, policy, manifest_sha256=DIGEST),
        "promote": promote,
        "deprecate": lambda: withdrawn(version, "deprecate", speaker),
        "yank": lambda: withdrawn(version, "yank", speaker),
        "revoke": lambda: withdrawn(version, "revoke", speaker),
    }
    try:
        return acts[verb]()
    except RefusedError:
        return version


@given(policies, words)
def test_a_version_only_goes_forward(
    policy: ReleasePolicy, said: list[tuple[str, str, str, int]]
) -> None:
    """No state comes back, no channel is left, and what was approved names who approved it."""
    version = _published(policy)
    for word in said:
        after = _said(version, policy, word)
        assert ORDER.index(state_of(after)) >= ORDER.index(state_of(version))
        assert set(version.channels) <= set(after.channels)
        assert manifest_digest(after.signed) == DIGEST
        version = after


@given(policies, words)
def test_no_channel_has_what_too_few_approved(
    policy: ReleasePolicy, said: list[tuple[str, str, str, int]]
) -> None:
    """When a version enters a channel, as many different owners as it demands had approved it."""
    version = _published(policy)
    for word in said:
        after = _said(version, policy, word)
        for channel in set(after.channels) - set(version.channels):
            names = {one.name for one in counted(after, RULES)}
            demanded = policy.approvals.get(channel, 0)
            assert len(names) >= demanded
            assert not demanded or "carol" in names, "the owner of the paths has a say"
            assert "acme" not in names
            assert version.lifecycle is None or version.lifecycle.revoked is None
        version = after


@given(approvals, st.sets(st.sampled_from(NAMES)))
def test_what_counts_is_others_word_on_these_bytes(
    given_approvals: list[Approval], submitters: set[str]
) -> None:
    """Never a submitter's, by key or name; never of another digest; each key and name once."""
    lifecycle = Lifecycle(
        submitted=tuple(_speaker(name).statement for name in sorted(submitters)),
        approvals=tuple(given_approvals),
    )
    version = with_lifecycle(a_version(), lifecycle)

    found = counted(version, RULES)

    own = {"acme", *submitters}
    own_keys = {"UPUBLISHER", *(_speaker(name).actor.key for name in submitters)}
    assert all(one.name not in own and one.by not in own_keys for one in found)
    assert all(one.manifest_sha256 == DIGEST for one in found)
    assert all(one.name in owners_of(version, RULES) for one in found)
    assert len({one.name for one in found}) == len({one.by for one in found}) == len(found)


@given(
    name=st.sampled_from(NAMES),
    digest=st.sampled_from(("", DIGEST, "1" * 64)),
    is_attested=st.booleans(),
)
def test_nobody_approves_what_is_not_theirs_to_approve(
    name: str, digest: str, *, is_attested: bool
) -> None:
    """It takes another one's attested name, ownership and the digest; each lack is named."""
    speaker = _speaker(name)
    if not is_attested:
        actor = msgspec.structs.replace(speaker.actor, attested=False)
        speaker = Speaker(actor, "", "", NOW)
    version = a_version()
    expected = {
        *({"manifest_sha256"} if digest != DIGEST else ()),
        *({"caller"} if name in {"acme", "dave"} or not is_attested else ()),
    }
    policy = ReleasePolicy()
    if expected:
        with pytest.raises(RefusedError) as refused:
            approved(version, speaker, RULES, policy, manifest_sha256=digest)
        assert {reason.path for reason in refused.value.reasons} == expected
        return
    after = approved(version, speaker, RULES, policy, manifest_sha256=digest)
    assert [one.name for one in lifecycle_of(after).approvals] == [name]


@given(
    policy=policies,
    channel=st.sampled_from(CHANNELS),
    seconds=st.sampled_from((0, 59, 60)),
    is_yanked=st.booleans(),
)
def test_a_refused_promotion_lists_all_that_is_missing(
    policy: ReleasePolicy, channel: str, seconds: int, *, is_yanked: bool
) -> None:
    """Approvals, time and state are each named, whichever else is missing too."""
    version = a_version(channels=("edge",))
    if is_yanked:
        version = withdrawn(version, "yank", _speaker("alice"))
    given_now = _given(policy, seconds=seconds)

    found = {reason.path for reason in promotion_reasons(version, channel, given_now)}

    demanded = policy.approvals.get(channel, 0)
    assert found == {
        *({"version"} if is_yanked else ()),
        *({"approvals", "approvals[*.c]"} if demanded else ()),
        *({"soak"} if seconds < policy.soak_seconds.get(channel, 0) else ()),
    }


@given(st.permutations(["1.0.0", "1.1.0", "1.2.0", "2.0.0"]), st.integers(1, 4))
def test_only_the_newest_are_picked_and_any_can_be_named(order: list[str], kept: int) -> None:
    """In whatever order versions come, the newest are picked, and a pin finds each of them."""
    policy = ReleasePolicy(kept={"stable": kept})
    record = a_record(*order)
    record = retired(record, ("stable",), policy)

    shown = [one.version for one in record.versions if not lifecycle_of(one).retired]

    assert sorted(shown) == sorted(order)[-kept:]
    for one in order:
        assert resolve(record, name="one", constraint=one, channel="stable").version == one


def test_being_in_the_workbench_is_no_release() -> None:
    """A version in `dev` alone is only submitted."""
    version = a_version(channels=(DEV,))

    assert state_of(version) == "submitted"
    assert state_of(a_version()) == "released"
    assert render_time(NOW) == version.published_at
