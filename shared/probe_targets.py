# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where a probe's instance stands, and which program its target takes.

Pure.

Rules:
 * A deployment with one target stands at its key, so that a changed target is a replacement.
 * With several targets each place has a digest of its target, so that others can come and go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import DEFAULT_POSITION, LinkOptions
from shared.contracts.probes import CgroupAttach, CgroupTarget, IteratorTarget, ProbeTarget, kind_of
from shared.errors import Reason
from shared.identifiers import Hook, ProbeHook, is_place_of, is_probe

_DIGITS: Final = 8

PROGRAM_TYPES: Final[dict[ProbeHook, str]] = {
    "tracepoint": "tracepoint",
    "raw-tracepoint": "raw_tracepoint",
    "kprobe": "kprobe",
    "kretprobe": "kprobe",
    "uprobe": "kprobe",
    "uretprobe": "kprobe",
    "fentry": "tracing",
    "fexit": "tracing",
    "lsm": "lsm",
    "sockops": "sock_ops",
    "iterator": "tracing",
}
"""As the kernel calls them; of a cgroup's programs `CGROUP_PROGRAM_TYPES` says it."""
CGROUP_PROGRAM_TYPES: Final[dict[CgroupAttach, str]] = {
    "ingress": "cgroup_skb",
    "egress": "cgroup_skb",
    "sock_create": "cgroup_sock",
    "sock_release": "cgroup_sock",
    "bind4": "cgroup_sock_addr",
    "bind6": "cgroup_sock_addr",
    "post_bind4": "cgroup_sock",
    "post_bind6": "cgroup_sock",
    "connect4": "cgroup_sock_addr",
    "connect6": "cgroup_sock_addr",
    "sendmsg4": "cgroup_sock_addr",
    "sendmsg6": "cgroup_sock_addr",
    "recvmsg4": "cgroup_sock_addr",
    "recvmsg6": "cgroup_sock_addr",
    "getpeername4": "cgroup_sock_addr",
    "getpeername6": "cgroup_sock_addr",
    "getsockname4": "cgroup_sock_addr",
    "getsockname6": "cgroup_sock_addr",
    "getsockopt": "cgroup_sockopt",
    "setsockopt": "cgroup_sockopt",
    "sysctl": "cgroup_sysctl",
    "device": "cgroup_device",
}


def program_type(target: ProbeTarget) -> str:
    """What the kernel calls the type of a program for this target."""
    if isinstance(target, CgroupTarget):
        return CGROUP_PROGRAM_TYPES[target.attach]
    return PROGRAM_TYPES[kind_of(target)]


def probe_places(deployment: str, targets: Sequence[ProbeTarget]) -> dict[str, ProbeTarget]:
    """Where each of a deployment's probes stands: its `interface` in hook points.

    >>> list(probe_places("edge", []))
    []
    """
    if len(targets) == 1:
        return {deployment: targets[0]}
    return {f"{deployment}@{canonical_digest(one)[:_DIGITS]}": one for one in targets}


def deployment_of(place: str) -> str:
    """The key of the deployment whose probe stands there.

    >>> deployment_of("p_acme.watch@0a1b2c3d")
    'p_acme.watch'
    """
    return place.partition("@")[0]


def place_problems(chain: DesiredChain, *, path: str = "chain") -> Iterator[Reason]:
    """How a desired chain's place, target and number of programs do not fit its hook."""
    if not is_place_of(chain.hook, chain.interface):
        rule = f"is no {'place of a probe' if is_probe(chain.hook) else 'interface'}"
        yield Reason(path=f"{path}.interface", rule=rule, got=chain.interface)
    if not is_probe(chain.hook):
        if chain.target is not None:
            rule = "only probes have a target"
            yield Reason(path=f"{path}.target", rule=rule, got=kind_of(chain.target))
        return
    if chain.programs and (chain.target is None or kind_of(chain.target) != chain.hook):
        got = None if chain.target is None else kind_of(chain.target)
        rule = "must be of the hook's kind"
        yield Reason(path=f"{path}.target", rule=rule, got=got, allowed=chain.hook)
    if len(chain.programs) > 1:
        rule = "a probe is one program"
        yield Reason(path=f"{path}.programs", rule=rule, got=len(chain.programs), allowed=1)
    if chain.netns:
        rule = "a probe is in no network namespace"
        yield Reason(path=f"{path}.netns", rule=rule, got=chain.netns)
    yield from link_problems(chain.link, chain.hook, path=f"{path}.link")


def link_problems(link: LinkOptions, hook: Hook, *, path: str = "link") -> Iterator[Reason]:
    """Which wishes about linking and attaching mean nothing for a probe."""
    if not is_probe(hook):
        return
    without_meaning = {
        "attach": (link.attach, "auto"),
        "frags": (link.frags, "auto"),
        "time_sample_period": (link.time_sample_period, 0),
        "end_verdict": (link.end_verdict, "unspec"),
        "position": (link.position, DEFAULT_POSITION),
        "take_over": (link.take_over, False),
    }
    for name, (got, allowed) in without_meaning.items():
        if got != allowed:
            rule = "means nothing for a probe"
            yield Reason(path=f"{path}.{name}", rule=rule, got=got, allowed=allowed)


def describe_target(target: ProbeTarget) -> str:
    """The target in one line, as `sched:sched_switch` or `/bin/true:main+4`."""
    values = msgspec.structs.asdict(target)
    if (process := values.pop("pid", 0)) != 0:
        return f"{describe_target(msgspec.structs.replace(target, pid=0))} of process {process}"
    offset = values.pop("offset", 0)
    separator = " " if isinstance(target, CgroupTarget | IteratorTarget) else ":"
    words = separator.join(value for value in values.values() if value)
    return f"{words}+{offset:#x}" if offset else words
