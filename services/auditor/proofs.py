# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Proof bundles: everything needed to check one record offline, made here and checked here.

Pure.  What a valid bundle shows, and nothing more: the log of this key committed, when it had this
many records, to this envelope at this index, and the body is the one whose salted hash the
envelope holds.  It does not show that the emitter told the truth, nor that the log shows everybody
the same: for that, heads must be compared (`check_consistency`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from services.auditor.checkpoint import (
    TreeHead,
    VerifierKey,
    open_checkpoint,
    render_verifier_key,
)
from services.auditor.merkle import Hash, ProofError, check_inclusion, leaf_hash
from services.auditor.query import StoredRecord
from services.auditor.records import PROBLEM_KIND, ProblemLeaf, body_bytes, try_event
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.audit import ProofBundle
from shared.contracts.events import Actor, Envelope, Event, EventBody, contents_problem
from shared.errors import Reason, RefusedError
from shared.validation import decode_document

BUNDLE_KIND: Final = "l3af-proof-bundle/v1"


class _Body(msgspec.Struct, frozen=True):
    subject: str
    data: EventBody


# Messages tolerate fields they do not know; a bundle must not say anything that is not checked.
class _ExactActor(Actor, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _ExactReason(Reason, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _ExactData(EventBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    actor: _ExactActor | None = None
    reasons: tuple[_ExactReason, ...] = ()


class _ExactEvent(Event, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: _ExactData


class _ExactBundle(ProofBundle, frozen=True, kw_only=True, forbid_unknown_fields=True):
    event: _ExactEvent | None = None


@dataclass(frozen=True, slots=True)
class Proved:
    """What a bundle was found to show."""

    head: TreeHead
    index: int
    leaf: Envelope | ProblemLeaf | None
    """None: the record is restricted, and the bundle has the hash of its leaf alone."""
    event: Event | None
    """The whole event, proved to the last field; None if the bundle has no body."""


def render_bundle(
    stored: StoredRecord,
    *,
    inclusion: tuple[Hash, ...],
    checkpoint: str,
    key: VerifierKey,
    key_chain: tuple[str, ...] = (),
) -> ProofBundle:
    """The bundle of one record against one signed head."""
    event, body = None, ""
    if stored.is_erased:
        pass  # what is left of the body hashes to nothing that the leaf says
    elif stored.body is not None and not stored.problem:
        event = try_event(stored.body)
        body = body_bytes(stored.body).decode()
    elif stored.body is not None:
        body = _text(stored.body)
    return ProofBundle(
        kind=BUNDLE_KIND,
        index=stored.index,
        leaf=stored.leaf.decode(),
        event=event,
        body=body,
        inclusion=tuple(item.hex() for item in inclusion),
        checkpoint=checkpoint,
        verifier_key=render_verifier_key(key),
        key_chain=key_chain,
        leaf_hash=stored.leaf_hash.hex(),
    )


def read_bundle(data: bytes) -> ProofBundle:
    """The bundle in a file.

    Raises:
        ProofError: It is not one, or has a field that bundles do not have.
    """
    try:
        return decode_document(data, _ExactBundle, what="bundle")
    except RefusedError as error:
        raise ProofError(f"this is not a proof bundle: {error.message}", error.reasons) from error


def verify_bundle(bundle: ProofBundle, *, key: VerifierKey) -> Proved:
    """What the bundle shows, given that `key` is the log's.

    Raises:
        ProofError: Something in it does not follow from what `key` signed.
        CheckpointError: `key` did not sign its checkpoint.
    """
    if bundle.kind != BUNDLE_KIND:
        raise ProofError(f"a bundle of kind {bundle.kind} cannot be read")
    if bundle.verifier_key != render_verifier_key(key):
        raise ProofError(f"the bundle is of another log: {bundle.verifier_key}")
    head = open_checkpoint(bundle.checkpoint, key=key)
    check_inclusion(
        [_hash(text) for text in bundle.inclusion],
        leaf=leaf_hash_of(bundle),
        index=bundle.index,
        size=head.size,
        root=head.root,
    )
    if bundle.leaf_hash:
        return Proved(head, bundle.index, None, None)
    leaf = _read_leaf(bundle.leaf.encode())
    return Proved(head, bundle.index, *_check_body(leaf, bundle))


def leaf_hash_of(bundle: ProofBundle) -> Hash:
    """The hash of the leaf that the bundle is of.

    Raises:
        ProofError: It has both a leaf and only its hash.
    """
    if not bundle.leaf_hash:
        return leaf_hash(bundle.leaf.encode())
    if bundle.leaf or bundle.body or bundle.event is not None:
        raise ProofError("the bundle of a restricted record has more than its leaf's hash")
    return _hash(bundle.leaf_hash)


def _check_body(
    leaf: Envelope | ProblemLeaf, bundle: ProofBundle
) -> tuple[Envelope | ProblemLeaf, Event | None]:
    """The leaf, and the event once every part of it is known to be the one that was logged."""
    if isinstance(leaf, ProblemLeaf):
        if bundle.event is not None:
            raise ProofError("a message that was not believed is given as an event")
        if bundle.body and sha256_hex(bundle.body.encode()) != leaf.sha256:
            raise ProofError("the message is not the one whose digest was logged")
        return leaf, None
    event = bundle.event
    if event is None:
        if bundle.body:
            raise ProofError("the bundle has a body but no event")
        return leaf, None
    salt = _salt(event.bodysalt)
    if sha256_hex(salt + bundle.body.encode()) != leaf.bodyhash:
        raise ProofError("the body does not hash to what the envelope says")
    try:
        body = msgspec.json.decode(bundle.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofError("the body is not an event's") from error
    proved = Event(
        id=leaf.id,
        source=f"/l3af/{leaf.emitter}",
        type=leaf.type,
        time=leaf.time,
        subject=body.subject,
        audience=leaf.audience,
        emitter=leaf.emitter,
        sequence=leaf.sequence,
        bodysalt=event.bodysalt,
        contents=event.contents,
        data=body.data,
    )
    if problem := contents_problem(proved):
        raise ProofError(problem)
    if canonical_bytes(event) != canonical_bytes(proved):
        raise ProofError("the event is not the one that envelope and body describe")
    return leaf, proved


def _read_leaf(leaf: bytes) -> Envelope | ProblemLeaf:
    """The leaf's meaning; its bytes are proved already."""
    try:
        if PROBLEM_KIND.encode() in leaf:
            return msgspec.json.decode(leaf, type=ProblemLeaf)
        return msgspec.json.decode(leaf, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofError("the leaf is neither an envelope nor a problem") from error


def _salt(text: str) -> bytes:
    try:
        salt = bytes.fromhex(text)
    except ValueError as error:
        raise ProofError("the salt is not hexadecimal") from error
    if salt.hex() != text:
        raise ProofError("the salt is not hexadecimal in lower case")
    return salt


def _hash(text: str) -> Hash:
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise ProofError("a hash in the proof is not hexadecimal") from error
    if value.hex() != text:
        raise ProofError("a hash in the proof is not hexadecimal in lower case")
    return Hash(value)


def _text(data: bytes) -> str:
    """The message as text, if that gives the same bytes again."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""
