# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs of probes as libbpf loads them: each as it was compiled, linked with nothing."""

from __future__ import annotations

import errno
from typing import Any, Final

from services.node_executor.adapters.capture import Captured
from services.node_executor.adapters.kernel_errors import UnsupportedByKernelError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.probe_types import Loading
from shared.errors import Reason, RefusedError

_ABSENT: Final = (errno.ESRCH, errno.ENOENT)


def as_loaded(program: Any) -> Captured:
    """The program's instructions as libbpf gave them to the kernel."""
    ffi, bpf, _ = libraries()
    length = bpf.bpf_program__insn_cnt(program) * 8
    code = bytes(ffi.buffer(bpf.bpf_program__insns(program), length))
    return Captured(code=code, functions=(), function_records=b"", lines=(), types_fd=0)


def verify_against(program: Any, loading: Loading, name: str) -> None:
    """The program will be verified as one for the kernel's function, if it is for one.

    Raises:
        RefusedError: The kernel has no such function.
        UnsupportedByKernelError: The kernel does not describe its functions (BTF).
    """
    if not loading.function:
        return
    result = -libbpf_attach(program, loading.function)
    if not result:
        return
    if result in _ABSENT:
        rule = "is no function of this kernel, or of the kind that the probe needs"
        reason = Reason(path=f"{name}.target", rule=rule, got=loading.function)
        raise RefusedError(f"{name}: '{loading.function}' {rule}", [reason])
    word = errno.errorcode.get(result, str(result))
    raise UnsupportedByKernelError(
        f"{name}: the kernel's BTF, by which '{loading.function}' is found, cannot be read: {word}"
    )


def libbpf_attach(program: Any, function: str) -> int:
    """0, or a negative errno."""
    found = libraries().bpf.bpf_program__set_attach_target(program, 0, function.encode())
    return int(found)
