# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a node has to say fits into the audit log and into its record."""

from __future__ import annotations

from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.events import (
    MAX_REFUSAL_BYTES,
    bounded,
    chain_body,
    registration_body,
)
from services.node_executor.generations import Generation, Point, plan_digest
from shared.canonical import canonical_bytes
from shared.contracts.desired import Cause, DesiredChain
from shared.contracts.events import MAX_EVENT_BYTES, EventBody, draft_event
from shared.contracts.interfaces import Interface
from shared.contracts.node import NodeRecord
from shared.contracts.node_actions import ChainAction
from shared.errors import Reason, Refusal
from tests.unit.test_reconciliation import a_program

LABEL = "n" * 63
TEXTS = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4), st.sampled_from([0, 1, 20_000])
).map(lambda drawn: drawn[0] * drawn[1])
VALUES = st.one_of(st.none(), st.integers(0, 2**53), TEXTS, st.lists(TEXTS, max_size=3))
REASONS = st.builds(Reason, path=TEXTS, rule=TEXTS, got=VALUES, allowed=VALUES)
REFUSALS = st.builds(
    Refusal,
    code=st.sampled_from(["conflict", "verifier_rejected"]),
    message=TEXTS,
    reasons=st.tuples(st.lists(REASONS, max_size=3), st.sampled_from([1, 500])).map(
        lambda drawn: tuple(drawn[0] * drawn[1])
    ),
)
CAUSES = st.builds(Cause, command_id=TEXTS, actor_key=TEXTS, actor_role=TEXTS)


def a_chain(programs: int, cause: Cause) -> DesiredChain:
    """A chain of that many programs, with names as long as they may be."""
    made = tuple(
        a_program(f"{number:063}", package=LABEL, version="1.0.0-" + "9" * 50)
        for number in range(programs)
    )
    return DesiredChain(interface="i" * 15, hook="tc-ingress", programs=made, cause=cause)


def event_bytes(body: EventBody) -> int:
    """The size of the event that says the body."""
    event = draft_event(
        body,
        event_id="f" * 64,
        emitter=f"node/{LABEL}",
        sequence=2**53,
        time="2026-01-01T00:00:00.000000Z",
        salt=bytes(16),
    )
    return len(canonical_bytes(event))


@given(
    st.sampled_from(get_args(ChainAction)),
    st.none() | REFUSALS,
    CAUSES,
    st.sampled_from([0, 1, 600]),
    st.lists(st.sampled_from(["PinMap", "WriteMapEntries"]), max_size=3),
)
def test_every_event_about_a_chain_fits(
    action: ChainAction, refusal: Refusal | None, cause: Cause, programs: int, steps: list[str]
) -> None:
    """However long chain, refusal and plan are; what happened and where is always said."""
    chain = a_chain(programs, cause)
    point = Point(chain.interface, chain.hook)
    before = Generation(number=1, pin=1, plan_sha256=plan_digest(chain), chain=chain, program_id=11)

    body = chain_body(
        action,
        node=LABEL,
        point=point,
        cause=cause,
        before=before,
        after=a_chain(1, cause),
        refusal=refusal,
        details={"steps": steps * 3000},
    )

    assert event_bytes(body) <= MAX_EVENT_BYTES
    assert (body.action, body.node, body.interface) == (action, LABEL, chain.interface)
    assert body.before == before.plan_sha256


@given(st.integers(0, 5000), st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_every_registration_fits(interfaces: int, labels: dict[str, str]) -> None:
    """A node of thousands of interfaces can be registered."""
    record = NodeRecord(
        node=LABEL,
        hostname=LABEL,
        architecture="x86_64",
        kernel="6.1",
        executor_version="1.0.0",
        boot_id="b",
        labels=labels,
        interfaces=tuple(Interface(name=f"{n:015}", index=n) for n in range(interfaces)),
    )

    assert event_bytes(registration_body(record)) <= MAX_EVENT_BYTES


@given(REFUSALS)
def test_a_recorded_refusal_is_bounded_and_keeps_its_beginning(refusal: Refusal) -> None:
    """Code, the message's beginning and the first reason stay; bounding again changes nothing."""
    cut = bounded(refusal)

    assert len(msgspec.json.encode(cut)) <= MAX_REFUSAL_BYTES
    assert bounded(cut) == cut
    assert cut.code == refusal.code
    assert refusal.message.startswith(cut.message.removesuffix("…")) or cut == refusal
    assert bool(cut.reasons) == bool(refusal.reasons)
