# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where kernel objects are pinned in bpffs, so that they outlive the executor.

    <base>/<interface>/<hook>/link
    <base>/<interface>/<hook>/displaced
    <base>/<interface>/<hook>/generations/<generation>/head, segment-1, segment-2, …
    <base>/<interface>/<hook>/generations/<generation>/l3af_plan, l3af_segments, l3af_slots
    <base>/<interface>/<hook>/generations/<generation>/maps/<deployment>/<map>
    <base>/<interface>/<hook>/maps -> generations/<the one that runs>/maps
    <base>/:netns/<network namespace>/<interface>/…: the same in a named network namespace

No interface has a `:` in its name (dev_valid_name in net/core/dev.c).
A generation's record, `l3af_plan`, is pinned last and let go first: where it is, all else is.
bpffs refuses names with a dot, which interfaces (`eth0.100`), data sections (`.bss`) and
deployments of a space (`p_acme.edge`) have.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final

from services.node_executor.generations import HEAD, MapKey
from shared.identifiers import Hook

NAMESPACES: Final = ":netns"


def namespace_path(base: PurePosixPath, netns: str) -> PurePosixPath:
    """Directory of the pins of one network namespace; `base` itself for the executor's own."""
    return base / NAMESPACES / render_pin_name(netns) if netns else base


def render_pin_name(text: str) -> str:
    """`text` as a path element of bpffs."""
    return text.replace("%", "%25").replace(".", "%2e")


def parse_pin_name(name: str) -> str:
    """The text that `render_pin_name` wrote."""
    return name.replace("%2e", ".").replace("%25", "%")


@lru_cache(maxsize=4096)
def hook_point_path(
    base: PurePosixPath, interface: str, hook: Hook, netns: str = ""
) -> PurePosixPath:
    """Directory of all pins of one hook point."""
    return namespace_path(base, netns) / render_pin_name(interface) / hook


@lru_cache(maxsize=4096)
def link_path(base: PurePosixPath, interface: str, hook: Hook, netns: str = "") -> PurePosixPath:
    """The link that holds the chain on its hook."""
    return hook_point_path(base, interface, hook, netns) / "link"


@lru_cache(maxsize=4096)
def displaced_path(
    base: PurePosixPath, interface: str, hook: Hook, netns: str = ""
) -> PurePosixPath:
    """The program of another owner whose place the chain took, to be put back."""
    return hook_point_path(base, interface, hook, netns) / "displaced"


def generation_path(
    base: PurePosixPath, interface: str, hook: Hook, generation: int
) -> PurePosixPath:
    """Directory of all that belongs to one generation."""
    return hook_point_path(base, interface, hook) / "generations" / str(generation)


def program_path(
    base: PurePosixPath, interface: str, hook: Hook, generation: int, segment: int = HEAD
) -> PurePosixPath:
    """One kernel program of one generation."""
    folder = generation_path(base, interface, hook, generation)
    return folder / render_segment(segment)


def generation_map_path(
    base: PurePosixPath, interface: str, hook: Hook, generation: int, key: MapKey
) -> PurePosixPath:
    """A map that one generation uses."""
    folder = generation_path(base, interface, hook, generation)
    name = render_pin_name(key.name)
    own = render_pin_name(key.deployment)
    return folder / "maps" / own / name if own else folder / name


def map_path(
    base: PurePosixPath, interface: str, hook: Hook, deployment: str, map_name: str
) -> PurePosixPath:
    """A map of one deployment on one hook point, through all generations that carry it over."""
    own = render_pin_name(deployment)
    return maps_path(base, interface, hook) / own / render_pin_name(map_name)


@lru_cache(maxsize=4096)
def maps_path(base: PurePosixPath, interface: str, hook: Hook) -> PurePosixPath:
    """Leads to the directory of the maps of the generation that runs."""
    return hook_point_path(base, interface, hook) / "maps"


def render_segment(segment: int) -> str:
    """Name of the pin of a segment's program."""
    return f"segment-{segment}" if segment else "head"


def parse_segment(name: str) -> int | None:
    """The segment whose pin has that name; None: it is no such pin."""
    if name == "head":
        return HEAD
    _, is_segment, number = name.partition("segment-")
    if not is_segment or not number.isdecimal() or render_segment(int(number)) != name:
        return None
    return int(number)
