# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who holds a program that is on a hook: names in bpffs, and processes with a descriptor of it.

A search in what anybody may change meanwhile, bounded in length and in time: it helps to find the
owner and decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Final

from services.node_executor.adapters import kernel_info, pins
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.attachment import ForeignOwnerError
from services.node_executor.kernel_types import HookOccupant
from shared.errors import Reason

SEARCH_SECONDS: Final = 0.5
MAX_PINS: Final = 4096
MAX_FOUND: Final = 8
_MOUNTS: Final = Path("/proc/self/mountinfo")
_PROGRAM, _LINK = "anon_inode:bpf-prog", ("anon_inode:bpf_link", "anon_inode:bpf-link")


def owned_by(
    hook_point: str,
    occupant: HookOccupant,
    *,
    hint: str = "",
    free: str = "link.take_over = true",
) -> ForeignOwnerError:
    """A refusal that says everything that can be found about who holds the hook.

    Args:
        hook_point: How the place is called.
        occupant: Who is there; program id 0: no program, named by its name alone.
        hint: What else is to be said.
        free: What the deployment could say instead.
    """
    rule = "must be free, held by this executor, or given up by its owner"
    if not occupant.program_id:
        sentence = f"{hook_point} is held by another owner's {occupant.program_name}"
        reason = Reason(path=hook_point, rule=rule, got=occupant.program_name, allowed=free)
        return ForeignOwnerError(f"{sentence}; {hint}" if hint else sentence, [reason])
    kind = _link_kind(occupant.link_id)
    names, holders = pinned_paths(occupant), processes(occupant)
    found: dict[str, object] = {
        "program": occupant.program_name,
        "program_id": occupant.program_id,
        "tag": occupant.program_tag,
        "link": f"{kind} link {occupant.link_id}" if occupant.link_id else "none (netlink)",
        "pinned": names,
        "processes": holders,
    }
    parts = [f"program {occupant.program_id}", f"tag {occupant.program_tag}"]
    parts.append(f"{kind} link {occupant.link_id}" if occupant.link_id else "no link")
    parts += [f"pinned at {path}" for path in names[:2]]
    parts += [f"held by {process}" for process in holders[:2]]
    sentence = f"{hook_point} is held by '{occupant.program_name}' ({', '.join(parts)})"
    return ForeignOwnerError(
        f"{sentence}; {hint}" if hint else sentence,
        [Reason(path=hook_point, rule=rule, got=found, allowed=free)],
    )


def pinned_paths(occupant: HookOccupant) -> list[str]:
    """Names of the program or its link in every bpffs that this process sees."""
    found: list[str] = []
    deadline = monotonic() + SEARCH_SECONDS
    for count, path in enumerate(_pins()):
        if count == MAX_PINS or len(found) == MAX_FOUND or monotonic() > deadline:
            break
        with suppress(KernelFaultError, OSError):
            opened = pins.open_pinned(PurePosixPath(path))
            if opened is not None:
                with opened:
                    if _is_held_by(opened.fd, occupant):
                        found.append(path)
    return sorted(found)


def processes(occupant: HookOccupant) -> list[str]:
    """Processes with a descriptor of the program or its link, as `1234 (cilium-agent)`."""
    found: list[str] = []
    deadline = monotonic() + SEARCH_SECONDS
    for process in Path("/proc").iterdir():
        if len(found) == MAX_FOUND or monotonic() > deadline:
            break
        if process.name.isdecimal():
            with suppress(OSError):  # because processes and their descriptors come and go
                if _has_descriptor(process, occupant):
                    name = (process / "comm").read_text().strip()
                    found.append(f"{process.name} ({name})")
    return found


def _pins() -> Iterator[str]:
    """Every name in every bpffs; one that is mounted in several places is read in the first."""
    seen: set[str] = set()
    for line in _MOUNTS.read_text().splitlines():
        left, _, right = line.partition(" - ")
        _, _, device, _, mount_point, *_ = left.split()
        if right.split()[0] == "bpf" and device not in seen:
            seen.add(device)
            for folder, _, names in os.walk(mount_point):
                yield from (f"{folder}/{name}" for name in sorted(names))


def _is_held_by(fd: int, occupant: HookOccupant) -> bool:
    target = str(Path(f"/proc/self/fd/{fd}").readlink())
    if target == _PROGRAM:
        return kernel_info.program_info(fd).id == occupant.program_id
    return target in _LINK and kernel_info.link_info(fd).id == occupant.link_id


def _has_descriptor(process: Path, occupant: HookOccupant) -> bool:
    for descriptor in (process / "fd").iterdir():
        with suppress(OSError):
            target = str(descriptor.readlink())
            if target != _PROGRAM and target not in _LINK:
                continue
            text = (process / "fdinfo" / descriptor.name).read_text()
            fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            key, wanted = (
                ("prog_id", occupant.program_id)
                if target == _PROGRAM
                else ("link_id", occupant.link_id)
            )
            if wanted and fields.get(key, "").strip() == str(wanted):
                return True
    return False


def _link_kind(link_id: int) -> str:
    if not link_id:
        return ""
    with suppress(KernelFaultError), kernel_info.link_by_id(link_id) as link:
        return kernel_info.link_info(link.fd).kind
    return "unknown"
