# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Many entries of a map in one system call (BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH).

Where a kind of map has no such call, they are written one after another.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from typing import Final, TypeVar

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.bpf_syscall import (
    MAP_DELETE_BATCH,
    MAP_UPDATE_BATCH,
    Memory,
    bpf_attempt,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.kernel_types import Handle

ItemT = TypeVar("ItemT")
_BATCH_BYTES: Final = 4 << 20
"""Of keys and values in one call."""
_COUNT_OFFSET: Final = 32
_FEW: Final = 2
"""So many are not worth a batch."""


def update(handle: Handle, entries: Sequence[tuple[bytes, bytes]]) -> None:
    """Every key has its value, given as the kernel stores it; if it fails, some have.

    Raises:
        KernelFaultError: The kernel refuses an entry.
    """
    entry_bytes = sum(map(len, entries[0])) if entries else 1
    for some in _split(entries, entry_bytes):
        values = b"".join(value for _, value in some)
        done = _batch(handle, MAP_UPDATE_BATCH, [key for key, _ in some], values)
        for key, value in some[done:]:
            map_access.update(handle, key, value)


def delete(handle: Handle, keys: Sequence[bytes]) -> None:
    """There are no entries under the keys; whether there were some does not matter.

    Raises:
        KernelFaultError: The kernel cannot remove an entry.
    """
    for some in _split(keys, len(keys[0]) if keys else 1):
        for key in some[_batch(handle, MAP_DELETE_BATCH, some, b"") :]:
            map_access.delete(handle, key)


def _batch(handle: Handle, command: int, keys: Sequence[bytes], values: bytes) -> int:
    """How many were done; the rest has to be tried one by one, which says why it fails."""
    if len(keys) < _FEW:
        return 0
    memory = Memory()
    request = struct.pack(
        "<QQQQIIQQ",
        *(0, 0, memory.of(b"".join(keys)), memory.of(values) if values else 0),
        *(len(keys), handle.fd, 0, 0),
    )
    _, failure, reply = bpf_attempt(command, request)
    if not failure:
        return len(keys)
    if failure in (errno.ENOMEM, errno.EPERM, errno.EFAULT):
        name = kernel_info.map_info(handle.fd).name
        raise KernelFaultError(f"writing to map {name}", failure)
    # A kind without batches leaves the count as it was given.
    done = int(struct.unpack_from("<I", reply, _COUNT_OFFSET)[0])
    return done if done < len(keys) else 0


def _split(items: Sequence[ItemT], item_bytes: int) -> list[Sequence[ItemT]]:
    size = max(1, _BATCH_BYTES // max(item_bytes, 1))
    return [items[at : at + size] for at in range(0, len(items), size)]
