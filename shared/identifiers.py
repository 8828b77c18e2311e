# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The names that travel: one parser each, so that no subject token is ever unsafe.

Every parser raises RefusedError with the path it was given.  Tokens hold no `.`, `*`, `>` or
white space (NATS subject rules), and no `/` (bpffs path elements).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, NewType, TypeGuard, get_args

import msgspec

from shared.errors import Reason, RefusedError

# `$` alone also matches before a final line feed (Python's re, and so msgspec).
LABEL_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(?!\n)$"
"""RFC 1123 label: fits a subject token, a KV key, a bpffs path element and a host name."""
DIGEST_PATTERN: Final = r"^[0-9a-f]{64}(?!\n)$"
COMMAND_ID_PATTERN: Final = r"^[A-Za-z0-9_-]{8,64}(?!\n)$"
INTERFACE_PATTERN: Final = r"^[A-Za-z0-9@_.:-]{1,15}(?!\n)$"
"""IFNAMSIZ - 1 characters; the kernel allows more bytes than are wise in a path."""
PROBE_PLACE_PATTERN: Final = (
    r"^((p_[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?|r_[0-9a-f]{16})\.)?"
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(@[0-9a-f]{8})?(?!\n)$"
)
"""A deployment's key; behind an `@` 8 digits of its target's digest, if it has several."""
PLACE_PATTERN: Final = (
    f"({INTERFACE_PATTERN.removesuffix('$')}$)|({PROBE_PLACE_PATTERN.removesuffix('$')}$)"
)
NETNS_PATTERN: Final = r"^([A-Za-z0-9_-][A-Za-z0-9_.:@+=-]{0,63})?(?!\n)$"
"""A file name below /run/netns; empty: the network namespace that the node executor runs in."""

NodeId = NewType("NodeId", str)
PackageName = NewType("PackageName", str)
DeploymentName = NewType("DeploymentName", str)
Digest = NewType("Digest", str)
"""SHA-256, 64 lower-case hexadecimal digits."""
CommandId = NewType("CommandId", str)
PrincipalKey = NewType("PrincipalKey", str)
"""The public nkey of a user, 56 characters, first `U`."""

Token = Annotated[str, msgspec.Meta(pattern=LABEL_PATTERN)]
DigestText = Annotated[str, msgspec.Meta(pattern=DIGEST_PATTERN)]
CommandIdText = Annotated[str, msgspec.Meta(pattern=COMMAND_ID_PATTERN)]
InterfaceText = Annotated[str, msgspec.Meta(pattern=INTERFACE_PATTERN)]
PlaceText = Annotated[str, msgspec.Meta(pattern=PLACE_PATTERN)]
"""An interface, or the place of a probe, which its hook tells apart (`is_place_of`)."""
NetnsText = Annotated[str, msgspec.Meta(pattern=NETNS_PATTERN)]

NetworkHook = Literal["xdp", "tc-ingress", "tc-egress"]
"""Hooks of an interface: a chain of programs is linked into one, and packets have verdicts."""
ProbeHook = Literal[
    "tracepoint",
    "raw-tracepoint",
    "kprobe",
    "kretprobe",
    "uprobe",
    "uretprobe",
    "fentry",
    "fexit",
    "lsm",
    "cgroup",
    "sockops",
    "iterator",
]
"""Hooks that are no interface's: each instance is one program, as it was compiled."""
Hook = Literal[NetworkHook, ProbeHook]
NETWORK_HOOKS: Final[tuple[NetworkHook, ...]] = get_args(NetworkHook)
PROBE_HOOKS: Final[tuple[ProbeHook, ...]] = get_args(ProbeHook)
HOOKS: Final[tuple[Hook, ...]] = get_args(Hook)
ProceedOn = Annotated[
    tuple[str, ...],
    msgspec.Meta(
        min_length=1, description="at least one verdict; leave the field out for the default"
    ),
]
"""Verdicts after which a chain goes on."""

HookPoint = NewType("HookPoint", str)
"""`<interface>/<hook>`, or `<netns>/<interface>/<hook>` in a named network namespace: one place of
one node where a chain runs.  Of a probe `<deployment>/<hook>`."""


def parse_token(text: str, *, path: str) -> str:
    """`text` if it is a lower-case RFC 1123 label of at most 63 characters."""
    return _matching(text, LABEL_PATTERN, path, "a lower-case label of letters, digits and '-'")


def parse_digest(text: str, *, path: str) -> Digest:
    """`text` if it is a SHA-256 in lower-case hexadecimal."""
    return Digest(_matching(text, DIGEST_PATTERN, path, "64 lower-case hexadecimal digits"))


def parse_command_id(text: str, *, path: str) -> CommandId:
    """`text` if it is 8 to 64 of letters, digits, '_' and '-'."""
    return CommandId(_matching(text, COMMAND_ID_PATTERN, path, "8 to 64 letters, digits, _ or -"))


def is_probe(hook: Hook) -> TypeGuard[ProbeHook]:
    """Whether the hook is no interface's: one program, no verdicts, no linking, no packets."""
    return not is_network(hook)


def is_network(hook: Hook) -> TypeGuard[NetworkHook]:
    """Whether the hook is an interface's: chains of programs, verdicts, packets."""
    return hook in NETWORK_HOOKS


def is_place_of(hook: Hook, interface: str) -> bool:
    """Whether that can be the interface of a network hook, or the place of a probe."""
    pattern = PROBE_PLACE_PATTERN if is_probe(hook) else INTERFACE_PATTERN
    return re.match(pattern, interface) is not None


def render_place(interface: str, netns: str = "") -> str:
    """The interface's one written form: its name, in a named namespace `<netns>/<interface>`."""
    return f"{netns}/{interface}" if netns else interface


def split_place(place: str) -> tuple[str, str]:
    """Interface and network namespace of what `render_place` wrote; neither has a `/`."""
    netns, _, interface = place.rpartition("/")
    return interface, netns


def render_hook_point(interface: str, hook: Hook, netns: str = "") -> HookPoint:
    """The hook point's one written form."""
    return HookPoint(f"{render_place(interface, netns)}/{hook}")


def parse_hook_point(text: str, *, path: str) -> tuple[str, Hook, str]:
    """Interface, hook and network namespace of what `render_hook_point` wrote."""
    place, _, hook = text.rpartition("/")
    interface, netns = split_place(place)
    for known in HOOKS:
        if hook != known:
            continue
        is_point = is_place_of(known, interface) and re.match(NETNS_PATTERN, netns)
        if is_point and place == render_place(interface, netns):
            return interface, known, netns
    rule = "must be <interface>/<hook> or <netns>/<interface>/<hook>"
    reason = Reason(path=path, rule=rule, got=text, allowed=list(HOOKS))
    raise RefusedError(f"{path}: not a hook point", [reason])


def _matching(text: str, pattern: str, path: str, allowed: str) -> str:
    if re.match(pattern, text) and not text.endswith("\n"):
        return text
    reason = Reason(
        path=path, rule="has characters or a length that are not allowed", got=text, allowed=allowed
    )
    raise RefusedError(f"{path}: must be {allowed}", [reason])
