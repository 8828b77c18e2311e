# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The leaf of an event binds its body, whatever the body says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.auditor.records import read_message
from shared.canonical import canonical_bytes
from shared.contracts.events import BY_DIGEST
from tests.support.records import an_event, message_of

FIELDS = ["data", "datacontenttype", ',"data":', ',"datacontenttype":"', '"', "\\", "subject"]
WORDS = st.one_of(st.sampled_from(FIELDS), st.text(max_size=12))
DETAILS = st.recursive(
    st.one_of(st.none(), st.integers(-9, 9), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


@given(
    reason=WORDS,
    event_id=WORDS.filter(bool),
    details=st.dictionaries(WORDS.filter(lambda name: name != BY_DIGEST), DETAILS, max_size=4),
    long=st.booleans(),
)
def test_a_leaf_binds_the_canonical_body(
    *, reason: str, event_id: str, details: dict[str, Any], long: bool
) -> None:
    """It is the envelope with the hash of the body as the contract makes both."""
    text = f"{reason}{'x' * 20_000}" if long else reason
    event = an_event(1, event_id=event_id, reason=text, details=details)
    draft = read_message(message_of(event, 1))
    assert not draft.problem
    assert draft.leaf == canonical_bytes(event.envelope())
