# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a program says of itself, and so how it is loaded: for which hook, with which flags.

Section names: libbpf, Documentation/bpf/libbpf/program_types.rst.  Names that libbpf does not know
(`xdp-root`, `xdp_ratelimiting`, `ingress_monitor`) are from before libbpf gave them a meaning; the
hook decides about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.node_executor.adapters.restricted_helpers import restricted_helpers
from services.node_executor.kernel_types import (
    ATTACH_TYPES,
    PROGRAM_TYPES,
    XDP_DEVICE_BOUND,
    XDP_HAS_FRAGS,
    ProgramSource,
)
from services.node_executor.linking.plan import LinkRefusedError
from services.node_executor.probe_types import Loading
from shared.bytecode.call_graph import ObjectProgram
from shared.bytecode.elf import ObjectFile
from shared.bytecode.licences import closed_calls
from shared.bytecode.probe_sections import fits_probe
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, is_probe
from shared.kernel_abilities import spoken_helper

_OF_CLASSIFIERS: Final = re.compile(r"(tc|tcx|classifier|action)(\b|_).*")
_OF_XDP: Final = re.compile(r"xdp(\b|_).*")
_BEHIND_MAPS: Final = re.compile(r"xdp(\.frags)?/(devmap|cpumap)(/.*)?")
_ELSEWHERE: Final = re.compile(
    r"(u(ret)?probe|k(ret)?probe|usdt|ksyscall|kretsyscall|tracepoint|tp|tp_btf|raw_tp"
    r"|raw_tracepoint|fentry|fexit|fmod_ret|freplace|lsm|lsm_cgroup|iter|perf_event|cgroup(_skb)?|sockops"
    r"|sk_skb|sk_msg|sk_lookup|sk_reuseport|lirc_mode2|flow_dissector|lwt_in|lwt_out|lwt_xmit"
    r"|lwt_seg6local|socket|struct_ops|syscall|netfilter|netkit)([./+].*)?"
)


@dataclass(frozen=True, slots=True)
class Target:
    """What the originals of one chain have in common when they are loaded."""

    hook: Hook
    has_frags: bool | None = None
    """XDP: whether they are loaded as programs that read fragments; None: as each section says."""
    interface_index: int = 0
    """For programs that must be bound to a device; 0: there is none."""
    probe: Loading | None = None
    """How a probe's program is loaded; None: the hook is a network hook."""

    @property
    def program_type(self) -> int:
        """The kernel's number."""
        return PROGRAM_TYPES[self.hook] if self.probe is None else self.probe.program_type

    @property
    def attach_type(self) -> int:
        """The kernel's number."""
        return ATTACH_TYPES[self.hook] if self.probe is None else self.probe.attach_type


def wanted_program(parsed: ObjectFile, source: ProgramSource, target: Target) -> ObjectProgram:
    """The program that `source` names, if it can stand where it shall.

    Raises:
        RefusedError: there is none, or it cannot.
    """
    program = parsed.program(source.function)
    if program is None:
        reason = Reason(path=source.name, rule="must be a program of the object")
        raise RefusedError(
            f"{source.name}: {source.object_path} has no program '{source.function}'", [reason]
        )
    if not is_for_hook(program.section, target.hook):
        rule = f"must be a program for {target.hook}"
        raise LinkRefusedError(
            f"{source.name}: '{source.function}' is in section '{program.section}',"
            f" which is not for {target.hook}",
            [Reason(path=source.name, rule=rule, got=program.section)],
        )
    if is_device_bound(program) and not target.interface_index:
        raise LinkRefusedError(
            f"{source.name}: '{source.function}' reads what a device's driver offers, so it is"
            " linked for an interface only",
            [Reason(path=source.name, rule="needs an interface that exists")],
        )
    _check_licence(program, parsed.licence, source)
    return program


def _check_licence(program: ObjectProgram, licence: str, source: ProgramSource) -> None:
    """The same rule as at publication, with what this kernel restricts."""
    helpers, functions = closed_calls(
        licence, program.helpers, program.kernel_functions, restricted=restricted_helpers()
    )
    called = (*map(spoken_helper, helpers), *functions)
    if called:
        rule = "is opened by this kernel to programs with a GPL-compatible licence only"
        raise LinkRefusedError(
            f"{source.name}: '{source.function}' calls {', '.join(called)}, which {rule}; its"
            f" licence is '{licence}'",
            [Reason(path=source.name, rule=rule, got=one) for one in called],
        )


def program_flags(program: ObjectProgram, target: Target) -> int:
    """Flags of bpf(2) for loading the program alone."""
    if target.hook != "xdp":
        return 0
    declared = reads_fragments(program.section)
    has_frags = declared if target.has_frags is None else target.has_frags
    bound = XDP_DEVICE_BOUND if is_device_bound(program) else 0
    return bound | (XDP_HAS_FRAGS if has_frags else 0)


def is_device_bound(program: ObjectProgram) -> bool:
    """Whether it calls kernel functions that only a program bound to one device may call."""
    return any(name.startswith("bpf_xdp_metadata_") for name in program.kernel_functions)


def is_for_hook(section: str, hook: Hook) -> bool:
    """Whether a program of that section can stand on the hook."""
    if is_probe(hook):
        return fits_probe(section, hook)
    name = _plain(section)
    if _BEHIND_MAPS.fullmatch(name) or _ELSEWHERE.fullmatch(name):
        return False
    return not (_OF_CLASSIFIERS if hook == "xdp" else _OF_XDP).fullmatch(name)


def reads_fragments(section: str) -> bool:
    """Whether an XDP program says of itself that it reads packets in several buffers."""
    return re.match(r"xdp\.frags(/|$)", _plain(section)) is not None


def _plain(section: str) -> str:
    """Without the mark of a program that libbpf shall not load by itself."""
    return section.removeprefix("?")
