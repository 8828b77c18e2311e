# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of what was used last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.recent import Recent

LIMIT = 10
keys = st.sampled_from("abcdef")
steps = st.lists(st.tuples(st.sampled_from(["put", "get", "drop"]), keys, st.integers(0, 14)))


@given(steps)
def test_what_is_kept_was_used_last_and_has_room(done: list[tuple[str, str, int]]) -> None:
    """As a list in order of use would have it, cut off where the room ends."""
    recent = Recent[int](LIMIT)
    model: list[tuple[str, int]] = []
    for verb, key, weight in done:
        known = dict(model)
        weighs = weight if verb == "put" else known.get(key)
        if verb == "put":
            recent.put(key, weight, weight=weight)
        elif verb == "get":
            assert recent.get(key) == weighs
        else:
            recent.drop(key)
        model = [one for one in model if one[0] != key]
        if verb != "drop" and weighs is not None:
            model.append((key, weighs))
        while sum(weight for _, weight in model) > LIMIT and len(model) > 1:
            model.pop(0)
        assert {one for one in "abcdef" if one in recent} == {one for one, _ in model}
