# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile signatures and certificates around a good package."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from shared.canonical import canonical_bytes
from shared.contracts.catalog import DsseEnvelope, DsseSignature
from shared.dsse import (
    CERTIFICATE_TYPE,
    MANIFEST_TYPE,
    key_id,
    public_key_of,
    sign_certificate,
    sign_envelope,
    sign_manifest,
)
from tests.package_builders import PUBLISHER_SEED, STRANGER_SEED, TRUST_SEED, a_certificate
from tests.support.hostile.documents import BYTES, VALUES
from tests.support.hostile.publications import Kind, Publication, good_manifest, with_envelopes

_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's group (RFC 8032 section 5.1): a signature's second half must be below it."""
_UNVERIFIED: Final = "the signature does not verify"
_UNTRUSTED: Final = "no signature is by a trusted key"
_TYPE: Final = "the payload has another type"
_NOT_BASE64: Final = "is not base64"
_NOT_CANONICAL: Final = "is not canonical base64"
Change = Callable[[DsseEnvelope], DsseEnvelope]


def _manifest() -> DsseEnvelope:
    return sign_manifest(good_manifest(), seed=PUBLISHER_SEED)


def _certificate(**changes: Any) -> DsseEnvelope:
    return sign_certificate(a_certificate(**changes), seed=TRUST_SEED)


def _with(envelope: DsseEnvelope, **changes: Any) -> DsseEnvelope:
    return msgspec.structs.replace(envelope, **changes)


def _resigned(change: Callable[[bytes], bytes]) -> Change:
    """The same envelope with a signature of other bytes."""

    def changed(envelope: DsseEnvelope) -> DsseEnvelope:
        (signature,) = envelope.signatures
        raw = change(base64.b64decode(signature.sig))
        other = msgspec.structs.replace(signature, sig=base64.b64encode(raw).decode())
        return _with(envelope, signatures=(other,))

    return changed


def _spelled(change: Callable[[str], str]) -> Change:
    """The same signature in another spelling."""

    def changed(envelope: DsseEnvelope) -> DsseEnvelope:
        (signature,) = envelope.signatures
        other = msgspec.structs.replace(signature, sig=change(signature.sig))
        return _with(envelope, signatures=(other,))

    return changed


def _payload(change: Callable[[str], str]) -> Change:
    return lambda envelope: _with(envelope, payload=change(envelope.payload))


def _signatures(change: Callable[[DsseSignature], tuple[DsseSignature, ...]]) -> Change:
    return lambda envelope: _with(envelope, signatures=change(envelope.signatures[0]))


def _malleable(raw: bytes) -> bytes:
    """The other number that means the same signature: RFC 8032 says to refuse it."""
    number = int.from_bytes(raw[32:], "little") + _ORDER
    return raw[:32] + number.to_bytes(32, "little")


_OTHER: Final = DsseSignature(keyid=key_id(public_key_of(STRANGER_SEED)), sig="AAAA")
_ENVELOPES: Final[dict[str, tuple[Change, str, str]]] = {
    "another type": (lambda one: _with(one, payloadType="text/plain"), "payloadType", _TYPE),
    "no type": (lambda one: _with(one, payloadType=""), "payloadType", _TYPE),
    "a type in capitals": (
        lambda one: _with(one, payloadType=one.payloadType.upper()),
        "payloadType",
        _TYPE,
    ),
    "the type of a later version": (
        lambda one: _with(one, payloadType=one.payloadType.replace("v1", "v2")),
        "payloadType",
        _TYPE,
    ),
    "a payload that is no base64": (_payload(lambda text: "!" + text[1:]), "payload", _NOT_BASE64),
    "a payload without its padding": (
        _payload(
            lambda text: base64.b64encode(base64.b64decode(text) + b"x").decode().rstrip("=")[:-1]
        ),
        "payload",
        "",
    ),
    "a payload with line feeds": (_payload(lambda text: text + "\n"), "payload", _NOT_BASE64),
    "a payload in other letters": (
        _payload(lambda text: "-_" + text[2:]),
        "payload",
        _NOT_BASE64,
    ),
    "a payload that is not ASCII": (_payload(lambda text: "ä" + text[1:]), "payload", _NOT_BASE64),
    "a payload with loose bits": (
        lambda one: _with(one, payload="QQ=="[:1] + "R=="),
        "payload",
        _NOT_CANONICAL,
    ),
    "an empty payload": (_payload(lambda _: ""), "signatures[0]", _UNVERIFIED),
    "another payload": (_payload(lambda _: "e30="), "signatures[0]", _UNVERIFIED),
    "a signature of nobody known": (_signatures(lambda _: (_OTHER,)), "signatures", _UNTRUSTED),
    "a key id in capitals": (
        _signatures(lambda one: (DsseSignature(keyid=one.keyid.upper(), sig=one.sig),)),
        "signatures",
        _UNTRUSTED,
    ),
    "no key id": (
        _signatures(lambda one: (DsseSignature(keyid="", sig=one.sig),)),
        "signatures",
        _UNTRUSTED,
    ),
    "a signature twice": (_signatures(lambda one: (one, one)), "signatures[1]", "twice"),
    "a bad signature behind the good one": (
        _signatures(lambda one: (one, DsseSignature(keyid=one.keyid, sig="A" * 86 + "=="))),
        "signatures[1]",
        "",
    ),
    "a signature with one bit changed": (
        _resigned(lambda raw: bytes((raw[0] ^ 1,)) + raw[1:]),
        "signatures[0]",
        _UNVERIFIED,
    ),
    "a signature of zeros": (_resigned(lambda _: bytes(64)), "signatures[0]", _UNVERIFIED),
    "a signature cut short": (_resigned(lambda raw: raw[:-1]), "signatures[0]", _UNVERIFIED),
    "a signature with more behind it": (
        _resigned(lambda raw: raw + b"\0"),
        "signatures[0]",
        _UNVERIFIED,
    ),
    "a signature in its other number": (_resigned(_malleable), "signatures[0]", _UNVERIFIED),
    "an empty signature": (_resigned(lambda _: b""), "signatures[0]", _UNVERIFIED),
    "a signature that is no base64": (
        _spelled(lambda text: "?" + text[1:]),
        "signatures[0].sig",
        _NOT_BASE64,
    ),
    "a signature in another spelling": (
        _spelled(lambda text: text[:-3] + chr(ord(text[-3]) + 1) + "=="),
        "signatures[0].sig",
        _NOT_CANONICAL,
    ),
}
"""What an envelope is made into, the place in it, words of the reason: for both envelopes."""


def envelope_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, (change, path, rule) in _ENVELOPES.items():
        for which, good in (("manifest", _manifest), ("certificate", _certificate)):
            make = partial(_changed, which, good, change)
            yield Kind(f"{which}'s envelope: {name}", make, f"signed.{which}.{path}", rule)
    yield from _keys()
    yield from _certificates()


def _changed(which: str, good: Callable[[], DsseEnvelope], change: Change) -> Publication:
    return with_envelopes(**{which: change(good())})


def _keys() -> Iterator[Kind]:
    """Good signatures by the wrong keys, and for the wrong type."""
    payload = canonical_bytes(good_manifest())
    word = canonical_bytes(a_certificate())
    signed = "signed.manifest.signatures"
    trusted = "signed.certificate.signatures"
    for name, envelopes, path in (
        ("a stranger's", {"manifest": sign_manifest(good_manifest(), seed=STRANGER_SEED)}, signed),
        ("the trust root's", {"manifest": sign_manifest(good_manifest(), seed=TRUST_SEED)}, signed),
        (
            "the publisher's own word for itself",
            {"certificate": sign_certificate(a_certificate(), seed=PUBLISHER_SEED)},
            trusted,
        ),
        (
            "a stranger's word for itself",
            {
                "manifest": sign_manifest(good_manifest(), seed=STRANGER_SEED),
                "certificate": sign_certificate(a_certificate(STRANGER_SEED), seed=STRANGER_SEED),
            },
            trusted,
        ),
        (
            "a manifest as certificate",
            {"certificate": _manifest()},
            "signed.certificate.payloadType",
        ),
        ("a certificate as manifest", {"manifest": _certificate()}, "signed.manifest.payloadType"),
        (
            "a manifest signed as certificate",
            {
                "manifest": _with(
                    sign_envelope(CERTIFICATE_TYPE, payload, seed=PUBLISHER_SEED),
                    payloadType=MANIFEST_TYPE,
                )
            },
            f"{signed}[0]",
        ),
        (
            "a certificate signed as manifest",
            {
                "certificate": _with(
                    sign_envelope(MANIFEST_TYPE, word, seed=TRUST_SEED),
                    payloadType=CERTIFICATE_TYPE,
                )
            },
            f"{trusted}[0]",
        ),
        (
            "another key's name on the signature",
            {"manifest": _named(sign_manifest(good_manifest(), seed=STRANGER_SEED))},
            f"{signed}[0]",
        ),
    ):
        yield Kind(f"key: {name}", partial(with_envelopes, **envelopes), path, "")


def _named(envelope: DsseEnvelope) -> DsseEnvelope:
    (signature,) = envelope.signatures
    other = DsseSignature(keyid=key_id(public_key_of(PUBLISHER_SEED)), sig=signature.sig)
    return _with(envelope, signatures=(other,))


def _certificates() -> Iterator[Kind]:
    """Certificates that the trust root signed, and that do not say what is needed."""
    place = "signed.certificate.payload"
    for name, changes, path, rule in (
        ("another publisher", {"publisher": "paula"}, f"{place}.publisher", "own key signed"),
        (
            "other packages",
            {"packages": ("two", "on?-*")},
            "signed.manifest.payload.name",
            "may not",
        ),
        ("no packages", {"packages": ()}, f"{place}.packages", ""),
        ("a key in words", {"key": "the publisher's"}, f"{place}.key", "64 hexadecimal"),
        ("a key in capitals", {"key": "AB" * 32}, f"{place}.key", "64 hexadecimal"),
        ("a key too short", {"key": "ab" * 31}, f"{place}.key", "64 hexadecimal"),
        ("a key of zeros", {"key": "00" * 32}, "signed.manifest.signatures", _UNTRUSTED),
        (
            "a key off the curve",
            {"key": "02" + "00" * 31},
            "signed.manifest.signatures",
            _UNTRUSTED,
        ),
        ("a publisher in capitals", {"publisher": "ACME"}, f"{place}.publisher", ""),
    ):
        make = partial(_certified, changes)
        yield Kind(f"certificate: {name}", make, path, rule)
    good = canonical_bytes(a_certificate())
    for name, (damage, rule) in BYTES.items():
        yield Kind(f"certificate: {name}", partial(_word, damage(good)), place, rule)
    for name, (text, rule) in VALUES.items():
        payload = good.replace(b'"2026-01-01"', text)
        yield Kind(f"certificate: {name}", partial(_word, payload), place, rule)


def _certified(changes: dict[str, Any]) -> Publication:
    return with_envelopes(certificate=_certificate(**changes))


def _word(payload: bytes) -> Publication:
    return with_envelopes(certificate=sign_envelope(CERTIFICATE_TYPE, payload, seed=TRUST_SEED))
