# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Calls that libbpf 1.0 removed, and what took their place.

Source: libbpf's src/libbpf.h and src/bpf.h of 0.8, LIBBPF_DEPRECATED_SINCE, and src/libbpf.map of
1.0 and later, which has none of them ("Libbpf: the road to v1.0", libbpf's wiki).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_REMOVED: Final = """
bpf_set_link_xdp_fd bpf_xdp_attach
bpf_set_link_xdp_fd_opts bpf_xdp_attach
bpf_get_link_xdp_id bpf_xdp_query_id
bpf_get_link_xdp_info bpf_xdp_query
bpf_load_program bpf_prog_load
bpf_load_program_xattr bpf_prog_load
bpf_verify_program bpf_prog_load
bpf_prog_load_xattr bpf_object__open_file
bpf_prog_load_deprecated bpf_object__open_file
bpf_load_btf bpf_btf_load
bpf_create_map bpf_map_create
bpf_create_map_xattr bpf_map_create
bpf_create_map_node bpf_map_create
bpf_create_map_name bpf_map_create
bpf_create_map_in_map bpf_map_create
bpf_create_map_in_map_node bpf_map_create
bpf_prog_test_run bpf_prog_test_run_opts
bpf_prog_test_run_xattr bpf_prog_test_run_opts
bpf_prog_attach_xattr bpf_prog_attach_opts
bpf_object__open_xattr bpf_object__open_file
bpf_object__open_buffer bpf_object__open_mem
bpf_object__load_xattr bpf_object__load
bpf_object__unload bpf_object__close
bpf_object__next bpf_object__next_program
bpf_object__set_priv bpf_object__name
bpf_object__priv bpf_object__name
bpf_object__find_program_by_title bpf_object__find_program_by_name
bpf_object__find_map_by_offset bpf_object__find_map_by_name
bpf_program__next bpf_object__next_program
bpf_program__prev bpf_object__prev_program
bpf_program__set_priv bpf_program__name
bpf_program__priv bpf_program__name
bpf_program__title bpf_program__section_name
bpf_program__size bpf_program__insn_cnt
bpf_program__load bpf_object__load
bpf_program__get_prog_info_linear bpf_obj_get_info_by_fd
bpf_program__pin_instance bpf_program__pin
bpf_program__unpin_instance bpf_program__unpin
bpf_program__set_prep bpf_program__set_insns
bpf_program__nth_fd bpf_program__fd
bpf_program__is_socket_filter bpf_program__type
bpf_program__is_kprobe bpf_program__type
bpf_program__is_tracepoint bpf_program__type
bpf_program__is_raw_tracepoint bpf_program__type
bpf_program__is_sched_cls bpf_program__type
bpf_program__is_sched_act bpf_program__type
bpf_program__is_xdp bpf_program__type
bpf_program__is_perf_event bpf_program__type
bpf_program__is_tracing bpf_program__type
bpf_program__is_struct_ops bpf_program__type
bpf_program__is_extension bpf_program__type
bpf_program__is_lsm bpf_program__type
bpf_program__is_sk_lookup bpf_program__type
bpf_program__set_socket_filter bpf_program__set_type
bpf_program__set_kprobe bpf_program__set_type
bpf_program__set_tracepoint bpf_program__set_type
bpf_program__set_raw_tracepoint bpf_program__set_type
bpf_program__set_sched_cls bpf_program__set_type
bpf_program__set_sched_act bpf_program__set_type
bpf_program__set_xdp bpf_program__set_type
bpf_program__set_perf_event bpf_program__set_type
bpf_program__set_tracing bpf_program__set_type
bpf_program__set_struct_ops bpf_program__set_type
bpf_program__set_extension bpf_program__set_type
bpf_program__set_lsm bpf_program__set_type
bpf_program__set_sk_lookup bpf_program__set_type
bpf_map__def bpf_map__type
bpf_map__next bpf_object__next_map
bpf_map__prev bpf_object__prev_map
bpf_map__resize bpf_map__set_max_entries
bpf_map__set_priv bpf_map__name
bpf_map__priv bpf_map__name
bpf_map__is_offload_neutral bpf_map__type
bpf_perf_event_read_simple perf_buffer__poll
bpf_probe_prog_type libbpf_probe_bpf_prog_type
bpf_probe_map_type libbpf_probe_bpf_map_type
bpf_probe_helper libbpf_probe_bpf_helper
bpf_probe_large_insn_limit libbpf_probe_bpf_prog_type
btf__get_from_id btf__load_from_kernel_by_id
btf__load btf__load_into_kernel
btf__get_nr_types btf__type_cnt
btf__get_map_kv_tids bpf_map__btf_key_type_id
btf__finalize_data bpf_object__load
btf_ext__reloc_func_info btf_ext__get_raw_data
btf_ext__reloc_line_info btf_ext__get_raw_data
btf_ext__func_info_rec_size btf_ext__get_raw_data
btf_ext__line_info_rec_size btf_ext__get_raw_data
libbpf_find_program_btf_id btf__load_from_kernel_by_id
perf_buffer__new_deprecated perf_buffer__new
perf_buffer__new_raw_deprecated perf_buffer__new_raw
"""
_WORDS: Final = _REMOVED.split()
REPLACEMENTS: Final[dict[str, str]] = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))
"""A function that is gone, and the one to begin with instead."""
GONE_SINCE: Final = "1.0"
_CALL: Final = re.compile(r"\b((?:bpf|btf|btf_ext|libbpf|perf_buffer)_\w{1,60})\s{0,8}\(")


def removed_calls(names: Iterable[str]) -> list[str]:
    """Those of the names that libbpf 1.0 has not, sorted."""
    return sorted({name for name in names if name in REPLACEMENTS})


def removed_calls_of_code(text: str) -> Iterator[tuple[str, int]]:
    """Each call in C code without comments and strings, with its line, the first is 1."""
    for number, line in enumerate(text.splitlines(), start=1):
        for found in _CALL.finditer(line):
            if found[1] in REPLACEMENTS:
                yield found[1], number
