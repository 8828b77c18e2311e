# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which probes this kernel takes: tried, and what is missing is said by the kernel's own names.

What is tried lasts for a moment, counts nothing, and is on functions that are made for tests or
called rarely.  A kernel that refuses is not asked again in another way.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Final

from services.node_executor.adapters.bpf_syscall import (
    PROGRAM_LOAD,
    PROGRAM_QUERY,
    Descriptor,
    Memory,
    bpf_attempt,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError, UnsupportedByKernelError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.adapters.probe_links import event_source, make_link
from services.node_executor.adapters.probe_places import (
    NO_CGROUP2,
    TargetMissingError,
    cgroup2_roots,
    open_cgroup,
)
from services.node_executor.adapters.raw_syscalls import LIST_SECURITY_MODULES, syscall
from services.node_executor.probe_types import Loading, loading_of
from shared.contracts.probes import (
    PROBE_FEATURES,
    CgroupTarget,
    FentryTarget,
    FexitTarget,
    IteratorTarget,
    KprobeTarget,
    LsmTarget,
    ProbeTarget,
    RawTracepointTarget,
    SockopsTarget,
    TracepointTarget,
    UprobeTarget,
    kind_of,
)
from shared.errors import FaultError, Reason, RefusedError
from shared.identifiers import ProbeHook

_RETURN_ZERO: Final = struct.pack("<BBHiBBHi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
_FOR_TESTS: Final = "bpf_fentry_test1"
"""A function that the kernel calls in BPF_PROG_TEST_RUN alone."""
_RARE: Final = "sched_process_exec"
_ON_FUNCTIONS: Final = ("fentry", "fexit", "kprobe", "kretprobe", "lsm")
_BPF_MODULE: Final = 109
"""LSM_ID_BPF of include/uapi/linux/lsm.h."""
_MODULES_BYTES: Final = 256


class NotThereError(Exception):
    """The kernel lacks something; says what."""


def require(hook: ProbeHook) -> None:
    """Nothing, if the kernel's own functions can have such a probe; other kinds are not asked for.

    Raises:
        UnsupportedByKernelError: They cannot; what the kernel lacks is named.
    """
    if hook in _ON_FUNCTIONS and (why := _why_missing(hook)):
        raise UnsupportedByKernelError(why, [Reason(path="target.kind", rule=why, got=hook)])


def missing_probes() -> Iterator[tuple[ProbeHook, str]]:
    """Each kind of probe, and why it cannot be attached here; empty: it can."""
    for hook in PROBE_FEATURES:
        yield hook, _why_missing(hook)


def attach_once(target: ProbeTarget) -> None:
    """A program that does nothing was on the target for a moment.

    Raises:
        TargetMissingError: There is no such target.
        UnsupportedByKernelError: The kernel does not load such programs.
        KernelFaultError: Any other failure.
    """
    try:
        program = _loaded(loading_of(target), f"{kind_of(target)} probes")
    except NotThereError as error:
        raise UnsupportedByKernelError(str(error)) from error
    with program:
        make_link(program, target).close()


@cache
def _why_missing(hook: ProbeHook) -> str:
    try:
        _TRIALS[hook]()
    except NotThereError as error:
        return str(error)
    except (RefusedError, FaultError) as error:
        return error.message
    return ""


def _attached(target: ProbeTarget, what: str) -> None:
    """A program that does nothing was on the target for a moment."""
    loading = loading_of(target)
    with _loaded(loading, what) as program:
        try:
            make_link(program, target).close()
        except (KernelFaultError, TargetMissingError, UnsupportedByKernelError) as error:
            raise NotThereError(f"the kernel has no {what}: {error.message}") from error


def _loaded(loading: Loading, what: str) -> Descriptor:
    """Such a program.

    Raises:
        NotThereError: The kernel does not load it.
    """
    function = 0
    if loading.function:
        found = libraries().bpf.libbpf_find_vmlinux_btf_id(
            loading.function.encode(), loading.attach_type
        )
        if found <= 0:
            rule = f"BTF names no function '{loading.function}'"
            raise NotThereError(f"the kernel has no {what}: its {rule}")
        function = int(found)
    memory = Memory()
    request = struct.pack(
        "<IIQQIIQII16sIIIIQIIQII",
        *(loading.program_type, len(_RETURN_ZERO) // 8),
        *(memory.of(_RETURN_ZERO), memory.text("GPL")),
        *(0, 0, 0, 0, 0),
        *(b"l3af_probe", 0, loading.attach_type),
        *(0, 0, 0, 0, 0, 0, 0, function),
    )
    fd, failure, _ = bpf_attempt(PROGRAM_LOAD, request)
    if failure:
        name = errno.errorcode.get(failure, str(failure))
        raise NotThereError(f"the kernel has no {what}: it does not load the program ({name})")
    return Descriptor(fd)


def _tracepoint() -> None:
    target = TracepointTarget(category="sched", name=_RARE)
    _attached(target, "tracepoints for eBPF (CONFIG_BPF_EVENTS)")


def _raw_tracepoint() -> None:
    _attached(RawTracepointTarget(name=_RARE), "raw tracepoints (CONFIG_BPF_EVENTS)")


def _kprobe() -> None:
    """The source of events alone: whatever function is taken, somebody may be in it."""
    event_source("kprobe")
    _loaded(loading_of(KprobeTarget(function=_FOR_TESTS)), "kprobes (CONFIG_KPROBES)").close()


def _uprobe() -> None:
    event_source("uprobe")
    loading = loading_of(UprobeTarget(path="/"))
    _loaded(loading, "uprobes (CONFIG_UPROBES)").close()


def _fentry() -> None:
    what = "fentry (BPF trampolines: CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)"
    _attached(FentryTarget(function=_FOR_TESTS), what)


def _fexit() -> None:
    what = "fexit (BPF trampolines: CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)"
    _attached(FexitTarget(function=_FOR_TESTS), what)


def _lsm() -> None:
    memory, size = bytearray(_MODULES_BYTES), bytearray(struct.pack("<I", _MODULES_BYTES))
    count, failure = syscall(LIST_SECURITY_MODULES, memory, size, 0)
    active = struct.unpack_from(f"<{max(count, 0)}Q", memory)
    if not failure and _BPF_MODULE not in active:
        words = "the kernel has no BPF LSM: 'bpf' is not among the modules that it started (lsm=)"
        raise NotThereError(words)
    loading = loading_of(LsmTarget(function="file_open"))
    _loaded(loading, "BPF LSM (CONFIG_BPF_LSM, BPF trampolines)").close()


def _cgroup() -> None:
    roots = cgroup2_roots()
    if not roots:
        raise NotThereError(NO_CGROUP2)
    target = CgroupTarget(path=str(roots[0]), attach="ingress")
    _loaded(loading_of(target), "programs of cgroups (CONFIG_CGROUP_BPF)").close()
    _asked_about(target)


def _sockops() -> None:
    roots = cgroup2_roots()
    if not roots:
        raise NotThereError(NO_CGROUP2)
    target = SockopsTarget(path=str(roots[0]))
    _loaded(loading_of(target), "sockops (CONFIG_CGROUP_BPF)").close()
    _asked_about(target)


def _asked_about(target: CgroupTarget | SockopsTarget) -> None:
    """Nothing is put on the root, which all processes are in; the kernel says what is there."""
    with ExitStack() as held:
        cgroup = held.enter_context(open_cgroup(target))
        request = struct.pack("<IIIIQIIQQQQ", cgroup.fd, loading_of(target).attach_type, *[0] * 9)
        _, failure, _ = bpf_attempt(PROGRAM_QUERY, request)
    if failure:
        name = errno.errorcode.get(failure, str(failure))
        raise NotThereError(f"the kernel has no programs of cgroups (CONFIG_CGROUP_BPF: {name})")


def _iterator() -> None:
    _attached(IteratorTarget(over="task"), "iterators of tasks (CONFIG_BPF_SYSCALL, BTF)")


_TRIALS: Final[dict[ProbeHook, Callable[[], None]]] = {
    "tracepoint": _tracepoint,
    "raw-tracepoint": _raw_tracepoint,
    "kprobe": _kprobe,
    "kretprobe": _kprobe,
    "uprobe": _uprobe,
    "uretprobe": _uprobe,
    "fentry": _fentry,
    "fexit": _fexit,
    "lsm": _lsm,
    "cgroup": _cgroup,
    "sockops": _sockops,
    "iterator": _iterator,
}
