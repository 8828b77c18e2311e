# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Compiles one source with bcc: a program for the distribution's Python, the only one with bcc.

Usage: /usr/bin/python3 bcc_compile.py versions|compile
`compile` takes an order on standard input.  Both write one JSON document to standard output;
`bcc_compiler/messages.py` describes them.  What compilers say goes to standard error.  Before it
reads the source, the process gives up memory, time, files, system calls and rights that it does
not need.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import importlib
import json
import os
import platform
import re
import resource
import signal
import struct
import sys
import tarfile
from pathlib import Path
from typing import Any, Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_SET_DEATH_SIGNAL, _NO_NEW_PRIVILEGES, _SET_SECCOMP = 1, 38, 22
_CAPABILITIES_VERSION_3: Final = 0x20080522
_NET_ADMIN, _SYS_ADMIN, _BPF = 12, 21, 39
_LAST_CAPABILITY: Final = Path("/proc/sys/kernel/cap_last_cap")
_DESCRIPTIONS: Final = ("bpf_table_key_desc_id", "bpf_table_leaf_desc_id")
_LOAD_MAP: Final = (0x18, 1)
"""BPF_LD | BPF_DW | BPF_IMM with source register BPF_PSEUDO_MAP_FD."""

_FORBIDDEN: Final = {
    "x86_64": (
        0xC000003E,
        # socket connect sendto execve kill ptrace mount umount2 process_vm_readv/writev execveat
        (41, 42, 44, 59, 62, 101, 165, 166, 310, 311, 322, 425, 438),
    ),
    "aarch64": (0xC00000B7, (198, 203, 206, 221, 129, 117, 40, 39, 270, 271, 281, 425, 438)),
}
"""Audit architecture, and numbers of system calls that a compiler has no use for; the last two
are io_uring_setup and pidfd_getfd."""
_X32_BIT: Final = 0x40000000
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM

_READ_FILES: Final = 1 << 2 | 1 << 3
_ALL_FILE_RIGHTS: Final = (1 << 13) - 1
"""Landlock's first version: all that can be done to files and folders."""


class ConfinementError(Exception):
    """The process could not give up what it must."""


def main() -> int:
    """Exit status 0 if there is a reply, 3 if the process could not be confined."""
    reply = os.dup(1)
    os.dup2(2, 1)
    if sys.argv[1:] == ["versions"]:
        return _write(reply, _versions())
    order = json.load(sys.stdin)
    try:
        _limit(order["limits"])
        importlib.import_module("bcc.libbcc")
        confinement = _confine(order)
    except (ConfinementError, OSError) as error:
        sys.stderr.write(f"the compiler process cannot be confined: {error}\n")
        return 3
    compiled = _compile(order)
    return _write(
        reply, {"compiled": compiled, "confinement": confinement, "peak_bytes": _peak_bytes()}
    )


def _write(reply: int, document: dict[str, Any]) -> int:
    with os.fdopen(reply, "w") as file:
        json.dump(document, file)
    return 0


