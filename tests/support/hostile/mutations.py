# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Damage at random: what the kinds of the corpus do in one place, anywhere and several times."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.support.hostile.tar_blocks import BLOCK

NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**64 - 1)
WORDS = (
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\0", b"\n", b"null", b"true", b"NaN"),
    *(
        b"1e999",
        b"-1",
        b"1.5",
        b'"\\ud800"',
        b'"name"',
        b"\xed\xa0\x80",
        b"\xff",
        b"../",
        b"9" * 40,
    ),
)
_LONGEST = 64


@st.composite
def damaged(draw: st.DrawFn, good: bytes, words: Sequence[bytes] = ()) -> bytes:
    """The good bytes after one to eight changes.

    Args:
        draw: By Hypothesis.
        good: Not empty.
        words: Also put between others.
    """
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(1, _LONGEST))
        change = draw(st.integers(0, 5 if words else 4))
        if change == 0:
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif change == 1:
            size = draw(st.sampled_from((1, 2, 4, 8)))
            start = place - place % size
            number = draw(st.sampled_from(NUMBERS)) & ((1 << 8 * size) - 1)
            data[start : start + size] = number.to_bytes(size, "little")
        elif change == 2:
            del data[place : place + length]
        elif change == 3:
            data[place:place] = data[place : place + length]
        elif change == 4:
            other = draw(st.integers(0, max(len(data) - 1, 0)))
            data[place : place + length] = data[other : other + length]
        else:
            data[place:place] = draw(st.sampled_from(words))
    return bytes(data)


def with_checksums(archive: bytes) -> bytes:
    """The archive, in which every header adds up, so that damage is not found by its sum alone."""
    data = bytearray(archive)
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + BLOCK])
    return bytes(data)
