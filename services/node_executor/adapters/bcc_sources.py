# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages whose programs are C source for bcc, with the objects that this node makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import structlog

from services.node_executor.adapters.bcc_child import (
    Allowance,
    compile_in_child,
    remove_leftovers,
)
from services.node_executor.adapters.bcc_toolchain import (
    MissingToolchain,
    Toolchain,
    ToolchainProbe,
)
from services.node_executor.adapters.compilation_cache import CompilationCache
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.bcc_compiler.messages import CompiledSource
from services.node_executor.bcc_compiler.objects import function_of, make_object
from services.node_executor.packages import OpenedPackage
from shared.bytecode.c_sources import read_source_facts, sources_of
from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.compilation import Compilation
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook

log = structlog.get_logger()


class NoCompilerError(RefusedError):
    """This node cannot compile C source for bcc."""

    code: ClassVar[ErrorCode] = "unsupported_by_kernel"


class OtherLicenceError(RefusedError):
    """The source tells the kernel another licence than the one it was published with."""

    code: ClassVar[ErrorCode] = "verification_failed"


class SourceCompiler:
    """Compiles one source at a time, and no source twice for the same kernel and compiler."""

    def __init__(
        self,
        *,
        node: str,
        thread: KernelThread,
        probe: ToolchainProbe,
        cache: CompilationCache,
        allowance: Allowance | None = None,
    ) -> None:
        """Nothing is compiled; folders that a killed executor left are removed."""
        self._node = node
        self._thread = thread
        self._probe = probe
        self._cache = cache
        self._allowance = allowance or Allowance()
        self._one_at_a_time = asyncio.Lock()
        remove_leftovers()

    async def compiled(
        self, desired: DesiredChain, packages: Sequence[OpenedPackage]
    ) -> list[OpenedPackage]:
        """The packages, each with an object where its program is a source.

        Args:
            desired: The chain.
            packages: Of its programs, in order; every byte is known to be the publisher's.

        Raises:
            RefusedError: A source does not compile, or this node has no compiler.
            FaultError: The compiler's process or the disk failed.
        """
        return [
            await self.with_object(
                package,
                program.object,
                program.function,
                hook=desired.hook,
                name=program.deployment,
            )
            if _is_source(program, package)
            else package
            for program, package in zip(desired.programs, packages, strict=True)
        ]

    async def with_object(
        self, package: OpenedPackage, source: str, function: str, *, hook: Hook, name: str
    ) -> OpenedPackage:
        """The package with an object of one function in the place of its source.

        Args:
            package: Whose files are to be trusted as far as a compiler goes.
            source: Path of the C source in it.
            function: Which one of its functions.
            hook: For what kind of program.
            name: How refusals call it: the deployment.

        Raises:
            RefusedError: The source does not compile, or this node has no compiler.
            FaultError: The compiler's process or the disk failed.
        """
        toolchain = await self._thread(self._probe.look)
        if isinstance(toolchain, MissingToolchain):
            raise self._no_compiler(f"{name}.{source}", toolchain)
        files = sources_of(package.files, source)
        source_sha256 = canonical_digest({path: sha256_hex(files[path]) for path in files})
        headers = toolchain.headers.release
        key = (source, source_sha256, toolchain.kernel, toolchain.compiler, headers)
        async with self._one_at_a_time:
            compiled = await self._thread(self._cache.read, key)
            if compiled is None:
                compiled = await self._compile(toolchain, source, files, name=name)
                await self._thread(self._cache.write, key, compiled)
        _check_licence(compiled, files[source], source, name=name)
        made_from = function_of(compiled, function, source=source)
        compilation = Compilation(
            source=source,
            source_sha256=source_sha256,
            bytecode_sha256=sha256_hex(made_from.code),
            compiler=toolchain.compiler,
            headers=headers,
            kernel=toolchain.kernel,
        )
        made = make_object(compiled, made_from, hook)
        return replace(package, files={**package.files, source: made}, compilation=compilation)

    async def _compile(
        self, toolchain: Toolchain, source: str, files: dict[str, bytes], *, name: str
    ) -> CompiledSource:
        started = asyncio.get_running_loop().time()
        reply = await compile_in_child(
            toolchain,
            files,
            source,
            name=name,
            allowance=self._allowance,
        )
        log.info(
            "source_compiled",
            deployment=name,
            source=source,
            compiler=toolchain.compiler,
            headers=toolchain.headers.release,
            confinement=list(reply.confinement),
            peak_bytes=reply.peak_bytes,
            duration_seconds=round(asyncio.get_running_loop().time() - started, 3),
        )
        if reply.compiled is None:
            raise AssertionError("unreachable: a source that does not compile is refused")
        return reply.compiled

    def _no_compiler(self, path: str, missing: MissingToolchain) -> NoCompilerError:
        return NoCompilerError(
            f"node {self._node} has no bcc: install python3-bpfcc and kernel headers",
            [Reason(path=path, rule=problem) for problem in missing.problems],
        )


def _is_source(program: DesiredProgram, package: OpenedPackage) -> bool:
    return any(
        entry.name == program.program and bool(entry.compiler)
        for entry in package.manifest.programs
    )


def _check_licence(compiled: CompiledSource, text: bytes, source: str, *, name: str) -> None:
    """What the kernel is told is what was published, whatever a preprocessor made of it."""
    published = read_source_facts(text, source).licence
    if compiled.licence != published:
        reason = Reason(
            path=f"{name}.{source}",
            rule="tells the kernel another licence than it was published with",
            got=compiled.licence,
            allowed=published,
        )
        raise OtherLicenceError(f"{name}: {source} {reason.rule}", [reason])
