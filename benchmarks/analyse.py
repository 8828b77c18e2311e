# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What it costs to analyse an object without loading it, by its length in instructions.

The object is compiled once, and asks for a kernel type and for a constant that is set before it is
loaded, so that every step has work: which calls are certain, stack, features, line information.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.report import Row, report
from shared.bytecode.elf import read_elf
from shared.portability.object_analysis import analyse_object

SIZES: Final = ((1_000, 20.0, 51), (100_000, 1_000.0, 5))
"""Instructions, the promise in milliseconds, and runs."""
INSTRUCTIONS_A_STEP: Final = 18
FIXED_INSTRUCTIONS: Final = 10
_SOURCE: Final = """
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
struct {{
	__uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16);
	__type(key, __u32); __type(value, __u64);
}} seen SEC(".maps");
const volatile int enabled = 0;
struct task_struct {{ int pid; }} __attribute__((preserve_access_index));
char LICENSE[] SEC("license") = "GPL";
SEC("xdp") int measured(struct xdp_md *ctx)
{{
	__u64 total = 0;
	__u32 key = 0;
	if (bpf_core_type_exists(struct task_struct))
		total++;
	{steps}
	return total & 1;
}}
"""
_STEP: Final = """if (enabled) {{
		key = {number} + ctx->ingress_ifindex;
		__u64 *value = bpf_map_lookup_elem(&seen, &key);
		if (value)
			*value += total;
		total += bpf_ktime_get_ns();
	}}
	"""


def compiled(instructions: int) -> bytes:
    """An object of about so many instructions, and never more."""
    count = (instructions - FIXED_INSTRUCTIONS) // INSTRUCTIONS_A_STEP
    steps = "".join(_STEP.format(number=number) for number in range(count))
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "measured.bpf.c", Path(folder) / "measured.bpf.o"
        source.write_text(_SOURCE.format(steps=steps))
        include = f"-I/usr/include/{platform.machine()}-linux-gnu"
        flags = ("-O2", "-g", "-target", "bpf", include)
        subprocess.run(["clang", *flags, "-c", str(source), "-o", str(made)], check=True)
        return made.read_bytes()


def milliseconds(data: bytes) -> float:
    """From the bytes of the file to the report."""
    started = time.perf_counter()
    analyse_object(read_elf(data, "measured.bpf.o"))
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure and print."""
    rows = []
    for instructions, target_ms, runs in SIZES:
        data = compiled(instructions)
        length = read_elf(data, "measured.bpf.o").facts.programs[0].instructions
        taken = sorted(milliseconds(data) for _ in range(runs))
        case = f"{length:,} instructions"
        rows.append(Row(f"{case}, median", statistics.median(taken), "ms", target_ms))
        rows.append(Row(f"{case}, longest", taken[-1], "ms", target_ms))
    report("analyse", rows)


if __name__ == "__main__":
    main()
