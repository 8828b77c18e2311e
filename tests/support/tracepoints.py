# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a user does with the rest of an object whose filter stands in a chain: attach it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from services.node_executor.kernel_types import Handle

_POINTER = ctypes.c_void_p


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libbpf.so.1")
    for name, result, arguments in (
        ("bpf_object__open_mem", _POINTER, (ctypes.c_char_p, ctypes.c_size_t, _POINTER)),
        ("bpf_object__find_program_by_name", _POINTER, (_POINTER, ctypes.c_char_p)),
        ("bpf_object__next_program", _POINTER, (_POINTER, _POINTER)),
        ("bpf_object__find_map_by_name", _POINTER, (_POINTER, ctypes.c_char_p)),
        ("bpf_object__load", ctypes.c_int, (_POINTER,)),
        ("bpf_object__close", None, (_POINTER,)),
        ("bpf_program__set_autoload", ctypes.c_int, (_POINTER, ctypes.c_bool)),
        ("bpf_program__attach", _POINTER, (_POINTER,)),
        ("bpf_map__reuse_fd", ctypes.c_int, (_POINTER, ctypes.c_int)),
        ("bpf_link__destroy", ctypes.c_int, (_POINTER,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@contextmanager
def attached_tracepoint(data: bytes, function: str, maps: Mapping[str, Handle]) -> Iterator[None]:
    """The object's tracepoint program runs, on maps that exist already."""
    library = _library()
    opened = library.bpf_object__open_mem(data, len(data), None)
    try:
        program = library.bpf_object__next_program(opened, None)
        while program:
            library.bpf_program__set_autoload(program, False)
            program = library.bpf_object__next_program(opened, program)
        wanted = library.bpf_object__find_program_by_name(opened, function.encode())
        library.bpf_program__set_autoload(wanted, True)
        for name, handle in maps.items():
            entry = library.bpf_object__find_map_by_name(opened, name.encode())
            assert library.bpf_map__reuse_fd(entry, handle.fd) == 0
        assert library.bpf_object__load(opened) == 0
        link = library.bpf_program__attach(wanted)
        assert link
        try:
            yield
        finally:
            library.bpf_link__destroy(link)
    finally:
        library.bpf_object__close(opened)
