# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""NATS keys, JWTs and credentials files: Ed25519 behind base32 with a checksum.

Formats: github.com/nats-io/nkeys (keys), github.com/nats-io/jwt v2 (claims and creds files).
Nothing here draws randomness: a seed is an argument.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, get_args

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.canonical import canonical_bytes
from shared.contracts.errors import ErrorCode
from shared.errors import RefusedError

KeyKind = Literal["operator", "account", "user"]
KINDS: Final[tuple[KeyKind, ...]] = get_args(KeyKind)
SEED_BYTES: Final = 32

# nkeys/strkey.go: the top five bits become the first base32 letter (O, A, U and S).
_PREFIXES: Final[dict[KeyKind, int]] = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_SEED_PREFIX: Final = 18 << 3
_CRC_POLYNOMIAL: Final = 0x1021
_PUBLIC_BYTES: Final = 1 + SEED_BYTES + 2
_SECRET_BYTES: Final = 2 + SEED_BYTES + 2
_JWT_HEADER: Final = b'{"typ":"JWT","alg":"ed25519-nkey"}'
_CREDENTIALS: Final = re.compile(
    r"-{3,}BEGIN NATS USER JWT-{3,}\s+(?P<jwt>\S+)\s+-{3,}END NATS USER JWT-{3,}"
    r".*?-{3,}BEGIN USER NKEY SEED-{3,}\s+(?P<seed>\S+)\s+-{3,}END USER NKEY SEED-{3,}",
    re.DOTALL,
)


class KeyFormatError(RefusedError):
    """A key, seed, JWT or credentials file is not what it should be."""

    code: ClassVar[ErrorCode] = "invalid_request"


@dataclass(frozen=True, slots=True)
class NKey:
    """One key pair.  Its representation never shows the seed."""

    kind: KeyKind
    seed: bytes = field(repr=False)
    """32 secret bytes (RFC 8032 section 5.1.5)."""

    @property
    def public(self) -> str:
        """56 characters: `O…`, `A…` or `U…`."""
        raw = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return render_public(self.kind, raw)

    @property
    def secret(self) -> str:
        """58 characters: `SO…`, `SA…` or `SU…`.  Secret."""
        prefix = _PREFIXES[self.kind]
        head = bytes([_SEED_PREFIX | prefix >> 5, (prefix & 31) << 3])
        return _render(head + self.seed)

    def sign(self, message: bytes) -> bytes:
        """The 64 byte signature."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a creds file holds."""

    jwt: str
    key: NKey
    claims: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The name in the JWT."""
        return str(self.claims.get("name", ""))


def render_public(kind: KeyKind, raw: bytes) -> str:
    """The written form of a raw 32 byte public key."""
    return _render(bytes([_PREFIXES[kind]]) + raw)


def parse_public(text: str) -> tuple[KeyKind, bytes]:
    """Kind and raw 32 bytes of a public key.

    Raises:
        KeyFormatError: Not base32, wrong length, kind or checksum.
    """
    raw = _parse(text, _PUBLIC_BYTES, what="public key")
    for kind, prefix in _PREFIXES.items():
        if raw[0] == prefix:
            return kind, raw[1:]
    raise KeyFormatError("public key: of no kind known here")


def parse_secret(text: str) -> NKey:
    """The key pair of a seed.

    Raises:
        KeyFormatError: Not base32, wrong length, kind or checksum; the seed is not repeated.
    """
    raw = _parse(text, _SECRET_BYTES, what="seed")
    if raw[0] & 0xF8 == _SEED_PREFIX:
        for kind, prefix in _PREFIXES.items():
            if (raw[0] & 7) << 5 | raw[1] >> 3 == prefix:
                return NKey(kind, raw[2:])
    raise KeyFormatError("seed: of no kind known here")


def verify_signature(public: str, signature: bytes, message: bytes) -> bool:
    """Whether the holder of `public` signed `message`."""
    _, raw = parse_public(public)
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def render_jwt(claims: dict[str, Any], *, signer: NKey) -> str:
    """The signed JWT; issuer and id are filled in, everything else is the caller's."""
    body = {**claims, "iss": signer.public}
    digest = hashlib.new("sha512_256", canonical_bytes(body)).digest()
    body["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_url64(_JWT_HEADER)}.{_url64(canonical_bytes(body))}"
    return f"{signed}.{_url64(signer.sign(signed.encode()))}"


def parse_jwt(token: str) -> dict[str, Any]:
    """The claims of a JWT whose signature by its own issuer holds.

    Raises:
        KeyFormatError: Not a JWT, or the signature does not match.
    """
    try:
        signed, _, signature = token.strip().rpartition(".")
        claims = msgspec.json.decode(_unurl64(signed.partition(".")[2]), type=dict[str, Any])
        if verify_signature(str(claims.get("iss", "")), _unurl64(signature), signed.encode()):
            return claims
    except (msgspec.DecodeError, ValueError) as error:
        raise KeyFormatError("JWT: not three base64url parts around JSON claims") from error
    raise KeyFormatError("JWT: the signature is not its issuer's")


def render_credentials(jwt: str, key: NKey) -> str:
    """The text of a creds file, as NATS tools write it.  Secret."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        "This file is a secret: whoever holds the seed is this user.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{key.secret}\n------END USER NKEY SEED------\n"
    )


def parse_credentials(text: str) -> Credentials:
    """JWT and key of a creds file; the key is the one the JWT was made for.

    Raises:
        KeyFormatError: A part is missing or malformed, or JWT and seed do not belong together.
    """
    match = _CREDENTIALS.search(text)
    if match is None:
        raise KeyFormatError("credentials: no user JWT followed by a user seed")
    key, claims = parse_secret(match["seed"]), parse_jwt(match["jwt"])
    if key.kind != "user" or claims.get("sub") != key.public:
        raise KeyFormatError("credentials: the seed is not the key the JWT was made for")
    return Credentials(match["jwt"], key, claims)


def _crc16(data: bytes) -> int:
    """CRC-16/XMODEM."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ _CRC_POLYNOMIAL if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def _render(raw: bytes) -> str:
    return base64.b32encode(raw + _crc16(raw).to_bytes(2, "little")).decode().rstrip("=")


def _parse(text: str, size_bytes: int, *, what: str) -> bytes:
    """Prefix and key, checksum taken off."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError as error:
        raise KeyFormatError(f"{what}: not base32") from error
    if len(raw) != size_bytes:
        raise KeyFormatError(f"{what}: wrong length")
    if _crc16(raw[:-2]) != int.from_bytes(raw[-2:], "little"):
        raise KeyFormatError(f"{what}: the checksum does not match")
    return raw[:-2]


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unurl64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
