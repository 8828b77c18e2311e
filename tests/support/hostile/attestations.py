# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile statements of how a package was built, and receipts that nobody may write."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import msgspec

from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.catalog import DsseEnvelope, PublishPackage
from shared.dsse import sign_envelope
from shared.package_archive import write_archive
from shared.provenance.building import build_statement
from shared.provenance.statement import PAYLOAD_TYPE, statement_bytes
from tests.package_builders import PUBLISHER_SEED, STRANGER_SEED, TRUST_SEED, sign
from tests.support.hostile.publications import (
    Kind,
    Publication,
    good_files,
    good_manifest,
)
from tests.support.trusting import with_receipt

_PAYLOAD: Final = "provenance.payload"
_SIGNATURES: Final = "provenance.signatures"


def _statement() -> dict[str, Any]:
    """A good one, as plain objects."""
    statement = build_statement(
        good_manifest(),
        sha256_hex(write_archive(good_files())),
        version="1",
        invocation="run",
        started_at="",
        finished_at="",
    )
    document: dict[str, Any] = msgspec.json.decode(statement_bytes(statement))
    return document


def _signed(payload: bytes, *, seed: bytes = PUBLISHER_SEED, kind: str = PAYLOAD_TYPE) -> Any:
    return sign_envelope(kind, payload, seed=seed)


def _with(envelope: DsseEnvelope) -> Publication:
    archive = write_archive(good_files())
    command = PublishPackage(signed=sign(good_manifest(), archive=archive), provenance=envelope)
    return Publication(canonical_bytes(command), archive)


def _changed(**changes: Any) -> Publication:
    return _with(_signed(canonical_bytes({**_statement(), **changes})))


def _of(payload: bytes, **options: Any) -> Publication:
    return _with(_signed(payload, **options))


def _good(**options: Any) -> Publication:
    return _of(canonical_bytes(_statement()), **options)


def _swapped() -> Publication:
    good, other = _signed(canonical_bytes(_statement())), _signed(b"{}")
    return _with(msgspec.structs.replace(other, payload=good.payload))


def _backdated() -> Publication:
    archive = write_archive(good_files())
    signed = with_receipt(sign(good_manifest(), archive=archive), at="2020-01-01T00:00:00Z")
    return Publication(canonical_bytes(PublishPackage(signed=signed)), archive)


def attestation_kinds() -> Iterator[Kind]:
    """All of them."""
    about = "is about another archive"
    deep = b"[" * 60 + b"]" * 60
    for name, make, path, rule in (
        ("of nobody known", partial(_good, seed=STRANGER_SEED), _SIGNATURES, "trusted key"),
        ("of the trust root", partial(_good, seed=TRUST_SEED), _SIGNATURES, "trusted key"),
        ("of another type", partial(_good, kind="text/plain"), "provenance.payloadType", "type"),
        ("over other bytes", _swapped, f"{_SIGNATURES}[0]", "does not verify"),
        ("that is empty", partial(_of, b""), _PAYLOAD, "is not JSON"),
        ("that is no object", partial(_of, b"7"), _PAYLOAD, ""),
        ("that is nested deeply", partial(_of, b'{"x":' + deep + b"}"), _PAYLOAD, "too deeply"),
        ("that is large", partial(_of, b'"' + b"x" * 70_000 + b'"'), f"{_PAYLOAD}", "too large"),
        ("of another layer", partial(_changed, _type="x"), f"{_PAYLOAD}._type", "another type"),
        (
            "of another predicate",
            partial(_changed, predicateType="https://slsa.dev/provenance/v0.2"),
            f"{_PAYLOAD}.predicateType",
            "another type",
        ),
        ("about nothing", partial(_changed, subject=[]), f"{_PAYLOAD}.subject", ""),
        (
            "about another archive",
            partial(_changed, subject=[{"digest": {"sha256": "00" * 32}}]),
            f"{_PAYLOAD}.subject",
            about,
        ),
        (
            "about a digest of another kind",
            partial(_changed, subject=[{"digest": {"md5": "00"}}]),
            f"{_PAYLOAD}.subject",
            about,
        ),
        (
            "whose digest is no text",
            partial(_changed, subject=[{"digest": {"sha256": 7}}]),
            f"{_PAYLOAD}.subject[0].digest.sha256",
            "",
        ),
        ("without a predicate", partial(_changed, predicate={}), _at("buildDefinition"), "missing"),
    ):
        yield Kind(f"provenance: {name}", make, path, rule)
    yield Kind(
        "receipt: a publisher's own date",
        _backdated,
        "signed.receipt",
        "is the catalog's to write",
    )


def _at(field: str) -> str:
    return f"{_PAYLOAD}.predicate.{field}"
