# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which types of map the kernel makes: one of each is made, as small as it can be, and let go."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from services.node_executor.adapters.bpf_syscall import (
    MAP_CREATE,
    Descriptor,
    Memory,
    bpf_attempt,
)
from shared.bytecode.map_declarations import MAP_TYPES

_BTF_LOAD: Final = 18
_NO_PREALLOCATION, _MMAPABLE = 1 << 0, 1 << 10
_ENOTSUPP: Final = 524


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a type of map has to be made with."""

    key: int = 4
    value: int = 4
    entries: int = 1
    flags: int = 0
    has_inner: bool = False
    has_types: bool = False
    kernel_type: int = 0
    failure: int = 0
    """With which error it ends if the kernel has the type."""


_STORAGE: Final = _Shape(entries=0, flags=_NO_PREALLOCATION, has_types=True)
_RING: Final = _Shape(key=0, value=0, entries=mmap.PAGESIZE)
_QUEUE: Final = _Shape(key=0)
_SHAPES: Final[dict[str, _Shape]] = {
    "stack_trace": _Shape(value=8),
    "lpm_trie": _Shape(key=8, value=8, flags=_NO_PREALLOCATION),
    "array_of_maps": _Shape(has_inner=True),
    "hash_of_maps": _Shape(has_inner=True),
    "cgroup_storage": _Shape(key=16, value=8, entries=0),
    "percpu_cgroup_storage": _Shape(key=16, value=8, entries=0),
    "queue": _QUEUE,
    "stack": _QUEUE,
    "bloom_filter": _QUEUE,
    "sk_storage": _STORAGE,
    "inode_storage": _STORAGE,
    "task_storage": _STORAGE,
    "cgrp_storage": _STORAGE,
    "ringbuf": _RING,
    "user_ringbuf": _RING,
    "struct_ops": _Shape(kernel_type=1, failure=_ENOTSUPP),
    "arena": _Shape(key=0, value=0, flags=_MMAPABLE),
}
"""Those that differ from a map of one 4-byte value under a 4-byte key."""


def map_types_there() -> Iterator[tuple[str, bool]]:
    """Each type that this executor knows, and whether the kernel makes one for this process."""
    with _integer_type() as types_fd, _inner_map() as inner_fd:
        for number, name in enumerate(MAP_TYPES):
            if number:
                yield name, _is_there(number, _SHAPES.get(name, _Shape()), types_fd, inner_fd)


def _is_there(number: int, shape: _Shape, types_fd: int, inner_fd: int) -> bool:
    failure = _create(number, shape, types_fd, inner_fd)
    return failure in (0, shape.failure)


def _create(number: int, shape: _Shape, types_fd: int, inner_fd: int) -> int:
    """Number of the error; 0: it was made, and is gone."""
    fd, failure, _ = bpf_attempt(MAP_CREATE, _request(number, shape, types_fd, inner_fd))
    if not failure:
        Descriptor(fd).close()
    return failure


def _request(number: int, shape: _Shape, types_fd: int, inner_fd: int) -> bytes:
    return struct.pack(
        "<6I4x16s4xIIIIQ",
        *(number, shape.key, shape.value, shape.entries, shape.flags),
        *(inner_fd if shape.has_inner else 0, b"l3af_probe"),
        *((types_fd, 1, 1) if shape.has_types else (0, 0, 0)),
        *(shape.kernel_type, 0),
    )


@contextmanager
def _integer_type() -> Iterator[int]:
    """BTF whose only type, 1, is an integer of 4 bytes; 0 if the kernel takes none.

    Documentation/bpf/btf.rst, sections 2 and 3.
    """
    kind = struct.pack("<IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    names = b"\0int\0"
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(kind), len(kind), len(names))
    memory = Memory()
    data = header + kind + names
    request = struct.pack("<QQII", memory.of(data), 0, len(data), 0)
    yield from _held(*bpf_attempt(_BTF_LOAD, request)[:2])


@contextmanager
def _inner_map() -> Iterator[int]:
    """A map to be the model of inner maps; 0 if the kernel makes none."""
    request = _request(MAP_TYPES.index("hash"), _Shape(), 0, 0)
    yield from _held(*bpf_attempt(MAP_CREATE, request)[:2])


def _held(fd: int, failure: int) -> Iterator[int]:
    if failure:
        yield 0
        return
    with Descriptor(fd) as held:
        yield held.fd
