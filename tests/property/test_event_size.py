# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever happened can be told to the audit log."""

from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import canonical_bytes
from shared.contracts.events import MAX_EVENT_BYTES, Actor, EventBody, draft_event
from shared.errors import Reason
from shared.event_size import LEFT_OUT, fit_event_body

LABEL = "n" * 63
ANY_TEXT = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from([0, 1, 9_000])
).map(lambda drawn: drawn[0] * drawn[1])
PLAIN = st.one_of(ANY_TEXT, st.integers(0, 2**53), st.lists(ANY_TEXT, max_size=3))
REASONS = st.builds(Reason, path=ANY_TEXT, rule=ANY_TEXT, got=PLAIN, allowed=PLAIN)
BODIES = st.builds(
    EventBody,
    action=st.sampled_from(["node.label", f"{LABEL}.{LABEL}"]),
    outcome=st.sampled_from(["accepted", "failed"]),
    correlation=ANY_TEXT,
    actor=st.none()
    | st.builds(
        Actor,
        key=ANY_TEXT,
        role=ANY_TEXT,
        attested=st.booleans(),
        address=ANY_TEXT,
        through=ANY_TEXT,
    ),
    reason=ANY_TEXT,
    node=ANY_TEXT,
    interface=ANY_TEXT,
    hook=ANY_TEXT,
    deployment=ANY_TEXT,
    package=ANY_TEXT,
    version=ANY_TEXT,
    before=ANY_TEXT,
    after=ANY_TEXT,
    reasons=st.tuples(st.lists(REASONS, max_size=3), st.sampled_from([1, 500])).map(
        lambda drawn: tuple(drawn[0] * drawn[1])
    ),
    details=st.dictionaries(ANY_TEXT, PLAIN, max_size=4),
)


def event_bytes(body: EventBody) -> int:
    """The size of the largest event that can say the body."""
    event = draft_event(
        body,
        event_id="i" * 200,
        emitter=f"node/{LABEL}",
        sequence=2**53,
        time="2026-01-01T00:00:00.000000Z",
        salt=bytes(16),
        audience=f"p_{LABEL}",
    )
    return len(canonical_bytes(event))


@given(BODIES, st.sampled_from([MAX_EVENT_BYTES, 32 * 1024]))
def test_every_body_fits(body: EventBody, limit: int) -> None:
    """The event is within its limit, says the same thing, and fitting it again changes nothing."""
    fitted = fit_event_body(body, event_limit_bytes=limit)

    assert event_bytes(fitted) <= limit
    assert (fitted.action, fitted.outcome) == (body.action, body.outcome)
    assert fit_event_body(fitted, event_limit_bytes=limit) == fitted


@given(BODIES)
def test_what_is_left_out_is_counted(body: EventBody) -> None:
    """Whoever reads a shortened event knows how much is missing; the first reasons stay."""
    fitted = fit_event_body(body)

    missing: dict[str, Any] = fitted.details.get(LEFT_OUT, {})
    assert len(body.reasons) == len(fitted.reasons) + missing.get("reasons", 0)
    kept = {name: value for name, value in fitted.details.items() if name != LEFT_OUT}
    assert len(body.details) == len(kept) + missing.get("details", 0)
    assert kept.items() <= body.details.items()
    assert body.reason.startswith(fitted.reason)
    for before, after in zip(body.reasons, fitted.reasons, strict=False):
        assert before.path.startswith(after.path)
    if LEFT_OUT not in fitted.details:
        assert fitted == body


def test_thousands_of_reasons_leave_the_first_and_the_code() -> None:
    """A refusal of a large request is told with its code, its first reasons and their number."""
    reasons = tuple(Reason(path=f"chain[{n}]", rule="is not known") for n in range(5000))
    body = EventBody(
        action="deployment.apply", outcome="refused", reasons=reasons, details={"code": "x"}
    )

    fitted = fit_event_body(body)

    assert fitted.details["code"] == "x"
    assert fitted.reasons == reasons[: len(fitted.reasons)]
    assert len(fitted.reasons) > 1000
    assert fitted.details[LEFT_OUT] == {
        "reasons": 5000 - len(fitted.reasons),
        "sha256": hashlib.sha256(canonical_bytes(body)).hexdigest(),
    }


def test_who_acted_for_whom_stays_when_the_rest_has_no_room() -> None:
    """The principal and the service in between are told of a shortened event too."""
    actor = Actor(key="U" * 56, role="operator", attested=True, address="a", through="scheduler")
    body = EventBody(
        action="node.label", outcome="accepted", actor=actor, details={"large": "x" * 70_000}
    )

    assert fit_event_body(body).actor == actor
