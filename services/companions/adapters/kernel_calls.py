# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""System calls that Python has no function for.  Each raises OSError as those of `os` do.

Made between fork and exec, so nothing here takes a lock or starts a thread.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

NEW_NAMESPACE_OF_MOUNTS: Final = 0x00020000
"""CLONE_NEWNS, include/uapi/linux/sched.h."""
READ_ONLY, NO_SET_USER_ID, NO_DEVICES, NO_EXECUTION = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
"""include/uapi/linux/mount.h."""

_KEEP_CAPABILITIES, _BOUNDING_READ, _BOUNDING_DROP = 8, 23, 24
_SUBREAPER, _NO_NEW_PRIVILEGES, _AMBIENT = 36, 38, 47
_AMBIENT_RAISE: Final = 2
"""include/uapi/linux/prctl.h."""
_CAPABILITY_VERSION: Final = 0x20080522
"""include/uapi/linux/capability.h."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _prctl(option: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _checked(_libc.prctl(option, *map(ctypes.c_ulong, padded)), "prctl")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Puts a file system, or a part of one, at `target`."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    _checked(result, f"mount {target}")


def leave_mounts() -> None:
    """This process has a mount table of its own, and nothing that is mounted reaches another's."""
    _checked(_libc.unshare(NEW_NAMESPACE_OF_MOUNTS), "unshare")
    mount("none", "/", "none", RECURSIVE | PRIVATE)


def enter_mounts(descriptor: int) -> None:
    """This process has the mount table that the descriptor is of."""
    _checked(_libc.setns(descriptor, NEW_NAMESPACE_OF_MOUNTS), "setns")


def adopt_orphans() -> None:
    """Processes below this one whose parents end become children of this one."""
    _prctl(_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """No exec gives this process more than it has."""
    _prctl(_NO_NEW_PRIVILEGES, 1)


def keep_capabilities_over_user_change() -> None:
    """Until the next exec."""
    _prctl(_KEEP_CAPABILITIES, 1)


def bound_capabilities(mask: int) -> None:
    """None but these can be had again."""
    number = 0
    while _libc.prctl(_BOUNDING_READ, ctypes.c_ulong(number), 0, 0, 0) >= 0:
        if not mask >> number & 1:
            _prctl(_BOUNDING_DROP, number)
        number += 1


def hold_capabilities(mask: int) -> None:
    """Exactly these are in force, now and after exec."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    sets = struct.pack("=6I", low, low, low, high, high, high)
    _checked(_libc.capset(header, sets), "capset")
    for number in range(mask.bit_length()):
        if mask >> number & 1:
            _prctl(_AMBIENT, _AMBIENT_RAISE, number)


class BpfMaps:
    """Maps by the kernel's id, through libbpf."""

    def __init__(self) -> None:
        self._libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)

    def open(self, number: int) -> int:
        """A descriptor of the map with this id, closed on exec."""
        return _bpf(self._libbpf.bpf_map_get_fd_by_id(ctypes.c_uint32(number)), f"map {number}")

    def pin(self, descriptor: int, path: str) -> None:
        """The map has this path in a BPF file system."""
        _bpf(self._libbpf.bpf_obj_pin(descriptor, path.encode()), f"pin {path}")


def _bpf(result: int, what: str) -> int:
    """The result; libbpf 1.0 returns the negative error number."""
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result
