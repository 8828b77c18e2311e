# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The part of libbpf 1.x and of the C library that is used, opened through cffi.

Structures grow at their end from one libbpf release to the next and carry their size, so the
fields named here are the same from 1.1 (Debian 12) to 1.5 (Debian 13).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

from cffi import FFI

from services.node_executor.adapters.kernel_errors import UnsupportedByKernelError

LIBRARY: Final = "libbpf.so.1"

_DECLARATIONS: Final = """
struct bpf_object; struct bpf_program; struct bpf_map; struct btf;

struct bpf_prog_load_opts {
    size_t sz;
    int attempts; int expected_attach_type;
    uint32_t prog_btf_fd; uint32_t prog_flags; uint32_t prog_ifindex; uint32_t kern_version;
    uint32_t attach_btf_id; uint32_t attach_prog_fd; uint32_t attach_btf_obj_fd;
    const int *fd_array;
    const void *func_info; uint32_t func_info_cnt; uint32_t func_info_rec_size;
    const void *line_info; uint32_t line_info_cnt; uint32_t line_info_rec_size;
    uint32_t log_level; uint32_t log_size; char *log_buf;
};

typedef int (*prepare_load)(struct bpf_program *, struct bpf_prog_load_opts *, long);
struct libbpf_prog_handler_opts {
    size_t sz; long cookie; void *prog_setup_fn; prepare_load prog_prepare_load_fn;
    void *prog_attach_fn;
};
int libbpf_register_prog_handler(const char *, int, int, const struct libbpf_prog_handler_opts *);

typedef int (*print)(int, const char *, void *);
print libbpf_set_print(print);

struct bpf_object_open_opts {
    size_t sz; const char *object_name; bool relaxed_maps; const char *pin_root_path;
    uint32_t reserved; const char *kconfig; const char *btf_custom_path;
    char *kernel_log_buf; size_t kernel_log_size; uint32_t kernel_log_level;
};
struct bpf_object *bpf_object__open_mem(const void *, size_t, const struct bpf_object_open_opts *);
int bpf_object__load(struct bpf_object *);
void bpf_object__close(struct bpf_object *);
struct btf *bpf_object__btf(const struct bpf_object *);
struct bpf_program *bpf_object__next_program(const struct bpf_object *, struct bpf_program *);
struct bpf_map *bpf_object__next_map(const struct bpf_object *, const struct bpf_map *);

const char *bpf_program__name(const struct bpf_program *);
const char *bpf_program__section_name(const struct bpf_program *);
int bpf_program__fd(const struct bpf_program *);
int bpf_program__set_autoload(struct bpf_program *, bool);
int bpf_program__set_type(struct bpf_program *, int);
int bpf_program__set_expected_attach_type(struct bpf_program *, int);
int bpf_program__set_attach_target(struct bpf_program *, int, const char *);
int bpf_program__set_flags(struct bpf_program *, uint32_t);
void bpf_program__set_ifindex(struct bpf_program *, uint32_t);
int bpf_program__set_log_level(struct bpf_program *, uint32_t);
int bpf_program__set_log_buf(struct bpf_program *, char *, size_t);
const void *bpf_program__insns(const struct bpf_program *);
size_t bpf_program__insn_cnt(const struct bpf_program *);

const char *bpf_map__name(const struct bpf_map *);
int bpf_map__fd(const struct bpf_map *);
int bpf_map__reuse_fd(struct bpf_map *, int);
int bpf_map__set_pin_path(struct bpf_map *, const char *);
int bpf_map__type(const struct bpf_map *);
uint32_t bpf_map__key_size(const struct bpf_map *);
uint32_t bpf_map__value_size(const struct bpf_map *);
uint32_t bpf_map__max_entries(const struct bpf_map *);
uint32_t bpf_map__map_flags(const struct bpf_map *);
bool bpf_map__is_internal(const struct bpf_map *);
void *bpf_map__initial_value(struct bpf_map *, size_t *);

struct btf *btf__new_empty(void);
void btf__free(struct btf *);
int btf__add_btf(struct btf *, const struct btf *);
int btf__add_str(struct btf *, const char *);
int btf__add_int(struct btf *, const char *, size_t, int);
int btf__add_struct(struct btf *, const char *, uint32_t);
int btf__add_ptr(struct btf *, int);
int btf__add_func_proto(struct btf *, int);
int btf__add_func_param(struct btf *, const char *, int);
int btf__add_func(struct btf *, const char *, int, int);
int libbpf_find_vmlinux_btf_id(const char *, int);
const char *btf__str_by_offset(const struct btf *, uint32_t);
int btf__load_into_kernel(struct btf *);
int btf__fd(const struct btf *);

int bpf_xdp_query_id(int, int, uint32_t *);
int libbpf_num_possible_cpus(void);
"""

_C_LIBRARY: Final = """
long syscall(long, long, void *, unsigned long);
int vsnprintf(char *, size_t, const char *, void *);
struct capability_header { uint32_t version; int pid; };
struct capability_data { uint32_t effective; uint32_t permitted; uint32_t inheritable; };
int capget(struct capability_header *, struct capability_data *);
int setns(int, int);
int inotify_init1(int);
int inotify_add_watch(int, const char *, uint32_t);
int mount(const char *, const char *, const char *, unsigned long, const void *);
int capset(struct capability_header *, const struct capability_data *);
"""


class Libraries(NamedTuple):
    """The opened libraries; calls release the interpreter's lock."""

    ffi: Any
    bpf: Any
    c: Any


@cache
def libraries() -> Libraries:
    """The libraries, opened once for this process.

    Raises:
        UnsupportedByKernelError: libbpf is not installed.
    """
    ffi = FFI()
    ffi.cdef(_DECLARATIONS + _C_LIBRARY)
    try:
        bpf = ffi.dlopen(LIBRARY)
    except OSError as error:
        raise UnsupportedByKernelError(f"{LIBRARY} is not installed on this node") from error
    return Libraries(ffi, bpf, ffi.dlopen(None))
