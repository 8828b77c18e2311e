# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of a version's two halves."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.version_entries import content_of, entry_of, whole, with_state
from shared.contracts.catalog import PackageVersion
from shared.contracts.lifecycle import Lifecycle
from shared.contracts.release_gate import ReleaseGate
from tests.package_builders import a_version

VERSION = a_version()
channels = st.lists(st.sampled_from(["dev", "candidate", "stable"]), unique=True).map(tuple)
lifecycles = st.builds(
    Lifecycle, targets=channels, retired=channels, notes=st.text(max_size=9), yanked=st.none()
)
gates = st.builds(ReleaseGate, order=st.just("o"), ordered_at=st.just(""), awaits=channels)
platforms = st.dictionaries(st.sampled_from(["linux-x86_64", "linux-aarch64"]), st.just("0.9.0"))
versions = st.builds(
    lambda *state: msgspec.structs.replace(
        VERSION, **dict(zip(("channels", "lifecycle", "gate", "unchanged"), state, strict=True))
    ),
    channels,
    st.none() | lifecycles,
    st.none() | gates,
    platforms,
)


@given(versions, versions)
def test_a_version_is_its_entry_and_its_content(
    first: PackageVersion, then: PackageVersion
) -> None:
    """Whatever becomes of it, content that was stored at first and the entry of now are all."""
    entry = with_state(entry_of(first), then)

    assert whole(entry, content_of(first)) == then
    assert content_of(first) == content_of(then)
    assert msgspec.structs.replace(entry, content="") == entry_of(then)
