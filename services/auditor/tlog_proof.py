# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A proof of one record as text that other tools read: C2SP tlog-proof.

Pure.  The same content as a proof bundle: index, audit path and checkpoint in lines of their own;
leaf, body and event, which the format has no place for, in its `extra` line as base64 of JSON.
A reader of the standard alone takes the record from the JSON's `leaf`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from services.auditor.checkpoint import (
    CheckpointError,
    VerifierKey,
    decode_base64,
    encode_base64,
    render_verifier_key,
)
from services.auditor.log_keys import follow_keys
from services.auditor.merkle import ProofError
from services.auditor.proofs import BUNDLE_KIND, read_bundle
from shared.canonical import canonical_bytes
from shared.contracts.audit import ProofBundle

FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,15})")
_EXTRA_FIELDS: Final = ("leaf", "event", "body", "key_chain", "leaf_hash")


def is_tlog_proof(data: bytes) -> bool:
    """Whether a file says that it is one."""
    return data.startswith(f"{FIRST_LINE}\n".encode())


def render_tlog_proof(bundle: ProofBundle) -> str:
    """The bundle in the format of the standard."""
    fields = msgspec.to_builtins(bundle)
    extra = canonical_bytes({name: fields[name] for name in _EXTRA_FIELDS if fields.get(name)})
    lines = [FIRST_LINE, f"extra {encode_base64(extra)}", f"index {bundle.index}"]
    lines += [encode_base64(bytes.fromhex(item)) for item in bundle.inclusion]
    return "\n".join(lines) + f"\n\n{bundle.checkpoint}"


def parse_tlog_proof(text: str, *, key: VerifierKey) -> ProofBundle:
    """The bundle in such a text, to be verified as any other.

    Args:
        text: Of the file.
        key: The log's, by the reader's word: the format names none.  A chain of keys in the proof
            leads from there to the one that signed.

    Raises:
        ProofError: It is not in the format, or holds no record.
    """
    head, _, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if lines.pop(0) != FIRST_LINE:
        raise ProofError(f"the first line is not {FIRST_LINE}")
    if not lines or not lines[0].startswith("extra "):
        raise ProofError("the proof has no extra line, so it does not say which record it is of")
    try:
        extra = decode_base64(lines.pop(0).removeprefix("extra "), "extra data")
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        inclusion = [decode_base64(line, "inclusion proof").hex() for line in lines]
        fields = msgspec.json.decode(extra, type=dict[str, msgspec.Raw])
        chain = msgspec.json.decode(fields.get("key_chain", b"[]"), type=tuple[str, ...])
        key = follow_keys(key, chain)[-1]
    except CheckpointError as error:
        raise ProofError(error.message) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofError("the extra data is not that of a record") from error
    if index is None:
        raise ProofError("the proof does not say the record's index")
    if unknown := sorted(set(fields) - set(_EXTRA_FIELDS)):
        raise ProofError(f"the extra data has fields that records do not have: {unknown}")
    bundle = {
        "leaf": "",
        **fields,
        "kind": BUNDLE_KIND,
        "index": int(index[1]),
        "inclusion": inclusion,
        "checkpoint": checkpoint,
        "verifier_key": render_verifier_key(key),
    }
    return read_bundle(msgspec.json.encode(bundle))
