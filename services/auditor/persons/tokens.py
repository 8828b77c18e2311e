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
    return {
        found.decode()
        for body in bodies
        if body is not None and MARKER in body
        for found in _TOKEN.findall(body)
    }


def opened(body: bytes, words: Mapping[Token, bytes]) -> tuple[bytes, bool]:
    """The message with the words that are known, and whether all of them are.

    Args:
        body: As it is kept.
        words: By token, each as it stood in the message.
    """
    if MARKER not in body:
        return body, True
    is_whole = True

    def word(found: re.Match[bytes]) -> bytes:
        nonlocal is_whole
        known = words.get(found[1].decode())
        if known is None:
            is_whole = False
            return found[0]
        return known

    return _TOKEN.sub(word, body), is_whole


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
