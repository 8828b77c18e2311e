# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""C source for bcc: compiled on the node, linked, configured and measured like any program."""

from __future__ import annotations

import os
import platform
import resource
import struct
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.node_executor.adapters.bcc_child import (
    Allowance,
    CompilationError,
    CompilerFaultError,
)
from services.node_executor.adapters.bcc_headers import find_kernel_headers
from services.node_executor.adapters.bcc_sources import NoCompilerError, OtherLicenceError
from services.node_executor.adapters.bcc_toolchain import Toolchain, ToolchainProbe
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import entries, read_number, update
from services.node_executor.adapters.programs import run_packet
from services.node_executor.bcc_compiler.messages import CompileLimits
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.plan import LinkPolicy
from services.node_executor.packages import OpenedPackage
from shared.contracts.desired import DesiredProgram
from shared.errors import RefusedError
from shared.identifiers import Hook
from tests.support.bcc_packages import (
    SYSTEM_PYTHON,
    Change,
    a_compiler,
    a_gate,
    opened,
    port_gate,
)
from tests.support.chain_reference import a_source
from tests.support.executors import a_chain
from tests.support.packets import UDP, ipv4, udp

DROP = 1
DNS = ipv4(udp(53, bytes(20)), UDP)
CLOSED = ipv4(udp(9000, bytes(20)), UDP)
PORT = struct.pack("=H", 9000)
_HEADERS = tuple(
    f"include/{name}" for name in ("linux", "uapi", "asm-generic", "vdso", "generated")
)


async def compiled(
    folder: Path,
    *programs: DesiredProgram,
    change: Change = str,
    hook: Hook = "xdp",
    probe: ToolchainProbe | None = None,
    allowance: Allowance | None = None,
) -> list[OpenedPackage]:
    """The packages of a chain of these programs, as the node compiles them."""
    packages = [opened(port_gate(change)) for _ in programs]
    with a_compiler(folder, probe=probe, allowance=allowance) as compiler:
        return await compiler.compiled(a_chain("eth0", *programs, hook=hook), packages)


def source_of(program: DesiredProgram, package: OpenedPackage) -> ProgramSource:
    """The program as the linker takes it."""
    return ProgramSource(
        name=program.deployment,
        object_path=program.object,
        data=package.files[program.object],
        function=program.function,
        proceed_on=program.proceed_on,
    )


@contextmanager
def linked(
    *sources: ProgramSource, hook: Hook = "xdp", policy: LinkPolicy | None = None
) -> Iterator[LinkedChain]:
    """The chain of these programs."""
    with link_chain(sources, hook, name="bcc", policy=policy) as chain:
        yield chain


async def test_compiled_source_and_an_object_are_one_linked_program(tmp_path: Path) -> None:
    """The body of bcc keeps its own maps, and its verdict decides whether the next one runs."""
    gate = a_gate()
    (package,) = await compiled(tmp_path, gate)
    behind = a_source("counts")

    with linked(source_of(gate, package), behind) as chain:
        update(chain.maps["gate"]["closed"].handle, PORT, b"\1")
        verdicts = [run_packet(chain.program, packet).verdict for packet in (DNS, CLOSED, CLOSED)]
        dropped = read_number(chain.maps["gate"]["dropped"].handle, None)
        seen = dict(entries(chain.maps["gate"]["ports"].handle))

    assert verdicts[1:] == [DROP, DROP]
    assert dropped == 2
    assert struct.unpack_from("=QI", seen[PORT]) == (2, len(CLOSED))


async def test_a_compiled_body_can_be_called_by_the_chain(tmp_path: Path) -> None:
    """It has the types that a global function needs, beside bodies of objects."""
    gate, other = a_gate(), a_gate("other")
    packages = await compiled(tmp_path, gate, other)
    bodies = [source_of(gate, packages[0]), source_of(other, packages[1]), a_source("passes")]

    with linked(*bodies, policy=LinkPolicy(hook="xdp", called=frozenset({0, 2}))) as chain:
        update(chain.maps["other"]["closed"].handle, PORT, b"\1")
        verdict = run_packet(chain.program, CLOSED).verdict
        dropped = [
            read_number(chain.maps[name]["dropped"].handle, None) for name in ("gate", "other")
        ]
        modes = [body.mode for body in chain.plan.bodies]

    assert modes == ["call-global", "inline", "call-global"]
    assert (verdict, dropped) == (DROP, [0, 1])


