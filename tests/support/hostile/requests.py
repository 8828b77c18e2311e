# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile requests to publish a good package."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from tests.support.hostile.documents import ABSENT, BYTES, VALUES, Steps, changed, encoded, spliced
from tests.support.hostile.publications import Kind, Publication, request_document, with_request

_FORM: Final = "has characters or a length that are not allowed"
_SIGNATURES: Final[Steps] = ("signed", "manifest", "signatures")
_FIELDS: Final[tuple[tuple[str, Steps, Any, str, str], ...]] = (
    ("nothing signed", ("signed",), ABSENT, "signed", "is missing"),
    ("null instead of what is signed", ("signed",), None, "signed", ""),
    ("no manifest", ("signed", "manifest"), ABSENT, "signed.manifest", "is missing"),
    ("no certificate", ("signed", "certificate"), ABSENT, "signed.certificate", "is missing"),
    ("no digest", ("signed", "archive_sha256"), ABSENT, "signed.archive_sha256", "is missing"),
    ("a digest in words", ("signed", "archive_sha256"), "x", "signed.archive_sha256", _FORM),
    (
        "a digest with a path",
        ("signed", "archive_sha256"),
        "../" * 21 + "a",
        "signed.archive_sha256",
        _FORM,
    ),
    ("no signatures", _SIGNATURES, [], "signed.manifest.signatures", ""),
    (
        "nine signatures",
        _SIGNATURES,
        [{"keyid": "", "sig": ""}] * 9,
        "signed.manifest.signatures",
        "",
    ),
    (
        "a thousand signatures",
        _SIGNATURES,
        [{"keyid": "", "sig": ""}] * 1000,
        "signed.manifest.signatures",
        "",
    ),
    (
        "a signature without a key",
        (*_SIGNATURES, 0, "keyid"),
        ABSENT,
        "signed.manifest.signatures[0].keyid",
        "is missing",
    ),
    ("a signature that is a list", (*_SIGNATURES, 0), [], "signed.manifest.signatures[0]", ""),
    (
        "a field of an envelope nobody knows",
        ("signed", "manifest", "cert"),
        "",
        "signed.manifest.cert",
        "not a known field",
    ),
    ("a field nobody knows", ("force",), True, "force", "is not a known field"),
    ("a command id with a dot", ("command_id",), "a.b.c.d.e.f", "command_id", _FORM),
    ("a command id with a wildcard", ("command_id",), "pending.>", "command_id", _FORM),
    ("a command id too short", ("command_id",), "short", "command_id", _FORM),
    ("a reason without end", ("reason",), "r" * 1001, "reason", ""),
    ("a reason that is a list", ("reason",), [], "reason", ""),
    ("a channel that is a path", ("channels",), ["../stable"], "channels[0]", _FORM),
    ("a channel that is a number", ("channels",), [1], "channels[0]", ""),
    ("nine channels", ("channels",), [f"c{one}" for one in range(9)], "channels", ""),
    ("no channels", ("channels",), [], "channels", "at least one channel"),
    ("a channel twice", ("channels",), ["beta", "beta"], "channels", "each named once"),
)


def request_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, steps, value, path, rule in _FIELDS:
        yield Kind(f"request: {name}", partial(_with_change, steps, value), path, rule)
    for name, (damage, rule) in BYTES.items():
        make = partial(lambda damage: with_request(damage(encoded(request_document()))), damage)
        if name != "nothing":  # because an empty message is an empty request
            yield Kind(f"request: {name}", make, "", rule)
    for name, (text, rule) in VALUES.items():
        yield Kind(f"request: {name}", partial(_with_text, text), "", rule)


def _with_change(steps: Steps, value: Any) -> Publication:
    return with_request(encoded(changed(request_document(), steps, value)))


def _with_text(text: bytes) -> Publication:
    return with_request(spliced(request_document(), ("reason",), text))