def _versions() -> dict[str, Any]:
    bcc = importlib.import_module("bcc.version")
    importlib.import_module("bcc.libbcc")
    found = re.search(r"/libLLVM[-.]?([0-9.]*[0-9])", Path("/proc/self/maps").read_text())
    return {"bcc": str(bcc.__version__), "llvm": found[1] if found else ""}


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _limit(limits: dict[str, int]) -> None:
    processor_seconds = limits["processor_seconds"]
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (processor_seconds, processor_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Kernels before 5.11 count the memory of maps here.
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def _confine(order: dict[str, Any]) -> list[str]:
    """What was given up, for good."""
    _control(_SET_DEATH_SIGNAL, signal.SIGKILL)
    _control(_NO_NEW_PRIVILEGES, 1)
    given_up = ["capabilities", "system calls"]
    _drop_capabilities()
    if _keep_to_folders(order):
        given_up.append("files")
    _forbid_system_calls()
    return given_up


def _control(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    if _LIBC.prctl(option, *padded):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _drop_capabilities() -> None:
    """Maps are all that is made here: CAP_BPF, and CAP_NET_ADMIN for maps of devices."""
    knows_bpf = int(_LAST_CAPABILITY.read_text()) >= _BPF
    kept = 1 << _NET_ADMIN | (1 << _BPF if knows_bpf else 1 << _SYS_ADMIN)
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITIES_VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(24)
    if _LIBC.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    fields = struct.unpack("<6I", data.raw)
    kept &= fields[1] | fields[4] << 32
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = ctypes.create_string_buffer(struct.pack("<6I", low, low, 0, high, high, 0), 24)
    if _LIBC.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def _forbid_system_calls() -> None:
    """Network, other processes and other programs are out of reach (seccomp, filter mode)."""
    if platform.machine() not in _FORBIDDEN:
        raise ConfinementError(f"its system calls are not known on {platform.machine()}")
    architecture, numbers = _FORBIDDEN[platform.machine()]
    load, jump_equal, jump_from, give = 0x20, 0x15, 0x35, 0x06
    code = [
        (load, 0, 0, 4),
        (jump_equal, 0, len(numbers) + 2, architecture),
        (load, 0, 0, 0),
        (jump_from, len(numbers), 0, _X32_BIT),
        *(
            (jump_equal, len(numbers) - 1 - index, 0, number)
            for index, number in enumerate(numbers)
        ),
    ]
    # The refusal stands right behind the last comparison, permission behind it.
    code[-1] = (jump_equal, 0, 1, numbers[-1])
    code += [(give, 0, 0, _REFUSE), (give, 0, 0, _ALLOW)]
    instructions = b"".join(struct.pack("<HBBI", *one) for one in code)
    kept = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("<H6xQ", len(code), ctypes.addressof(kept))
    given = ctypes.create_string_buffer(program, len(program))
    _control(_SET_SECCOMP, 2, ctypes.addressof(given))


def _keep_to_folders(order: dict[str, Any]) -> bool:
    """Whether the kernel has Landlock: then only these folders can be read, one written."""
    create, add, restrict = 444, 445, 446
    handled = ctypes.create_string_buffer(struct.pack("<Q", _ALL_FILE_RIGHTS), 8)
    rules = _LIBC.syscall(create, handled, 8, 0)
    if rules < 0:
        return False
    readable = ["/usr", "/lib", "/lib64", "/proc/self", "/sys/devices/system/cpu"]
    readable += [order["folder"], order["kernel_source"], order["headers_archive"]]
    readable += order["include_folders"]
    rights = {
        Path(path).resolve(): _READ_FILES for path in readable if path and Path(path).exists()
    }
    rights[Path(order["scratch"]).resolve()] = _ALL_FILE_RIGHTS
    for path, right in rights.items():
        allowed = right if path.is_dir() else right & 1 << 2
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = ctypes.create_string_buffer(struct.pack("<Qi", allowed, parent), 12)
        if _LIBC.syscall(add, rules, 1, rule, 0):
            raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
        os.close(parent)
    if _LIBC.syscall(restrict, rules, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(rules)
    return True


def _unpack_headers(order: dict[str, Any]) -> str:
    """The tree in the archive (CONFIG_IKHEADERS), unpacked."""
    tree = Path(order["scratch"]) / "headers"
    with tarfile.open(order["headers_archive"]) as archive:
        for member in archive:
            target = Path(os.path.normpath(tree / member.name))
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None and target.is_relative_to(tree):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
    return str(tree)


def _compile(order: dict[str, Any]) -> dict[str, Any] | None:
    """The compiled source, or None; then the compiler said why."""
    lib = importlib.import_module("bcc.libbcc").lib
    os.environ["BCC_KERNEL_SOURCE"] = order["kernel_source"] or _unpack_headers(order)
    path = Path(order["folder"]) / order["source"]
    text = f'#line 1 "{order["source"]}"\n'.encode() + path.read_bytes()
    folders = [*order["include_folders"], path.parent, order["folder"]]
    flags = [f"-I{folder}".encode() for folder in folders]
    module = lib.bpf_module_create_c_from_string(
        text, 0, (ctypes.c_char_p * len(flags))(*flags), len(flags), True, None
    )
    if not module:
        return None
    maps, descriptors = _read_maps(lib, module)
    return {
        "licence": lib.bpf_module_license(module).decode(),
        "maps": maps,
        "functions": _read_functions(lib, module, descriptors),
    }


def _read_maps(lib: Any, module: int) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The maps of the source, and the descriptors that instructions name them by."""
    lib.bpf_table_name.restype = ctypes.c_char_p
    for name in ("bpf_table_name", "bpf_table_fd_id", *_DESCRIPTIONS):
        getattr(lib, name).argtypes = [ctypes.c_void_p, ctypes.c_ulonglong]
    for name in ("bpf_table_key_size_id", "bpf_table_leaf_size_id"):
        getattr(lib, name).argtypes = [ctypes.c_void_p, ctypes.c_ulonglong]
        getattr(lib, name).restype = ctypes.c_size_t
    for name in _DESCRIPTIONS:
        getattr(lib, name).restype = ctypes.c_char_p
    maps, descriptors = [], {}
    for index in range(lib.bpf_num_tables(ctypes.c_void_p(module))):
        name = lib.bpf_table_name(module, index).decode()
        descriptors[lib.bpf_table_fd_id(module, index)] = name
        maps.append(
            {
                "name": name,
                "type_number": lib.bpf_table_type_id(module, index),
                "key_size_bytes": lib.bpf_table_key_size_id(module, index),
                "value_size_bytes": lib.bpf_table_leaf_size_id(module, index),
                "max_entries": lib.bpf_table_max_entries_id(module, index),
                "flags": lib.bpf_table_flags_id(module, index),
                "key": _description(lib.bpf_table_key_desc_id(module, index)),
                "value": _description(lib.bpf_table_leaf_desc_id(module, index)),
            }
        )
    return maps, descriptors


def _description(text: bytes | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _read_functions(lib: Any, module: int, descriptors: dict[int, str]) -> list[dict[str, Any]]:
    functions = []
    for index in range(lib.bpf_num_functions(module)):
        name = lib.bpf_function_name(module, index)
        size = lib.bpf_function_size(module, name)
        code = bytearray(ctypes.string_at(lib.bpf_function_start(module, name), size))
        references = []
        for start in range(0, size, 8):
            operation, registers, _, value = struct.unpack_from("<BBhi", code, start)
            if (operation, registers >> 4) == _LOAD_MAP:
                references.append({"position": start // 8, "map": descriptors[value]})
                struct.pack_into("<BBhi", code, start, operation, registers & 0xF, 0, 0)
        functions.append(
            {
                "name": name.decode(),
                "code": base64.b64encode(code).decode(),
                "references": references,
            }
        )
    return functions


if __name__ == "__main__":
    sys.exit(main())