async def test_maps_are_carried_over_to_other_source(tmp_path: Path) -> None:
    """What an older version counted goes on, as long as the declarations agree."""
    gate = a_gate()
    (old,) = await compiled(tmp_path, gate)
    (new,) = await compiled(tmp_path, a_gate(change=_louder), change=_louder)

    with linked(source_of(gate, old)) as before:
        update(before.maps["gate"]["closed"].handle, PORT, b"\1")
        run_packet(before.program, CLOSED)
        held = {name: one.handle for name, one in before.maps["gate"].items()}
        with linked(replace(source_of(gate, new), maps=held)) as after:
            run_packet(after.program, CLOSED)
            counted = read_number(after.maps["gate"]["dropped"].handle, None)

    assert new.compilation != old.compilation
    assert counted == 1 + 2


def _louder(text: str) -> str:
    return text.replace("dropped.increment(zero)", "dropped.increment(zero, 2)")


async def test_a_function_for_tc_comes_out_of_the_same_source(tmp_path: Path) -> None:
    """Each program of a package is taken for its own hook."""
    mark = a_gate("mark", program="port-mark", function="port_mark", proceed_on=("ok",))
    (package,) = await compiled(tmp_path, mark, hook="tc-ingress")

    with linked(source_of(mark, package), hook="tc-ingress") as chain:
        run = run_packet(chain.program, DNS, context=bytes(192))

    assert struct.unpack_from("=I", run.context, 8) == (0x1EE7,)


async def test_what_was_compiled_is_said_and_not_compiled_again(tmp_path: Path) -> None:
    """The same source, kernel and compiler come from the disk, byte for byte."""
    gate = a_gate()
    (first,) = await compiled(tmp_path, gate)
    no_time = Allowance(wall_seconds=0.0)
    (second,) = await compiled(tmp_path, gate, allowance=no_time)
    for kept in tmp_path.iterdir():
        kept.write_bytes(kept.read_bytes()[:-1])

    assert second == first
    assert first.compilation is not None
    assert first.compilation.compiler.startswith("bcc ")
    assert first.compilation.kernel == os.uname().release
    assert first.manifest == opened(port_gate()).manifest
    with pytest.raises(CompilerFaultError, match="had not finished in 0 s"):
        await compiled(tmp_path, gate, allowance=no_time)


async def test_headers_of_another_kernel_serve_and_are_named(tmp_path: Path) -> None:
    """A note says so where the running kernel's own are not installed."""
    found = ToolchainProbe(SYSTEM_PYTHON).look()
    (package,) = await compiled(tmp_path, a_gate())

    assert isinstance(found, Toolchain)
    assert package.compilation is not None
    assert package.compilation.headers == found.headers.release
    is_own = found.headers.release == os.uname().release
    assert is_own or found.headers.release in found.note


async def test_an_archive_of_headers_serves_like_a_tree(tmp_path: Path) -> None:
    """Kernels that carry their own headers need no package of them."""
    own = find_kernel_headers("none", platform.machine())
    assert own is not None
    archive = tmp_path / "root" / "sys/kernel/kheaders.tar.xz"
    archive.parent.mkdir(parents=True)
    parts = {own.source, *(folder.parent for folder in own.include_folders[2:3])}
    with tarfile.open(archive, "w:", dereference=True) as written:
        for tree in filter(None, parts):
            for folder in (*_HEADERS, *(f"arch/{one.name}/include" for one in tree.glob("arch/*"))):
                if (tree / folder).exists():
                    written.add(tree / folder, folder)

    probe = ToolchainProbe(SYSTEM_PYTHON, root=tmp_path / "root")
    (package,) = await compiled(tmp_path / "kept", a_gate(), probe=probe)

    assert package.compilation is not None
    assert package.compilation.headers == os.uname().release


async def test_a_node_without_bcc_says_what_to_install(tmp_path: Path) -> None:
    """The refusal names the node, the probe says why."""
    probe = ToolchainProbe(Path(sys.executable))
    with pytest.raises(NoCompilerError) as caught:
        await compiled(tmp_path, a_gate(), probe=probe)
    features, notes = probe.features()

    assert caught.value.message == "node n1 has no bcc: install python3-bpfcc and kernel headers"
    assert "No module named 'bcc'" in caught.value.reasons[0].rule
    assert features == {"bcc": False}
    assert "No module named 'bcc'" in notes["bcc"]


