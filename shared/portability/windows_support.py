# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a program's source could be compiled for eBPF for Windows, and what prevents it first.

Source: microsoft/ebpf-for-windows, include/ebpf_structs.h: helpers 1 to 35, program, attach and map
types, compared by name, because its numbers are its own; include/bpf_helpers.h has printing
(`bpf_printk`) in place of trace_printk.  An object that was made for Windows is read with its
numbers.

Rules, in this order: the hook, helpers, map types, kernel functions, kernel types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shared.bytecode.helper_names import helper_name
from shared.contracts.package_analysis import WindowsSupport
from shared.portability.linux_support import ProgramUse

_HELPERS: Final = """
map_lookup_elem map_update_elem map_delete_elem map_lookup_and_delete_elem tail_call get_prandom_u32
ktime_get_boot_ns get_smp_processor_id ktime_get_ns csum_diff ringbuf_output trace_printk2
trace_printk3 trace_printk4 trace_printk5 map_push_elem map_pop_elem map_peek_elem
get_current_pid_tgid get_current_logon_id is_current_admin memcpy_s memcmp_s memset memmove_s
get_socket_cookie strncpy_s strncat_s strnlen_s ktime_get_boot_ms ktime_get_ms perf_event_output
get_current_process_start_key get_current_thread_create_time redirect_map
"""
HELPERS: Final = tuple(f"bpf_{name}" for name in _HELPERS.split())
"""By id, the first is 1."""
_PRINTING: Final = "bpf_trace_printk"
MAP_TYPES: Final = (
    *("unspec", "hash", "array", "prog_array", "percpu_hash", "percpu_array", "hash_of_maps"),
    *("array_of_maps", "lru_hash", "lpm_trie", "queue", "lru_percpu_hash", "stack", "ringbuf"),
    *("perf_event_array", "xskmap"),
)
"""By number, the first is 0."""
ATTACH_OF_TYPE: Final[dict[str, frozenset[str]]] = {
    "xdp": frozenset({"xdp"}),
    "bind": frozenset({"bind"}),
    "cgroup_sock_addr": frozenset(
        f"cgroup_inet{family}_{what}"
        for what in ("connect", "recv_accept", "connect_authorization", "bind", "listen")
        for family in "46"
    ),
    "sock_ops": frozenset({"cgroup_sock_ops"}),
    "netevent": frozenset({"netevent"}),
    "process": frozenset({"process"}),
}
"""What programs of each type attach to; every other type does not exist there."""
_KNOWN_HELPERS: Final = frozenset((*HELPERS, _PRINTING))


def windows_support(use: ProgramUse, *, made_for_windows: bool = False) -> WindowsSupport:
    """Whether it could run there.

    Args:
        use: What is known of the program.
        made_for_windows: Whether the object's numbers of helpers are those of Windows.
    """
    blocker = next(_blockers(use, made_for_windows=made_for_windows), "")
    return WindowsSupport(possible=not blocker, blocker=blocker)


def _blockers(use: ProgramUse, *, made_for_windows: bool) -> Iterator[str]:
    kind = use.kind
    places = ATTACH_OF_TYPE.get(kind.type)
    if places is None:
        what = f"type {kind.type}" if kind.type else f"section {use.facts.section}"
        yield f"no programs of {what}"
    elif kind.attach not in places:
        yield f"no attaching to {kind.attach}"
    if use.requires.fragments:
        yield "no packets in several buffers (frags)"
    for helper in use.facts.helpers:
        yield from _of_own(helper) if made_for_windows else _of_linux(helper)
    for name in use.requires.map_types:
        if name not in MAP_TYPES[1:]:
            yield f"no map type {name}"
    if use.facts.kernel_functions:
        yield f"no kernel functions, as {use.facts.kernel_functions[0]}"
    if use.requires.kernel_types:
        yield "no kernel types to relocate against (CO-RE)"


def _of_own(helper: int) -> Iterator[str]:
    if not 0 < helper <= len(HELPERS):
        yield f"no helper {helper}: its table ends at {len(HELPERS)}"


def _of_linux(helper: int) -> Iterator[str]:
    if helper_name(helper) not in _KNOWN_HELPERS:
        yield f"no helper {helper_name(helper) or helper}"
