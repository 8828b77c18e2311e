# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One compilation in one process, which ends in any case and takes nothing of the executor's.

Input and output are files in a folder of its own, so that nothing it writes fills our memory.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from services.node_executor.adapters.bcc_toolchain import SCRIPT, Toolchain
from services.node_executor.bcc_compiler.messages import (
    CompileLimits,
    CompileOrder,
    CompileReply,
)
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, Reason, RefusedError

MAX_REPLY_BYTES: Final = 32 * 1024 * 1024
MAX_WORDS_BYTES: Final = 64 * 1024
"""Of what the compiler says, the last."""
MAX_ERRORS: Final = 32
_PREFIX: Final = "l3af-bcc-"
_ERROR: Final = re.compile(
    r"^(?P<place>[^\s:]+:\d+:\d+): (?:fatal )?error: (?P<words>.*)$", re.MULTILINE
)
_SHOWN_CHARACTERS: Final = 2000


class CompilationError(RefusedError):
    """The source does not compile here; with the compiler's words."""

    code: ClassVar[ErrorCode] = "unsupported_by_kernel"


class CompilerFaultError(FaultError):
    """The compiler's process could not be run, or not in time."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one compilation may take."""

    wall_seconds: float = 60.0
    limits: CompileLimits = CompileLimits(  # noqa: RUF009 because it is frozen
        memory_bytes=2 << 30, processor_seconds=30, file_bytes=64 << 20
    )


async def compile_in_child(
    toolchain: Toolchain,
    files: Mapping[str, bytes],
    source: str,
    *,
    name: str,
    allowance: Allowance,
) -> CompileReply:
    """What comes out of `source`, one of `files`.

    Args:
        toolchain: With what.
        files: The source and what it may include, by path.
        source: Which one.
        name: How refusals call it: the deployment.
        allowance: What it may take; over it, it is killed.

    Raises:
        CompilationError: It does not compile, takes more than it may, or crashes the compiler.
        CompilerFaultError: The process could not be started, confined or waited for.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name_of_folder:
            folder = Path(name_of_folder)
            order = _lay_out(folder, toolchain, files, source, allowance)
            status = await _run(folder, toolchain, order, allowance.wall_seconds)
            words = _tail(folder / "words", MAX_WORDS_BYTES)
            if status == 0:
                reply = _read_reply(folder / "reply")
                if reply.compiled is not None:
                    return reply
            raise _explanation(status, words, source=source, name=name, allowance=allowance)
    except OSError as error:
        raise CompilerFaultError(f"{name}: {source} cannot be compiled: {error}") from error


def remove_leftovers() -> None:
    """Folders of executors that were killed while they compiled are gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _lay_out(
    folder: Path,
    toolchain: Toolchain,
    files: Mapping[str, bytes],
    source: str,
    allowance: Allowance,
) -> CompileOrder:
    package, scratch = folder / "package", folder / "scratch"
    scratch.mkdir()
    for path, content in files.items():
        target = package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    headers = toolchain.headers
    return CompileOrder(
        source=source,
        folder=str(package),
        kernel_source=str(headers.source or ""),
        include_folders=tuple(str(path) for path in headers.include_folders),
        headers_archive=str(headers.archive or ""),
        scratch=str(scratch),
        limits=allowance.limits,
    )


async def _run(folder: Path, toolchain: Toolchain, order: CompileOrder, seconds: float) -> int:
    """The exit status; negative: the signal that ended it."""
    (folder / "order").write_bytes(msgspec.json.encode(order))
    with (
        (folder / "order").open("rb") as given,
        (folder / "reply").open("wb") as reply,
        (folder / "words").open("wb") as words,
    ):
        process = await asyncio.create_subprocess_exec(
            *(toolchain.python, "-I", SCRIPT, "compile"),
            stdin=given,
            stdout=reply,
            stderr=words,
            cwd=order.scratch,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TMPDIR": order.scratch},
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                return await process.wait()
        except TimeoutError as error:
            raise CompilerFaultError(
                f"{order.source}: the compiler was killed, it had not finished in {seconds:g} s"
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _read_reply(path: Path) -> CompileReply:
    if path.stat().st_size > MAX_REPLY_BYTES:
        raise CompilationError("the compiled source is too large")
    try:
        return msgspec.json.decode(path.read_bytes(), type=CompileReply)
    except msgspec.DecodeError as error:
        raise CompilerFaultError(f"the compiler's answer cannot be read: {error}") from error


def _tail(path: Path, length: int) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - length))
        return file.read().decode(errors="replace")


def _explanation(
    status: int, words: str, *, source: str, name: str, allowance: Allowance
) -> RefusedError | FaultError:
    """Why there is no compiled source."""
    said = words.strip()[-_SHOWN_CHARACTERS:]
    if status > 0 or status == -signal.SIGKILL:
        why = said or "it was killed, perhaps for lack of memory"
        return CompilerFaultError(f"{name}: {source}: {why}")
    if status == -signal.SIGXCPU:
        seconds = allowance.limits.processor_seconds
        rule = f"takes the compiler more than {seconds} s of processor time"
    elif status < 0:
        rule = f"crashes the compiler ({signal.Signals(-status).name})"
    else:
        rule = "does not compile"
    reasons = [
        Reason(path=f"{name}.{found['place']}", rule=found["words"])
        for found in _ERROR.finditer(words)
    ][:MAX_ERRORS]
    first = f": {reasons[0].path.removeprefix(f'{name}.')}: {reasons[0].rule}" if reasons else ""
    return CompilationError(
        f"{name}: {source} {rule}{first}",
        reasons or [Reason(path=f"{name}.{source}", rule=rule, got=said or None)],
    )