def _misspelt(text: str) -> str:
    return text.replace("return XDP_DROP", "retrun XDP_DROP")


def _crashing(text: str) -> str:
    return text.replace("struct seen {", "#pragma clang __debug crash\nstruct seen {")


def _nosy(text: str) -> str:
    return text.replace("struct seen {", '#define F "/etc/shadow"\n#include F\nstruct seen {')


def _pinning(text: str) -> str:
    return text + 'BPF_TABLE_PINNED("hash", u32, u32, mine, 8, "/sys/fs/bpf/l3af-mine");\n'


def _nested(text: str) -> str:
    return text + 'BPF_ARRAY(inner, u32, 4);\nBPF_ARRAY_OF_MAPS(outer, "inner", 2);\n'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_misspelt, r"port_gate\.c:36:9: use of undeclared identifier 'retrun'"),
        (_crashing, r"crashes the compiler \(SIG(ILL|TRAP)\)"),
        (_nosy, "cannot open file '/etc/shadow'"),
    ],
    ids=["an error", "a crash", "a file of the node"],
)
async def test_source_that_does_not_compile_is_refused_in_the_compilers_words(
    tmp_path: Path, change: Change, words: str
) -> None:
    """Whatever happens to the compiler, this process goes on and nothing is kept."""
    with pytest.raises(CompilationError, match=words):
        await compiled(tmp_path, a_gate(change=change), change=change)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [(_pinning, "failed to pin map"), (_nested, "does not tell what the inner maps are")],
    ids=["pinned", "maps of maps"],
)
async def test_maps_that_cannot_be_carried_are_refused(
    tmp_path: Path, change: Change, words: str
) -> None:
    """A source pins nothing itself, and nothing is left where it tried."""
    with pytest.raises(RefusedError) as caught:
        await compiled(tmp_path, a_gate(change=change), change=change)

    assert words in str(caught.value.reasons[0])
    assert not Path("/sys/fs/bpf/l3af-mine").exists()


async def test_a_compiler_that_takes_too_much_is_killed(tmp_path: Path) -> None:
    """Memory and time are limited, and the folder it worked in is gone."""
    little = CompileLimits(memory_bytes=350 << 20, processor_seconds=30, file_bytes=1 << 20)
    short = CompileLimits(memory_bytes=2 << 30, processor_seconds=1, file_bytes=1 << 20)

    with pytest.raises((CompilationError, CompilerFaultError)):
        await compiled(
            tmp_path, a_gate(change=_endless), change=_endless, allowance=Allowance(limits=little)
        )
    with pytest.raises(CompilationError, match="more than 1 s of processor time"):
        await compiled(
            tmp_path, a_gate(change=_endless), change=_endless, allowance=Allowance(limits=short)
        )

    assert list(Path("/tmp").glob(f"l3af-bcc-{os.getpid()}-*")) == []


def _endless(text: str) -> str:
    doubled = "".join(f"#define M{n + 1} M{n} M{n}\n" for n in range(30))
    return f"#define M0 +1\n{doubled}{text}int many(void) {{ return 0 M30; }}\n"


async def test_a_licence_that_only_a_preprocessor_sees_is_refused(tmp_path: Path) -> None:
    """The kernel is told what was published."""
    with pytest.raises(OtherLicenceError) as caught:
        await compiled(tmp_path, a_gate(change=_relicensed), change=_relicensed)

    assert (caught.value.reasons[0].got, caught.value.reasons[0].allowed) == (
        "Proprietary",
        "Dual BSD/GPL",
    )


def _relicensed(text: str) -> str:
    later = "#undef BPF_LICENSE\n#define WORDS Proprietary\n#define BPF_LICENSE WORDS\n"
    return text.replace("struct seen {", f"{later}struct seen {{")


async def test_the_executor_holds_no_memory_of_the_compiler(tmp_path: Path) -> None:
    """The compiler lives in another process, which ends."""
    (package,) = await compiled(tmp_path / "warm", a_gate())
    before = _resident_bytes()
    (again,) = await compiled(tmp_path / "measured", a_gate())

    assert again == package
    assert _resident_bytes() - before < 8 << 20
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10 > 50 << 20


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
