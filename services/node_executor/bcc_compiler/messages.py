# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the executor and its compiler process say to each other, as JSON.

Pure.  `adapters/bcc_compile.py` writes the same fields without these classes: it runs where they
cannot be imported.
"""

from __future__ import annotations

from typing import Any

from shared.contracts.base import Message


class CompileLimits(Message, frozen=True, kw_only=True):
    """What the child process may use."""

    memory_bytes: int
    """Of address space."""
    processor_seconds: int
    file_bytes: int
    """The largest file that it may write."""


class CompileOrder(Message, frozen=True, kw_only=True):
    """One source to compile."""

    source: str
    """Path below `folder`."""
    folder: str
    """Where the package's files lie."""
    kernel_source: str
    """The tree that bcc gets as BCC_KERNEL_SOURCE; empty: it is unpacked from `headers_archive`."""
    include_folders: tuple[str, ...]
    headers_archive: str
    """An archive of kernel headers that is unpacked into `scratch` before; empty: none."""
    scratch: str
    """A folder of the child's own."""
    limits: CompileLimits


class CompiledMap(Message, frozen=True, kw_only=True):
    """One map as bcc made it in the child."""

    name: str
    type_number: int
    key_size_bytes: int
    value_size_bytes: int
    max_entries: int
    flags: int
    key: Any = None
    """bcc's description of the key's type; None: it has none."""
    value: Any = None


class MapReference(Message, frozen=True, kw_only=True):
    """Where an instruction loads a map."""

    position: int
    """Of the instruction, counted in 8 bytes."""
    map: str


class CompiledFunction(Message, frozen=True, kw_only=True):
    """One function that the source gives the kernel."""

    name: str
    code: bytes
    """Instructions; those that load a map hold 0 in its place."""
    references: tuple[MapReference, ...]


class CompiledSource(Message, frozen=True, kw_only=True):
    """All that comes out of one source."""

    licence: str
    """What it tells the kernel."""
    functions: tuple[CompiledFunction, ...]
    maps: tuple[CompiledMap, ...]


class CompileReply(Message, frozen=True, kw_only=True):
    """What the child process wrote: `compiled`, or nothing if the source does not compile."""

    compiled: CompiledSource | None = None
    confinement: tuple[str, ...] = ()
    """What it gave up, as `capabilities`, `system calls`, `files`."""
    peak_bytes: int = 0
    """The most memory it held at one time."""


class CompilerVersions(Message, frozen=True, kw_only=True):
    """Which compiler there is."""

    bcc: str
    llvm: str = ""
    """As the library is called; empty: it cannot be told."""
