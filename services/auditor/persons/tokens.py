# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What stands in a kept message in the place of a person's words, and how they come back.

Pure.  A token is a text in JSON, so a message stays JSON whatever of it was erased.  Messages are
changed and restored as bytes: what comes back is the message to the last byte, or has a token.

Rule: A message that holds MARKER by itself never lies in clear, so each token is one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

MARKER: Final = b"l3af-person:"
SUBJECT_DIGITS: Final = 16
"""Of a person's number, hexadecimal: random, and nothing leads from it to the person."""
MAC_DIGITS: Final = 32
"""Of the HMAC-SHA-256 under the person's key, hexadecimal."""
_TOKEN: Final = re.compile(
    rb'"l3af-person:([0-9a-f]{%d}:[0-9a-f]{%d})"' % (SUBJECT_DIGITS, MAC_DIGITS)
)
_OPENING: Final = b'"' + MARKER
_TOKEN_BYTES: Final = SUBJECT_DIGITS + 1 + MAC_DIGITS
_TEXT: Final = MARKER.decode()

Token = str
"""A person's number and a MAC, with a colon between them: as side tables have it."""


def literal_of(token: Token) -> bytes:
    """The token as it stands in a message: a text of JSON."""
    return b'"%b%b"' % (MARKER, token.encode())


def text_of(token: Token) -> str:
    """The token as it stands in a column, and in the text of what was erased."""
    return _TEXT + token


def subject_of(token: Token) -> str:
    """Whose token it is."""
    return token[:SUBJECT_DIGITS]


def is_token_text(text: str) -> bool:
    """Whether a text stands for words that were erased."""
    return _TOKEN.fullmatch(b'"%b"' % text.encode("utf-8", "replace")) is not None


def tokens_in(bodies: Iterable[bytes | None]) -> set[Token]:
    """Every token in these messages."""
    # A search for fixed bytes is many times as fast as one for a pattern, and most tokens recur.
    said = {
        piece[: _TOKEN_BYTES + 1]
        for body in bodies
        if body is not None
        for piece in body.split(_OPENING)[1:]
    }
    # Without its end: before the next token, in what is no JSON.
    whole = (one if len(one) > _TOKEN_BYTES else one + b'"' for one in said)
    return {found[1].decode() for one in whole if (found := _TOKEN.fullmatch(_OPENING + one))}


def opened(body: bytes, words: Mapping[Token, bytes]) -> tuple[bytes, bool]:
    """The message with the words that are known, and whether all of them are.

    Args:
        body: As it is kept.
        words: By token, each as it stood in the message.
    """
    quick = _opened_quickly(body, words)
    if quick is not None:
        return quick, True
    is_whole = True

    def word(found: re.Match[bytes]) -> bytes:
        nonlocal is_whole
        known = words.get(found[1].decode())
        if known is None:
            is_whole = False
            return found[0]
        return known

    return _TOKEN.sub(word, body), is_whole


def _opened_quickly(body: bytes, words: Mapping[Token, bytes]) -> bytes | None:
    """The message with its words; None unless MARKER begins nothing but tokens that are known."""
    begin, *pieces = body.split(_OPENING)
    if not pieces:
        return body
    parts = [begin]
    for piece in pieces:
        if piece[_TOKEN_BYTES : _TOKEN_BYTES + 1] != b'"':
            return None
        known = words.get(piece[:_TOKEN_BYTES].decode("ascii", "replace"))
        if known is None:
            return None
        parts.append(known)
        parts.append(piece[_TOKEN_BYTES + 1 :])
    return b"".join(parts)


def opened_bodies(
    bodies: Sequence[bytes | None], words: Mapping[Token, bytes]
) -> list[tuple[bytes | None, bool]]:
    """Messages with the words that are known, and whether something of each was erased.

    Of a message all of which was erased nothing is left.
    """
    found: list[tuple[bytes | None, bool]] = []
    for body in bodies:
        if body is None:
            found.append((None, False))
            continue
        whole, is_whole = opened(body, words)
        is_gone = not is_whole and _TOKEN.fullmatch(whole) is not None
        found.append((None if is_gone else whole, not is_whole))
    return found


def replaced(body: bytes, tokens: Mapping[Token, Token]) -> bytes:
    """The message with other tokens in the place of some."""

    def other(found: re.Match[bytes]) -> bytes:
        token = tokens.get(found[1].decode())
        return found[0] if token is None else literal_of(token)

    return _TOKEN.sub(other, body) if MARKER in body else body
