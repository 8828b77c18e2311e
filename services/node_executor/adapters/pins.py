# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""bpffs: mounting it, and names for kernel objects in it.

A pin keeps its object alive until it is unlinked.  `ip netns exec` hides the host's bpffs behind a
fresh /sys; enter a network namespace with `nsenter --net=` instead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from services.node_executor.adapters.bpf_syscall import (
    GET_PINNED,
    PIN,
    Descriptor,
    Memory,
    bpf,
    bpf_attempt,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.kernel_types import Handle

USUAL_MOUNT_POINT: Final = PurePosixPath("/sys/fs/bpf")
_DIRECTORY_MODE: Final = 0o700
_MOUNTS: Final = Path("/proc/self/mountinfo")


def prepare_pin_directory(directory: PurePosixPath) -> None:
    """`directory` exists and lies in bpffs, which is mounted if need be.

    Raises:
        KernelFaultError: it cannot be mounted or made.
    """
    mount_point = USUAL_MOUNT_POINT if directory.is_relative_to(USUAL_MOUNT_POINT) else directory
    with _faults(f"preparing {directory}"):
        if not is_in_bpffs(directory):
            if mount_point != USUAL_MOUNT_POINT:
                Path(mount_point).mkdir(parents=True, exist_ok=True)
            _mount_once(mount_point)
        Path(directory).mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)


def is_in_bpffs(path: PurePosixPath) -> bool:
    """Whether a file made at `path` would lie in bpffs."""
    closest, kind = PurePosixPath("/"), ""
    for line in _MOUNTS.read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount_point = PurePosixPath(left.split()[4])
        if path.is_relative_to(mount_point) and len(mount_point.parts) >= len(closest.parts):
            closest, kind = mount_point, right.split()[0]
    return kind == "bpf"


def pin(handle: Handle, path: PurePosixPath) -> None:
    """`path` names the object; another object of that name loses it in the same instant.

    Missing directories are made.

    Raises:
        KernelFaultError: bpffs refuses.
    """
    with _faults(f"pinning {path}"):
        failure = _pin_at(path, handle)
        if failure == errno.ENOENT:
            Path(path).parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            failure = _pin_at(path, handle)
        if failure == errno.EEXIST:
            fresh = path.with_name(f"{path.name}-new")
            Path(fresh).unlink(missing_ok=True)
            failure = _pin_at(fresh, handle)
            if not failure:
                Path(fresh).rename(path)
    if failure:
        raise KernelFaultError(f"pinning {path}", failure)


def link_path(path: PurePosixPath, target: PurePosixPath) -> None:
    """`path` is a symbolic link to `target`; another one of that name is that in the same instant.

    Raises:
        KernelFaultError: bpffs refuses.
    """
    with _faults(f"naming {target}"):
        Path(path).parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        fresh = Path(path.with_name(f"{path.name}-new"))
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.rename(path)


def unpin(path: PurePosixPath, *, base: PurePosixPath) -> None:
    """`path` names nothing; directories below `base` that are left empty by that go too.

    Raises:
        KernelFaultError: bpffs refuses.
    """
    with _faults(f"unpinning {path}"):
        Path(path).unlink(missing_ok=True)
        for folder in path.parents:
            if not folder.is_relative_to(base) or folder == base or not _is_removed(folder):
                return


def remove_empty_directories(base: PurePosixPath) -> None:
    """Every directory below `base` has a pin somewhere in it.

    Raises:
        KernelFaultError: bpffs refuses.
    """
    with _faults(f"tidying {base}"):
        folders = [path for path in Path(base).rglob("*") if _is_directory(path)]
        for folder in sorted(folders, reverse=True):
            _is_removed(PurePosixPath(folder))


def open_pinned(path: PurePosixPath) -> Descriptor | None:
    """A hold on the object named `path`; None if there is none.

    Raises:
        KernelFaultError: there is something else, or it may not be opened.
    """
    return open_pinned_text(str(path))


def open_pinned_text(path: str) -> Descriptor | None:
    """The same for a path that is text already; hook points have hundreds of pins."""
    memory = Memory()
    request = struct.pack("<QII", memory.text(path), 0, 0)
    try:
        return Descriptor(bpf(GET_PINNED, request, action=f"opening {path}"))
    except KernelFaultError as error:
        if error.number == errno.ENOENT:
            return None
        raise


def list_pins(directory: PurePosixPath) -> tuple[str, ...]:
    """Names in a directory of bpffs, ascending; none if it does not exist.

    A name that ends in `-new` is what a killed process left and is not listed.
    """
    with _faults(f"listing {directory}"):
        if not Path(directory).is_dir():
            return ()
        names = sorted(entry.name for entry in Path(directory).iterdir())
    return tuple(name for name in names if not name.endswith("-new"))


def _pin_at(path: PurePosixPath, handle: Handle) -> int:
    """What the kernel answers: 0 or errno."""
    memory = Memory()
    _, failure, _ = bpf_attempt(PIN, struct.pack("<QII", memory.text(str(path)), handle.fd, 0))
    return failure


def _mount_once(mount_point: PurePosixPath) -> None:
    """Mount bpffs unless another process was faster: a second mount would hide its pins."""
    ffi, _, c = libraries()
    directory = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if is_in_bpffs(mount_point):
            return
        failed = c.mount(b"bpf", str(mount_point).encode(), b"bpf", 0, b"mode=0700")
        if failed:
            raise KernelFaultError(f"mounting bpffs on {mount_point}", ffi.errno)
    finally:
        os.close(directory)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_removed(folder: PurePosixPath) -> bool:
    """Whether there is no such directory now; one with pins in it stays."""
    try:
        Path(folder).rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@contextmanager
def _faults(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KernelFaultError(action, error.errno or 0) from error
