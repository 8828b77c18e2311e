# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Proofs in files: either format, whose key is trusted, and which witnesses are demanded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from cli.session import installation_dir
from services.auditor.checkpoint import (
    COSIGNATURE,
    CheckpointError,
    VerifierKey,
    parse_verifier_key,
    render_verifier_key,
)
from services.auditor.cosignature import check_witnessed
from services.auditor.log_keys import follow_keys
from services.auditor.proofs import Proved, read_bundle, verify_bundle
from services.auditor.records import render_time_us
from services.auditor.tlog_proof import is_tlog_proof, parse_tlog_proof, render_tlog_proof
from shared.contracts.audit import ProofBundle
from shared.errors import Reason, RefusedError
from shared.installation_facts import FACTS_FILE, parse_facts

MAX_PROOF_BYTES: Final = 1 << 20
"""An event has 64 KiB, a path 53 hashes, a head a signature for each key and witness."""
ProofFormat = Literal["bundle", "tlog-proof"]


class VerifiedWitness(msgspec.Struct, frozen=True, kw_only=True):
    """A witness that cosigned the head that a proof leads to."""

    verifier_key: str
    cosigned_at: str
    """By its own clock, RFC 3339 UTC."""


class VerifiedProof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof that holds, and by whose word."""

    proved: Proved
    key: str
    key_source: str
    """Whose word it is that the key is the log's."""
    witnesses: tuple[VerifiedWitness, ...] = ()


def render_proof(bundle: ProofBundle, wanted: ProofFormat) -> str:
    """The bundle as a file of that format."""
    if wanted == "tlog-proof":
        return render_tlog_proof(bundle)
    return msgspec.json.format(msgspec.json.encode(bundle), indent=2).decode() + "\n"


def verify_proof(
    path: Path, *, key: str, witnesses: Sequence[str], least: int | None
) -> VerifiedProof:
    """What the file shows.

    Args:
        path: Of a bundle or a tlog-proof.
        key: The log's verifier key; empty: the installation's on this machine, or the bundle's.
        witnesses: Verifier keys of witnesses that count.
        least: How many of them must have cosigned; None: every one.

    Raises:
        RefusedError: It shows nothing, or not enough.
    """
    named = _witness_keys(witnesses)
    if least is not None and not 0 <= least <= len(named):
        rule = "more witnesses are demanded than named with --witness"
        raise RefusedError(
            "the demand cannot be met", [Reason(path="--witnesses", rule=rule, got=least)]
        )
    data = read_proof_file(path)
    bundle, trusted, source = _read(data, key, path)
    proved = verify_bundle(bundle, key=trusted)
    said = check_witnessed(
        bundle.checkpoint, witnesses=named, least=len(named) if least is None else least
    )
    return VerifiedProof(
        proved=proved,
        key=render_verifier_key(trusted),
        key_source=source,
        witnesses=tuple(
            VerifiedWitness(
                verifier_key=render_verifier_key(one.witness),
                cosigned_at=render_time_us(one.time * 1_000_000),
            )
            for one in said
        ),
    )


def read_proof_file(path: Path) -> bytes:
    """What a file with a proof or a signed head holds.

    Raises:
        RefusedError: It cannot be read, or is larger than any of them can be.
    """
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_PROOF_BYTES + 1)
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_PROOF_BYTES:
        reason = Reason(
            path="file", rule="is too large", got=str(path), allowed=f"{MAX_PROOF_BYTES} bytes"
        )
        raise RefusedError(f"{path}: is neither a proof nor a signed head", [reason])
    return data


def _read(data: bytes, key: str, path: Path) -> tuple[ProofBundle, VerifierKey, str]:
    """The bundle, the verifier key to go by, and whose word that is."""
    trusted, source = trusted_key(key)
    if not is_tlog_proof(data):
        bundle = read_bundle(data)
        if not trusted:
            trusted = bundle.verifier_key
            source = "the bundle's own word: compare it, or give --key"
        return bundle, follow_keys(parse_verifier_key(trusted), bundle.key_chain)[-1], source
    if not trusted:
        raise RefusedError(f"{path}: a tlog-proof names no key; give the log's with --key")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"{path}: is not text") from error
    parsed = parse_verifier_key(trusted)
    bundle = parse_tlog_proof(text, key=parsed)
    return bundle, parse_verifier_key(bundle.verifier_key), source


def trusted_key(given: str) -> tuple[str, str]:
    """The log's verifier key to go by, and whose word it is; empty if nobody says one."""
    if given:
        return given, "your own word"
    facts = installation_dir() / FACTS_FILE
    try:
        return parse_facts(facts.read_bytes()).log_verifier_key, f"the word of {facts.parent}"
    except (OSError, RefusedError):
        return "", ""


def _witness_keys(texts: Sequence[str]) -> list[VerifierKey]:
    found, reasons = [], []
    for text in dict.fromkeys(texts):
        try:
            found.append(parse_verifier_key(text, algorithm=COSIGNATURE))
        except CheckpointError as error:
            reasons.append(Reason(path="--witness", rule=error.message, got=text))
    if reasons:
        raise RefusedError("not every witness's verifier key can be used", reasons)
    return found
