# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of proof bundles: what the log proves verifies, and nothing else in its place does."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.auditor.admission import EMPTY_LOG, admit
from services.auditor.checkpoint import CheckpointError, TreeHead, sign_checkpoint, verifier_key
from services.auditor.merkle import Frontier, HashReader, Node, ProofError, leaf_hash
from services.auditor.merkle import prove_inclusion as prove
from services.auditor.proofs import read_bundle, render_bundle, verify_bundle
from services.auditor.query import StoredRecord
from services.auditor.records import StreamMessage, read_message
from services.auditor.tlog_proof import is_tlog_proof, parse_tlog_proof, render_tlog_proof
from shared.contracts.audit import ProofBundle
from shared.contracts.events import Actor
from tests.support.independent_log import verify as verify_independently
from tests.support.records import altered, an_event, message_of

ORIGIN = "l3af.test/log"
SEED = bytes(range(32))
KEY = verifier_key(ORIGIN, seed=SEED)
VKEY = "l3af.test/log+a83390e5+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"


def kept(leaves: list[bytes]) -> HashReader:
    """A reader over a tree of these leaves."""
    _, runs = Frontier().append([leaf_hash(leaf) for leaf in leaves])
    hashes = {
        Node(run.level, run.offset + place): item
        for run in runs
        for place, item in enumerate(run.hashes)
    }
    return lambda nodes: [hashes[node] for node in nodes]


def bundles() -> list[ProofBundle]:
    """One of each kind: an event, an event whose body was erased, a problem."""
    actor = Actor(key="U" + "A" * 55, role="operator", attested=True, address="ab" * 16)
    events = [
        an_event(1, actor=actor, package="rate-limit", reason="it's time", details={"n": [1, 2.5]}),
        an_event(2, outcome="refused", node="n\u00fcrnberg"),
        an_event(3),
    ]
    batch = [message_of(event, place) for place, event in enumerate(events, 1)]
    batch.append(altered(message_of(an_event(4), 4), source="/l3af/scheduler"))
    batch.append(StreamMessage(5, batch[0].subject, "", b"\xff"))
    admission = admit(EMPTY_LOG, [read_message(message) for message in batch], {}, received_us=0)
    leaves = [record.draft.leaf for record in admission.records]
    size = len(leaves)
    read = kept(leaves)
    head = TreeHead(ORIGIN, size, admission.state.frontier.root())
    note = sign_checkpoint(head, seed=SEED)
    return [
        render_bundle(
            StoredRecord(
                record.index,
                record.draft.leaf,
                None if record.index == 2 else record.draft.message.data,
                0,
                record.draft.message.sequence,
                record.draft.problem,
            ),
            inclusion=prove(record.index, size, read),
            checkpoint=note,
            key=KEY,
        )
        for record in admission.records
    ]


BUNDLES = bundles()
TEXTS = [msgspec.json.encode(bundle) for bundle in BUNDLES]


def normal(data: bytes) -> Any:
    """What a document says, however it is spelled."""
    return json.loads(data)


@pytest.mark.parametrize("index", range(len(BUNDLES)))
def test_every_kind_of_record_is_proved_to_both_verifiers(index: int) -> None:
    """Ours and the one that shares no code agree."""
    proved = verify_bundle(read_bundle(TEXTS[index]), key=KEY)

    assert proved.index == index
    assert json.loads(BUNDLES[index].leaf) == verify_independently(normal(TEXTS[index]), VKEY)
    assert (proved.event is None) == (index >= 2)


def restricted(bundle: ProofBundle) -> ProofBundle:
    """The bundle as somebody has it who does not see the record."""
    hashed = leaf_hash(bundle.leaf.encode()).hex()
    return msgspec.structs.replace(bundle, leaf="", event=None, body="", leaf_hash=hashed)


@pytest.mark.parametrize("index", range(len(BUNDLES)))
def test_of_a_restricted_record_it_is_shown_that_the_log_holds_it(index: int) -> None:
    """In either format; a hash that is another one, or has anything beside it, shows nothing."""
    bundle = restricted(BUNDLES[index])
    texts = (msgspec.json.encode(bundle), render_tlog_proof(bundle).encode())
    read = (read_bundle(texts[0]), parse_tlog_proof(texts[1].decode(), key=KEY))
    for one in read:
        proved = verify_bundle(one, key=KEY)
        assert (proved.index, proved.leaf, proved.event) == (index, None, None)
    for change in (
        {"leaf_hash": "0" * 64},
        {"leaf_hash": bundle.leaf_hash.upper() + "A"},
        {"index": index + 1},
        {"leaf": BUNDLES[index].leaf},
        {"body": "{}"},
        {"event": BUNDLES[0].event},
    ):
        with pytest.raises(ProofError):
            verify_bundle(msgspec.structs.replace(bundle, **change), key=KEY)


