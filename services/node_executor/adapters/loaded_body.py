# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is left of an object that libbpf loaded: one program, its maps, and the body to link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.capture import the_capture
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.kernel_types import LoadedMap, ProgramInfo
from services.node_executor.linking.body import Body
from shared.closing import ClosedAfterUse


@dataclass(frozen=True, slots=True)
class LoadDurations:
    """Where the time went."""

    parse_ns: int
    load_ns: int
    """libbpf: maps, relocation, the kernel's verification."""
    probe_ns: int
    """Asking whether it reads uninitialised stack."""


class LoadedBody(ClosedAfterUse):
    """A program that verified alone, its maps, and the body to link."""

    def __init__(
        self,
        *,
        body: Body,
        data: bytes,
        info: ProgramInfo,
        maps: Mapping[str, LoadedMap],
        durations: LoadDurations,
        has_frags: bool,
        bpf_object: Any,
        bpf_program: Any,
    ) -> None:
        self.body: Final = body
        self.data: Final = data
        self.info: Final = info
        """Of the original, which is never attached."""
        self.maps: Final = maps
        """By declared name; their handles are valid until `close`."""
        self.durations: Final = durations
        self._has_frags: Final = has_frags
        self._object = bpf_object
        self._program: Final = bpf_program

    @property
    def program(self) -> Descriptor:
        """The original, loaded alone; valid until `close`."""
        found = self._program
        return Descriptor(libraries().bpf.bpf_program__fd(found), release=_leave)

    def is_loaded_as(self, licence: str, *, has_frags: bool) -> bool:
        """Whether the original tells the kernel the same as a program that is to be loaded."""
        return self.body.licence == licence and self._has_frags == has_frags

    @property
    def types(self) -> Any:
        """The object's BTF, owned by this body."""
        return libraries().bpf.bpf_object__btf(self._object)

    def close(self) -> None:
        """Give program and maps up; what is pinned or used by a linked program stays."""
        if self._object is not None:
            given_up, self._object = self._object, None
            with the_capture().lock:
                libraries().bpf.bpf_object__close(given_up)


def _leave(_fd: int) -> None:
    """Close nothing."""
