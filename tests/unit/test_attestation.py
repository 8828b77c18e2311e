# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who asks is read from what the server itself wrote."""

from __future__ import annotations

import pytest

from shared.adapters.attestation import attested_info

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
