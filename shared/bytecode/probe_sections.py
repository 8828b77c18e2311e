# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which probes a program can be, by the section that it is in.

Source: libbpf, section_defs in src/libbpf.c.  Behind its first part a section may name what the
program was written for; the deployment says what it is attached to, except that programs of cgroups
and iterators are loaded for one thing and can be attached to that alone.

Rules:
 * Sections for several places at once (`kprobe.multi`, `uprobe.session`), for USDT and for system
   calls by name (`ksyscall`) are no probes: libbpf does more for them than attach to one place.
"""

from __future__ import annotations

import re
from typing import Final, get_args

from shared.contracts.probes import CgroupAttach, CgroupTarget, IteratorTarget, ProbeTarget
from shared.identifiers import PROBE_HOOKS, ProbeHook

_SECTIONS: Final[dict[ProbeHook, str]] = {
    "tracepoint": r"(tracepoint|tp)(/.*)?",
    "raw-tracepoint": r"(raw_tracepoint|raw_tp)(/.*)?",
    "kprobe": r"kprobe(/.*)?",
    "kretprobe": r"kretprobe(/.*)?",
    "uprobe": r"uprobe(\.s)?(/.*)?",
    "uretprobe": r"uretprobe(\.s)?(/.*)?",
    "fentry": r"fentry(\.s)?(/.*)?",
    "fexit": r"fexit(\.s)?(/.*)?",
    "lsm": r"lsm(\.s)?(/.*)?",
    "sockops": r"sockops",
    "iterator": r"iter(\.s)?(/.*)?",
}
_CGROUP: Final[dict[str, CgroupAttach]] = {
    "cgroup_skb/ingress": "ingress",
    "cgroup_skb/egress": "egress",
    "cgroup/dev": "device",
    "cgroup/sock": "sock_create",
    **{
        f"cgroup/{one}": one
        for one in get_args(CgroupAttach)
        if one not in ("ingress", "egress", "device")
    },
}
NEED_KERNEL_TYPES: Final = frozenset(("fentry", "fexit", "lsm", "iterator"))
"""Probes whose program is verified against what it is attached to, by the kernel's BTF."""


def probes_of(section: str) -> tuple[ProbeHook, ...]:
    """Every probe that a program of that section can be; none or one.

    >>> probes_of("tp/sched/sched_switch"), probes_of("cgroup/connect4"), probes_of("xdp")
    (('tracepoint',), ('cgroup',), ())
    """
    return tuple(hook for hook in PROBE_HOOKS if fits_probe(section, hook))


def fits_probe(section: str, hook: ProbeHook) -> bool:
    """Whether a program of that section can be such a probe."""
    name = section.removeprefix("?")
    if hook == "cgroup":
        return name in _CGROUP
    return re.fullmatch(_SECTIONS[hook], name) is not None


def names_its_target(section: str, hook: ProbeHook) -> bool:
    """Whether a program can be loaded without a deployment: what it is verified against is named.

    >>> names_its_target("fentry", "fentry"), names_its_target("uprobe", "uprobe")
    (False, True)
    """
    return hook not in NEED_KERNEL_TYPES or bool(section.partition("/")[2])


def misfit(section: str, target: ProbeTarget) -> str:
    """What else the program of that section was made for; empty: it can have the target.

    >>> misfit("cgroup/connect4", CgroupTarget(path="/sys/fs/cgroup", attach="connect6"))
    'connect4'
    """
    name = section.removeprefix("?")
    if isinstance(target, CgroupTarget):
        made_for = str(_CGROUP.get(name, ""))
        return made_for if made_for != target.attach else ""
    if isinstance(target, IteratorTarget):
        made_for = name.partition("/")[2]
        return made_for if made_for != target.over else ""
    return ""
