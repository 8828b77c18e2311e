# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Small programs with few maps, of licences that may and may not share a kernel program.

All programs, and all maps that packages declare, carry one stamp in their names, so that a test
finds its own among everything that the kernel has.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache

import msgspec

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import MAP_NEXT_ID, PROGRAM_NEXT_ID, ids
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.kernel_types import ProgramInfo
from services.node_executor.packages import OpenedPackage
from shared.contracts.desired import DesiredProgram
from shared.contracts.package_manifest import MapEntry
from shared.identifiers import Hook
from tests.support.bpf_objects import compile_source
from tests.support.executors import a_program, published

_SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} packets SEC(".maps");

SEC("SECTION")
int counts(struct CONTEXT *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&packets, &zero);

	if (value)
		*value += STEP;
	OTHER
	return VERDICT;
}

char LICENSE[] SEC("license") = "LICENCE";
"""
_LIMITS = """
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, __u32);
	__uint(max_entries, 8);
} limits SEC(".maps");
"""
_RESTRICTED = """struct bpf_fib_lookup question = {.family = 2, .ifindex = 0x7fffffff};
	bpf_fib_lookup(ctx, &question, sizeof(question), 0);"""
_WORDS: dict[str, tuple[str, str, str]] = {
    "1.0.0": ("1", "", "Dual BSD/GPL"),
    "2.0.0": ("2", "", "Dual BSD/GPL"),
    "3.0.0": ("1", "", "Proprietary"),
    "4.0.0": ("1", _RESTRICTED, "GPL"),
    "5.0.0": ("1", "bpf_map_lookup_elem(&limits, &zero);", "Dual BSD/GPL"),
    "6.0.0": ("1", "", "Dual BSD/GPL"),
    "7.0.0": ("1", "return *(volatile int *)0;", "Dual BSD/GPL"),
}
"""Version to what a packet counts, what else is done, and the licence: 3 may not be in one kernel
program with 4; 5 can be configured, 6 drops, and 7 is refused by the verifier."""
DROPS = "6.0.0"
REFUSED = "7.0.0"


@cache
def _object(version: str, hook: Hook) -> bytes:
    step, other, licence = _WORDS[version]
    source = _SOURCE.replace("STEP", step).replace("OTHER", other).replace("LICENCE", licence)
    if "limits" in other:
        source = source.replace('SEC("SECTION")', f'{_LIMITS}\nSEC("SECTION")')
    is_xdp = hook == "xdp"
    source = source.replace("SECTION", "xdp" if is_xdp else "tc")
    source = source.replace("CONTEXT", "xdp_md" if is_xdp else "__sk_buff")
    passing, dropping = ("XDP_PASS", "XDP_DROP") if is_xdp else ("0", "2")
    return compile_source(source.replace("VERDICT", dropping if version == DROPS else passing))


class StampedPrograms:
    """The programs under names that nothing else in the kernel has."""

    def __init__(self) -> None:
        """The stamp is new."""
        self.stamp = os.urandom(2).hex()

    def opened(self, program: DesiredProgram, hook: Hook) -> OpenedPackage:
        """The version's object, its function and its maps under names with the stamp."""
        stamp = self.stamp.encode()
        data = _object(program.version, hook)
        for name, stamped in ((b"packets", b"pk%ss"), (b"limits", b"l%ss"), (b"counts", b"c%ss")):
            data = data.replace(name, stamped % stamp)
        package = published("1.0.0").opened()
        manifest = msgspec.structs.replace(package.manifest, maps={self.limits: MapEntry()})
        return OpenedPackage(manifest, {"counter.bpf.o": data}, package.publisher)

    @property
    def packets(self) -> str:
        """Name of the map that counts."""
        return f"pk{self.stamp}s"

    @property
    def limits(self) -> str:
        """Name of the map that can be configured."""
        return f"l{self.stamp}s"

    def program(
        self,
        deployment: str,
        version: str = "1.0.0",
        *,
        order: int = 10,
        limit: int = 0,
        hook: Hook = "xdp",
    ) -> DesiredProgram:
        """One program; each version is another archive."""
        digest = version.replace(".", "").ljust(64, "0")
        signed = msgspec.structs.replace(published("1.0.0").signed, archive_sha256=digest)
        return msgspec.structs.replace(
            a_program(deployment, hook=hook, order=order),
            version=version,
            function=f"c{self.stamp}s",
            signed=signed,
            config={self.limits: {"80": limit}} if limit else {},
        )

    def in_kernel(self, interface: str) -> set[str]:
        """Programs and maps of these packages, and of chains of the interface, with their ids."""
        wanted = (f"chain_{interface}"[:15], f"c{self.stamp}s", self.packets, self.limits)
        found = set()
        for program_id in ids(PROGRAM_NEXT_ID):
            with suppress(KernelFaultError):  # because it may go away meanwhile
                if _program_name(program_id).startswith(wanted):
                    info = _program(program_id)
                    found.add(f"program {info.name} {program_id}")
                    found |= {f"map {map_id}" for map_id in info.map_ids}
        for map_id in ids(MAP_NEXT_ID):
            with suppress(KernelFaultError):
                if _map_name(map_id).startswith(wanted):
                    found.add(f"map {map_id}")
        return found


def _program(program_id: int) -> ProgramInfo:
    with kernel_info.program_by_id(program_id) as program:
        return kernel_info.program_info(program.fd)


@cache
def _program_name(program_id: int) -> str:
    """No id is given twice, and most programs are other tests'."""
    return _program(program_id).name


@cache
def _map_name(map_id: int) -> str:
    with kernel_info.map_by_id(map_id) as opened:
        return kernel_info.map_info(opened.fd).name
