# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is found out about a package from its bytes, without loading it."""

from __future__ import annotations

from shared.contracts.base import Message
from shared.contracts.value_types import InnerMap, Layout


class MapFacts(Message, frozen=True, kw_only=True):
    """One map as the ELF declares it."""

    name: str
    type: str
    """Kernel name in lower case, as `percpu_hash`."""
    key_size_bytes: int
    value_size_bytes: int
    max_entries: int
    key: Layout | None = None
    """Type of the keys; null: BTF does not tell it, or the package does not offer the map."""
    value: Layout | None = None
    inner: InnerMap | None = None
    """Of a map of maps: what it holds; null: it is none, or as for `key`."""
    is_pinned_by_name: bool = False
    """Whether the object asks for one map of that name for all who do (`LIBBPF_PIN_BY_NAME`).  On
    nodes every instance has its own all the same."""


class VariableFacts(Message, frozen=True, kw_only=True):
    """One global variable that the package offers for configuration."""

    name: str
    is_constant: bool
    """Whether it is part of the program's code, so that the program is linked anew for it."""
    type: Layout
    initial: str
    """What the source gives it, as hexadecimal digits."""


class ProgramRequirements(Message, frozen=True, kw_only=True):
    """What a program cannot do without, whatever kernel it is loaded on.

    A call behind a question that the program asks at load time (CO-RE, weak symbols, constants) is
    not among it.
    """

    helpers: tuple[int, ...] = ()
    """Ids, ascending."""
    kernel_functions: tuple[str, ...] = ()
    """Names of kernel functions (kfuncs), ascending."""
    map_types: tuple[str, ...] = ()
    """Of all maps of its object: they are made with it."""
    kernel_types: bool = False
    """Whether the object is relocated against the kernel's BTF."""
    fragments: bool = False
    """Whether it is declared to read packets in several buffers (section `xdp.frags`)."""
    licence: str = ""
    """The kernel's licence string."""


class ProgramFacts(Message, frozen=True, kw_only=True):
    """One program as the ELF holds it, read without loading."""

    function: str
    section: str
    instructions: int
    helpers: tuple[int, ...]
    """Helper ids called, ascending."""
    kernel_functions: tuple[str, ...] = ()
    """Names of kernel functions (kfuncs) called, ascending."""
    requires: ProgramRequirements | None = None
    """None: not computed, as for versions published before it was."""


class ElfFacts(Message, frozen=True, kw_only=True):
    """One object file, read without loading; or one C source, read without compiling."""

    path: str
    compiler: str = ""
    """What nodes compile it with; then only names, map types and the licence string are known,
    and every number, helper and kernel function is left out."""
    licence: str
    """The kernel's licence string, as `Dual BSD/GPL`; empty when the ELF has none."""
    has_btf: bool
    needs_kernel_btf: bool
    """Whether CO-RE relocations make libbpf read the kernel's BTF."""
    programs: tuple[ProgramFacts, ...]
    maps: tuple[MapFacts, ...]
    variables: tuple[VariableFacts, ...] = ()
