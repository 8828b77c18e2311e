# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Rules of the analysis that hold for every program, and for every sequence of bytes."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bytecode.code_use import read_code_use
from shared.bytecode.elf import read_elf
from shared.bytecode.map_declarations import MAP_TYPES
from shared.bytecode.program_kinds import section_kind
from shared.contracts.package_facts import ProgramFacts, ProgramRequirements
from shared.errors import RefusedError
from shared.portability.executables import read_executable
from shared.portability.linux_support import ProgramUse, linux_support
from shared.portability.linux_versions import INSTRUCTION_SETS, KERNEL_FUNCTION_SINCE, release
from shared.portability.object_analysis import analyse_object
from shared.portability.windows_support import windows_support
from tests.support.bpf_objects import compile_source

SECTIONS = ("xdp", "tc", "tcx/ingress", "cgroup/connect4", "sockops", "kprobe/x", "fentry/x")
RELOCATED = compile_source("""
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct sk_buff { __u32 mark; struct { __u32 inner[4]; } nested; }
	__attribute__((preserve_access_index));
enum modes { PLAIN, ODD };
const volatile int limit;
char LICENSE[] SEC("license") = "GPL";
SEC("tc") int program(struct sk_buff *skb)
{
	if (bpf_core_field_exists(skb->mark) && limit)
		return skb->nested.inner[2];
	return bpf_core_enum_value(enum modes, ODD);
}
""")


@cache
def linked() -> bytes:
    """A small executable."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "program"
        source = "#include <unistd.h>\nint main(void) { return setgid(1); }"
        command = ["clang", "-x", "c", "-", "-o", str(made)]
        subprocess.run(command, input=source, text=True, check=True)
        return made.read_bytes()


@st.composite
def uses(draw: st.DrawFn) -> ProgramUse:
    """Programs that need what the tables know."""
    section = draw(st.sampled_from(SECTIONS))
    helpers = draw(st.frozensets(st.integers(1, 211), max_size=6))
    functions = draw(st.frozensets(st.sampled_from(sorted(KERNEL_FUNCTION_SINCE)), max_size=2))
    optional = draw(st.frozensets(st.integers(1, 211), max_size=3))
    requires = ProgramRequirements(
        helpers=tuple(sorted(helpers)),
        kernel_functions=tuple(sorted(functions)),
        map_types=tuple(sorted(draw(st.frozensets(st.sampled_from(MAP_TYPES[1:]), max_size=3)))),
        kernel_types=draw(st.booleans()),
    )
    facts = ProgramFacts(
        function="one",
        section=section,
        instructions=draw(st.sampled_from([2, 4096, 4097])),
        helpers=tuple(sorted(helpers | optional)),
        kernel_functions=requires.kernel_functions,
        requires=requires,
    )
    return ProgramUse(
        facts,
        section_kind(section),
        features=draw(st.frozensets(st.sampled_from(sorted(INSTRUCTION_SETS)))),
        has_global_data=draw(st.booleans()),
        map_flags=draw(st.frozensets(st.integers(0, 1 << 13), max_size=2)),
    )


@given(uses())
def test_the_minimum_is_the_youngest_of_its_reasons(use: ProgramUse) -> None:
    """No reason is younger, and it is named; no architecture is older."""
    found = linux_support(use)

    assert found.minimum
    assert all(release(one.since) <= release(found.minimum) for one in found.reasons)
    assert found.because in {one.feature for one in found.reasons} or not found.reasons
    assert all(release(one) >= release(found.minimum) for one in found.architectures.values())


@given(uses(), st.integers(1, 211), st.sampled_from(MAP_TYPES[1:]))
def test_needing_more_never_makes_a_program_more_portable(
    use: ProgramUse, helper: int, kind: str
) -> None:
    """One more helper and map: the minimum does not sink, and no blocker goes."""
    assert use.facts.requires is not None
    requires = msgspec.structs.replace(
        use.facts.requires,
        helpers=(*use.facts.requires.helpers, helper),
        map_types=(*use.facts.requires.map_types, kind),
    )
    facts = msgspec.structs.replace(
        use.facts, helpers=(*use.facts.helpers, helper), requires=requires
    )
    more = dataclasses.replace(use, facts=facts)

    assert release(linux_support(more).minimum) >= release(linux_support(use).minimum)
    assert windows_support(use).possible or not windows_support(more).possible


@given(st.binary(max_size=400).map(lambda data: data[: len(data) // 8 * 8]))
def test_any_code_has_some_stack_and_known_features(code: bytes) -> None:
    """Whatever the instructions are, nothing but known features comes out."""
    found = read_code_use(code)

    assert found.stack_bytes >= 0
    assert found.features <= set(INSTRUCTION_SETS)


@given(st.integers(1, 512))
def test_stack_is_told_by_stores_and_by_addresses(depth: int) -> None:
    """A store below the frame pointer counts as much as an address that is handed over."""
    store = struct.pack("<BBhi", 0x72, 10, -depth, 0)
    address = struct.pack("<BBhi", 0xBF, 2 | 10 << 4, 0, 0) + struct.pack("<BBhi", 7, 2, 0, -depth)

    assert read_code_use(store).stack_bytes == depth
    assert read_code_use(address).stack_bytes == depth


@settings(max_examples=300)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(RELOCATED) - 1), st.integers(0, 255)), max_size=6
    ),
    length=st.integers(0, len(RELOCATED)) | st.just(len(RELOCATED)),
)
def test_a_damaged_object_is_analysed_or_refused(
    changes: list[tuple[int, int]], length: int
) -> None:
    """Types, relocations and line information that contradict themselves are refusals."""
    data = bytearray(RELOCATED)
    for position, value in changes:
        data[position] = value

    with suppress(RefusedError):
        analyse_object(read_elf(bytes(data[:length]), "damaged.o"))


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_executable_is_read_or_refused(data: st.DataObject) -> None:
    """Whichever bytes of its headers, tables and names are wrong or missing."""
    damaged = bytearray(linked())
    places = st.integers(0, 1023) | st.integers(0, len(damaged) - 1)
    for position, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        damaged[position] = value
    length = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))

    with suppress(RefusedError):
        read_executable(bytes(damaged[:length]), "damaged")
