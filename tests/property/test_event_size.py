# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever happened can be told to the audit log."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from shared.canonical import canonical_bytes
from shared.contracts.events import (
    BY_DIGEST,
    LONGEST_TEXT_BYTES,
    MAX_EVENT_BYTES,
    Actor,
    EventBody,
    contents_problem,
    digest_mark,
    draft_event,
    map_texts,
    with_contents,
    with_texts,
)
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


def texts_of(body: EventBody) -> list[str]:
    """Every text in the details."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    map_texts(body.details, note)
    return found


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
    long = {one for one in texts_of(body) if len(one.encode()) > LONGEST_TEXT_BYTES}
    marks = {digest_mark(one.encode()): one for one in long}
    assert len(marks.keys() & set(texts_of(fitted))) <= missing.get("texts", 0)
    put_back = map_texts(kept, lambda text: marks.get(text, text))
    assert put_back.items() <= body.details.items()
    assert body.reason.startswith(fitted.reason)
    for before, after in zip(body.reasons, fitted.reasons, strict=False):
        assert before.path.startswith(after.path)
    if LEFT_OUT not in fitted.details:
        assert fitted == body


@settings(max_examples=25)
@given(BODIES)
def test_long_texts_stand_beside_the_body_and_can_be_put_back(body: EventBody) -> None:
    """No text of a body is longer than the contract says; its digest leads to it."""
    fitted = fit_event_body(body)
    said, contents = with_contents(fitted)

    assert all(len(text.encode()) <= LONGEST_TEXT_BYTES for text in texts_of(said))
    assert said.details.get(BY_DIGEST, {}).keys() == contents.keys()
    put_back = msgspec.convert(with_texts(msgspec.to_builtins(said), contents), EventBody)
    put_back.details.pop(BY_DIGEST, None)
    assert canonical_bytes(put_back) == canonical_bytes(fitted)


@given(st.data())
def test_contents_that_the_body_does_not_name_are_not_believed(data: st.DataObject) -> None:
    """A text left out, changed or added beside the body is a problem; what was drafted is none."""
    texts = {name: name * LONGEST_TEXT_BYTES * 2 for name in "ab"[: data.draw(st.integers(1, 2))]}
    body = EventBody(action="node.label", outcome="accepted", details=texts)
    event = draft_event(body, event_id="i", emitter="node/n", sequence=1, time="", salt=bytes(16))
    assert isinstance(event.contents, dict)
    assert contents_problem(event) == ""
    digest, text = data.draw(st.sampled_from(sorted(event.contents.items())))
    for wrong in (
        {**event.contents, digest: text + "x"},
        {name: one for name, one in event.contents.items() if name != digest},
        {**event.contents, "0" * 64: "x"},
        {**event.contents, "0" * 64: text},
        UNSET,
    ):
        assert contents_problem(msgspec.structs.replace(event, contents=wrong))


def test_the_longest_texts_are_said_by_their_digests_first() -> None:
    """What does not fit is named in its place with digest and size; all else stays as it is."""
    texts = {"long": "l" * 50_000, "longer": "m" * 60_000, "short": "s" * 9_000}
    body = EventBody(action="node.label", outcome="accepted", details=texts, reason="because")

    fitted = fit_event_body(body)

    assert fitted.details["longer"] == digest_mark(texts["longer"].encode())
    assert (fitted.details["long"], fitted.details["short"]) == (texts["long"], texts["short"])
    assert fitted.details[LEFT_OUT]["texts"] == 1


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
