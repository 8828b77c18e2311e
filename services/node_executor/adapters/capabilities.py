# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What this kernel can do, found out once in each of its boots.

The answer is kept in the state directory with everything it depends on: the boot, the kernel's
build, the rights of this process, and this release.  Asking takes a quarter of a second, in pieces
of a few milliseconds, so that whatever else the kernel thread has to do comes between.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from services.node_executor.adapters.kernel_functions import (
    KERNEL_TYPES,
    UnreadableTypesError,
    kernel_function_names,
)
from services.node_executor.adapters.map_type_probe import map_types_there
from services.node_executor.adapters.probe_features import missing_probes
from services.node_executor.adapters.program_probe import (
    NOT_ASKED,
    PROGRAM_TYPES,
    HelperFindings,
    ProgramProbe,
    ProgramType,
)
from services.node_executor.adapters.restricted_helpers import learn_restricted_helpers
from services.node_executor.staging import Thread
from shared.contracts.base import Message
from shared.contracts.capabilities import (
    Capabilities,
    CgroupVersion,
    MissingProbe,
    ProgramTypeSupport,
)
from shared.number_ranges import render_ranges
from shared.version import VERSION

_MOUNTS: Final = Path("/proc/self/mountinfo")
_STATUS: Final = Path("/proc/self/status")
_NOTES: Final = Path("/sys/kernel/notes")
_BUILD_ID_NOTE: Final = 3

log = structlog.get_logger()


class _Kept(Message, frozen=True, kw_only=True):
    """The file in the state directory."""

    boot_id: str
    kernel_build: str
    rights: str
    """Effective capabilities of the process, as the kernel writes them."""
    release: str
    """Of this product."""
    capabilities: Capabilities | None = None


class KernelCapabilities:
    """The kernel's answers, from the disk if they are of this boot."""

    def __init__(self, path: Path, *, boot_id: str, thread: Thread) -> None:
        """Nothing is asked yet; `path` is the file that keeps the answers."""
        self._path = path
        self._boot_id = boot_id
        self._thread = thread

    async def find(self) -> Capabilities:
        """The capabilities; what could not be found out is said in `problem`."""
        kept = await self._thread(self._read)
        if kept is not None:
            learn_restricted_helpers(kept)
            return kept
        started = time.perf_counter()
        pieces = probe_pieces()
        found: Capabilities | None = None
        while found is None:
            found = await self._thread(next, pieces)
        duration_ms = round((time.perf_counter() - started) * 1000, 3)
        learn_restricted_helpers(found)
        log.info("capabilities_probed", duration_ms=duration_ms, problem=found.problem)
        await self._thread(self._write, found)
        return found

    def _read(self) -> Capabilities | None:
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return None
        here = self._here()
        is_of_now = msgspec.structs.replace(kept, capabilities=None) == here
        found = kept.capabilities if is_of_now else None
        return found if found is not None and found.missing_probes is not None else None

    def _write(self, found: Capabilities) -> None:
        kept = msgspec.structs.replace(self._here(), capabilities=found)
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(kept))
            fresh.rename(self._path)
        except OSError as error:
            log.warning("capabilities_not_kept", why=str(error))

    def _here(self) -> _Kept:
        return _Kept(
            boot_id=self._boot_id, kernel_build=_kernel_build(), rights=_rights(), release=VERSION
        )


def probe_pieces() -> Iterator[Capabilities | None]:
    """None after each piece of a few milliseconds, at last what was found."""
    problems: list[str] = []
    functions = yield from _functions(problems)
    maps: dict[str, bool] = {}
    for name, is_there in map_types_there():
        maps[name] = is_there
        yield None
    probe = ProgramProbe()
    there = []
    for kind in PROGRAM_TYPES:
        if probe.is_there(kind):
            there.append(kind)
        yield None
    count = probe.helper_count() if there else 0
    missing: list[MissingProbe] = []
    for hook, why in missing_probes():
        if why:
            missing.append(MissingProbe(hook=hook, why=why))
        yield None
    found: dict[str, HelperFindings | None] = {}
    for kind in there:
        found[kind.name] = yield from _helpers(probe, kind, count)
    if not there:
        problems.append("the kernel loads no program for this process")
    restricted = {one for findings in found.values() if findings for one in findings.restricted}
    yield Capabilities(
        kernel_build=_kernel_build(),
        build_id=_build_id(),
        has_types=KERNEL_TYPES.exists(),
        program_types=tuple(
            _support(name, findings, restricted) for name, findings in found.items()
        ),
        missing_program_types=tuple(one.name for one in PROGRAM_TYPES if one not in there),
        missing_map_types=tuple(name for name, is_there in maps.items() if not is_there),
        helper_count=count,
        helpers_not_asked=render_ranges(NOT_ASKED),
        gpl_only_helpers=render_ranges(restricted),
        kernel_functions=functions,
        kernel_functions_are_known=bool(functions),
        cgroup=_cgroup(),
        missing_probes=tuple(missing),
        problem="; ".join(problems),
    )


def _functions(problems: list[str]) -> Generator[None, None, tuple[str, ...]]:
    names: tuple[str, ...] = ()
    try:
        for piece in kernel_function_names(KERNEL_TYPES.read_bytes()):
            if piece is None:
                yield
            else:
                names = piece
    except FileNotFoundError:
        problems.append("the kernel has no BTF")
    except (OSError, UnreadableTypesError) as error:
        problems.append(f"the kernel's BTF cannot be read: {error}")
    return names


def _helpers(
    probe: ProgramProbe, kind: ProgramType, count: int
) -> Generator[None, None, HelperFindings | None]:
    if not kind.takes_calls:
        return None
    findings = HelperFindings()
    for piece in probe.helpers(kind, count):
        findings = piece
        yield
    return findings if findings.is_known else None


def _support(name: str, found: HelperFindings | None, restricted: set[int]) -> ProgramTypeSupport:
    if found is None:
        return ProgramTypeSupport(name=name, helpers_are_known=False)
    return ProgramTypeSupport(
        name=name,
        helpers=render_ranges(found.callable),
        free_of_gpl=render_ranges(found.callable & restricted - found.restricted),
    )


def _kernel_build() -> str:
    names = os.uname()
    return f"{names.release} {names.version}"


def _rights() -> str:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("CapEff:"):
                return line.split()[1]
    return ""


def _build_id() -> str:
    """The GNU build id out of the image's ELF notes (gabi, note section)."""
    try:
        notes = _NOTES.read_bytes()
    except OSError:
        return ""
    position = 0
    while position + 12 <= len(notes):
        name_bytes, data_bytes, kind = struct.unpack_from("=III", notes, position)
        name_at = position + 12
        data_at = name_at + (name_bytes + 3 & ~3)
        if kind == _BUILD_ID_NOTE and notes[name_at : name_at + name_bytes] == b"GNU\0":
            return notes[data_at : data_at + data_bytes].hex()
        position = data_at + (data_bytes + 3 & ~3)
    return ""


def _cgroup() -> CgroupVersion:
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return ""
    kinds = {line.partition(" - ")[2].split()[0] for line in lines}
    if {"cgroup", "cgroup2"} <= kinds:
        return "hybrid"
    return "2" if "cgroup2" in kinds else "1" if "cgroup" in kinds else ""