@settings(max_examples=600)
@given(st.integers(0, len(BUNDLES) - 1), st.integers(0), st.integers(0, 7))
def test_a_bundle_with_any_flipped_bit_is_refused_or_says_the_same(
    index: int, at: int, bit: int
) -> None:
    """Every byte of a bundle counts, unless it only spells the same document differently."""
    text = TEXTS[index]
    at %= len(text)
    flipped = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]

    try:
        proved = verify_bundle(read_bundle(flipped), key=KEY)
    except (ProofError, CheckpointError):
        return

    assert normal(flipped) == normal(text)
    assert proved == verify_bundle(BUNDLES[index], key=KEY)


def test_every_single_byte_of_an_event_bundle_counts() -> None:
    """Exhaustively: no byte can be replaced by another digit or letter unnoticed."""
    text = TEXTS[0]
    unnoticed = []
    for at in range(len(text)):
        for replacement in (b"0", b"a", b"Z"):
            changed = text[:at] + replacement + text[at + 1 :]
            if changed == text:
                continue
            try:
                verify_bundle(read_bundle(changed), key=KEY)
            except (ProofError, CheckpointError):
                continue
            unnoticed.append((at, replacement))

    assert unnoticed == []


@pytest.mark.parametrize(
    "change",
    [
        {"index": 1},
        {"index": -1},
        {"leaf": BUNDLES[1].leaf},
        {"event": BUNDLES[1].event},
        {"body": BUNDLES[1].body},
        {"event": None},
        {"event": None, "body": ""},
        {"inclusion": BUNDLES[1].inclusion},
        {"inclusion": ()},
        {"inclusion": (*BUNDLES[0].inclusion, "00" * 32)},
        {"inclusion": tuple(item.upper() for item in BUNDLES[0].inclusion)},
        {"checkpoint": BUNDLES[0].checkpoint.replace("5", "6", 1)},
        {"kind": "l3af-proof-bundle/v2"},
        {"verifier_key": "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"},
    ],
)
def test_parts_of_another_bundle_do_not_fit(change: dict[str, Any]) -> None:
    """Each part is bound to all others; only a body may be left out, and then it is not proved."""
    changed = msgspec.structs.replace(BUNDLES[0], **change)

    if change == {"event": None, "body": ""}:
        assert verify_bundle(changed, key=KEY).event is None
        return
    with pytest.raises((ProofError, CheckpointError)):
        verify_bundle(changed, key=KEY)


def test_unknown_fields_of_a_bundle_are_refused() -> None:
    """A bundle says nothing that was not checked."""
    plain = {**normal(TEXTS[0]), "approved_by": "somebody"}

    with pytest.raises(ProofError, match="approved_by"):
        read_bundle(json.dumps(plain).encode())


@pytest.mark.parametrize("index", range(len(BUNDLES)))
def test_a_bundle_as_tlog_proof_says_the_same(index: int) -> None:
    """Rendered in the format of the standard and read again, it is the same bundle."""
    text = render_tlog_proof(BUNDLES[index])

    assert is_tlog_proof(text.encode())
    assert not is_tlog_proof(TEXTS[index])
    assert parse_tlog_proof(text, key=KEY) == read_bundle(TEXTS[index])


@settings(max_examples=600)
@given(st.integers(0, len(BUNDLES) - 1), st.integers(0), st.integers(0, 6))
def test_a_tlog_proof_with_any_flipped_bit_is_refused_or_says_the_same(
    index: int, at: int, bit: int
) -> None:
    """Every character counts, unless the document in its extra line is only spelled differently."""
    text = render_tlog_proof(BUNDLES[index])
    at %= len(text)
    flipped = text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]

    try:
        bundle = parse_tlog_proof(flipped, key=KEY)
        proved = verify_bundle(bundle, key=KEY)
    except (ProofError, CheckpointError):
        return

    assert bundle == read_bundle(TEXTS[index])
    assert proved == verify_bundle(BUNDLES[index], key=KEY)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader_of_tlog_proofs(text: str) -> None:
    """Whatever follows the first line is a proof or is refused."""
    for start in ("", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\nextra e30=\nindex "):
        try:
            parse_tlog_proof(start + text, key=KEY)
        except ProofError:
            continue


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever is read is a bundle or is refused."""
    try:
        read_bundle(data)
    except ProofError:
        return


@given(st.binary(max_size=300) | st.recursive(st.none() | st.floats() | st.text(), st.lists))
def test_no_message_breaks_the_log(data: object) -> None:
    """Whatever arrives has a leaf."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()

    draft = read_message(StreamMessage(1, "l3af.v1.evt.public.catalog.a.b", "x", raw))

    assert draft.problem
    assert draft.leaf
