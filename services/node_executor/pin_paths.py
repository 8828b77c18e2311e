# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where kernel objects are pinned in bpffs, so that they outlive the executor.

    <base>/<interface>/<hook>/link
    <base>/<interface>/<hook>/displaced
    <base>/<interface>/<hook>/programs/<generation>
    <base>/<interface>/<hook>/maps/<deployment>/<map>

bpffs refuses names with a dot, which interfaces (`eth0.100`) and data sections (`.bss`) have.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from shared.identifiers import Hook


def render_pin_name(text: str) -> str:
    """`text` as a path element of bpffs."""
    return text.replace("%", "%25").replace(".", "%2e")


def parse_pin_name(name: str) -> str:
    """The text that `render_pin_name` wrote."""
    return name.replace("%2e", ".").replace("%25", "%")


def hook_point_path(base: PurePosixPath, interface: str, hook: Hook) -> PurePosixPath:
    """Directory of all pins of one hook point."""
    return base / render_pin_name(interface) / hook


def link_path(base: PurePosixPath, interface: str, hook: Hook) -> PurePosixPath:
    """The link that holds the chain on its hook."""
    return hook_point_path(base, interface, hook) / "link"


def displaced_path(base: PurePosixPath, interface: str, hook: Hook) -> PurePosixPath:
    """The program of another owner whose place the chain took, to be put back."""
    return hook_point_path(base, interface, hook) / "displaced"


def program_path(base: PurePosixPath, interface: str, hook: Hook, generation: int) -> PurePosixPath:
    """The linked program of one generation."""
    return hook_point_path(base, interface, hook) / "programs" / str(generation)


def map_path(
    base: PurePosixPath, interface: str, hook: Hook, deployment: str, map_name: str
) -> PurePosixPath:
    """A map of one deployment on one hook point; it stays the same through all generations."""
    return maps_path(base, interface, hook, deployment) / render_pin_name(map_name)


def maps_path(base: PurePosixPath, interface: str, hook: Hook, deployment: str) -> PurePosixPath:
    """Directory of a deployment's maps on one hook point."""
    return hook_point_path(base, interface, hook) / "maps" / deployment
