# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says of a program that it compiled itself."""

from __future__ import annotations

from shared.contracts.base import Message


class Compilation(Message, frozen=True, kw_only=True):
    """How a node made a program out of C source; the publisher's signature covers the source."""

    source: str
    """Path in the archive."""
    source_sha256: str
    """Of the source and every header of the package, in canonical bytes."""
    bytecode_sha256: str
    """Of the function's instructions; those that load a map hold 0 in its place."""
    compiler: str
    """As `bcc 0.26.0, LLVM 14`."""
    headers: str
    """Release of the kernel headers, as `6.1.0-56-amd64`."""
    kernel: str
    """Release of the kernel that ran, as `uname -r` says."""
