# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who asks is read from what the server itself wrote."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from shared.adapters.attestation import AttestingClient, attested_info

GENUINE = b'Nats-Request-Info: {"acc":"A"}'


def test_the_servers_last_line_counts() -> None:
    """A block that ends with the server's line says who asks."""
    assert attested_info(b"NATS/1.0\r\nx: y\r\n" + GENUINE + b"\r\n\r\n") == '{"acc":"A"}'


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"NATS/1.0\r\n\r\n",
        b"NATS/1.0\r\nNats-Request-Info : {}\r\n\r\n",
        b"NATS/1.0\r\n Nats-Request-Info: {}\r\n\r\n",
        b"NATS/1.0\r\nnats-request-info: {}\r\n\r\n",
        b"NATS/1.0\r\nNats-Request-Info: {}\r\nFoo" + GENUINE + b"\r\n\r\n",
        b"NATS/1.0\r\nNats-Request-Info: {}" + GENUINE + b"\r\n\r\n",
        b"NATS/1.0\r\nx: y\nNats-Request-Info: {}\r\n\r\n",
        b"NATS/1.0\r\n" + GENUINE + b"\r\nNats-Time-Stamp: now\r\n\r\n",
        b"NATS/1.0\r\n" + GENUINE + b"\r\n",
        b"NATS/1.0\r\n" + GENUINE + b"\n\r\n\r\n",
    ],
)
def test_any_other_spelling_or_place_says_nothing(block: bytes) -> None:
    """A line that a client could have caused is not the server's word."""
    assert attested_info(block) == ""


PIECES = st.sampled_from(
    [b"\r\n", b"\n", b":", b": ", b" ", b"\t", b"\x0b", b"\x1c", b"\x85", b"\xc2\xa0", b"\xff", b"",
     b"Nats-Msg-Id", b"NATS-request-INFO", b"nats-request-info", b"Status", b"a b", b"value"]
)  # fmt: skip


@given(pieces=st.lists(PIECES | st.binary(max_size=4), max_size=30))
@settings(max_examples=1000)
def test_headers_are_read_as_the_library_reads_them(pieces: list[bytes]) -> None:
    """The faster reading gives the same names and values for any bytes."""
    block = b"".join(pieces)

    assert AttestingClient._parse_header_lines(block) == Client._parse_header_lines(block)


@given(pieces=st.lists(PIECES, max_size=30))
@settings(max_examples=300)
def test_no_name_that_resembles_the_servers_is_left(pieces: list[bytes]) -> None:
    """Whatever else stands in the block, only the server's own line gives the header."""
    block = b"NATS/1.0\r\n" + b"".join(pieces) + b"\r\n\r\n"
    read = asyncio.run(AttestingClient()._process_headers(block)) or {}

    likenesses = [name for name in read if name.strip().lower() == "nats-request-info"]
    assert likenesses == (["Nats-Request-Info"] if attested_info(block) else [])
