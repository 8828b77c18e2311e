# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node with a chain of three kernel programs, and what somebody else does to it.

Somebody else is bpftool, ip, and a program that knows libbpf's calls.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from services.node_executor.adapters import hooks, kernel_info, pins
from services.node_executor.adapters.chain import link_chain
from services.node_executor.generations import SEGMENTS, MapKey, Point
from shared.contracts.desired import DesiredChain
from shared.contracts.drift import DriftPolicy
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import ObservedChain
from tests.support.chain_reference import a_source
from tests.support.executors import Executor, Wire, a_chain, send_frames
from tests.support.generation_programs import StampedPrograms
from tests.support.other_owners import wait_for

PROGRAMS = StampedPrograms()
LIMITS = MapKey("open", PROGRAMS.limits)


@dataclass(frozen=True)
class Node:
    """An executor with a chain of three kernel programs on an interface."""

    executor: Executor
    wire: Wire
    base: PurePosixPath

    @property
    def point(self) -> Point:
        """Where the chain runs."""
        return Point(self.wire.name, "xdp")

    @property
    def folder(self) -> Path:
        """Where it is pinned."""
        return Path(self.base / self.wire.name / "xdp")

    @property
    def pinned(self) -> Path:
        """The pins of the generation that runs."""
        return self.folder / "generations" / str(self.executor.kernel.observe(self.point).named)

    def chain(self, policy: DriftPolicy = "repair", *, limit: int = 5) -> DesiredChain:
        """What is desired."""
        chain = a_chain(
            self.wire.name,
            PROGRAMS.program("open", "5.0.0", order=10, limit=limit),
            PROGRAMS.program("closed", "3.0.0", order=20),
            PROGRAMS.program("last", "4.0.0", order=30),
        )
        return msgspec.structs.replace(chain, link=LinkOptions(drift=policy))

    def settle(self, policy: DriftPolicy = "repair", *, limit: int = 5) -> None:
        """One period."""
        self.executor.settle(self.chain(policy, limit=limit), self.point, 1)

    def drifts(self) -> list[dict[str, Any]]:
        """Details of every event that says drift, oldest first."""
        events = [event.data for event in self.executor.events()]
        return [one.details for one in events if one.action == "chain.drift"]

    def seen(self) -> ObservedChain:
        """As it is reported."""
        return self.executor.points.describe(self.point, self.chain(), desired_generation=1)

    def counted(self) -> int:
        """Frames that reached the last program of the chain."""
        return self.executor.scalar(self.point, "last", PROGRAMS.packets)

    def passes(self) -> int:
        """How many of 5 frames run through the whole chain now."""
        before = self.counted()
        send_frames(self.wire.peer, 5)
        return self.counted() - before

    def map_id(self, key: MapKey) -> str:
        """Of the generation that runs."""
        return str(self.executor.kernel.observe(self.point).map_pins[key])


def shell(*words: str) -> str:
    """What somebody types."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def detached(node: Node) -> None:
    """`bpftool link detach`: the pin is there, and the hook is free."""
    link_id = node.executor.kernel.observe(node.point).link_id
    shell("bpftool", "link", "detach", "id", str(link_id))


def unlinked(node: Node) -> None:
    """The link's pin is removed, and nothing else holds it."""
    (node.folder / "link").unlink()
    wait_for(lambda: not is_on_hook(node), what="the link stays")


def is_on_hook(node: Node) -> bool:
    """Whether any XDP program is on the interface."""
    shown = json.loads(shell("ip", "-j", "link", "show", "dev", node.wire.name))
    return "xdp" in shown[0]


def exchanged(node: Node) -> None:
    """Our link is made to run another program."""
    link = pins.open_pinned(PurePosixPath(node.folder / "link"))
    assert link is not None
    with link, link_chain([a_source("passes")], "xdp", name="theirs") as theirs:
        running = kernel_info.link_info(link.fd).program_id
        hooks.replace_program(link, theirs.program, expected_id=running)


def head_unpinned(node: Node) -> None:
    """The link alone keeps the program."""
    (node.pinned / "head").unlink()


def segment_unpinned(node: Node) -> None:
    """The array alone keeps the program."""
    (node.pinned / "segment-1").unlink()


def array_unpinned(node: Node) -> None:
    """The kernel empties an array of programs whose last name is gone."""
    array = int(node.map_id(SEGMENTS))
    (node.pinned / "l3af_segments").unlink()
    wait_for(lambda: not node.executor.kernel.segments(array, 2), what="the array stays full")


def segments_unloaded(node: Node) -> None:
    """Neither name nor array keeps the second program."""
    (node.pinned / "segment-1").unlink()
    key = ("key", "1", "0", "0", "0")
    shell("bpftool", "map", "delete", "id", node.map_id(SEGMENTS), *key)


def record_unpinned(node: Node) -> None:
    """What the generation is made of is not written any more."""
    (node.pinned / "l3af_plan").unlink()


def map_unpinned(node: Node) -> None:
    """The program alone keeps the map."""
    (node.pinned / "maps" / "last" / PROGRAMS.packets).unlink()


def counters_replaced(node: Node) -> None:
    """Another map has the name of our counters."""
    (node.pinned / "l3af_slots").unlink()
    made = ("type", "array", "key", "4", "value", "8", "entries", "1", "name", "theirs")
    shell("bpftool", "map", "create", str(node.pinned / "l3af_slots"), *made)


def emptied(node: Node) -> None:
    """A place in the array of segments."""
    shell("bpftool", "map", "delete", "id", node.map_id(SEGMENTS), "key", "2", "0", "0", "0")


def misdirected(node: Node) -> None:
    """The first segment leads to the last one, past the program between."""
    second = ("value", "pinned", str(node.pinned / "segment-2"))
    key = ("key", "1", "0", "0", "0")
    shell("bpftool", "map", "update", "id", node.map_id(SEGMENTS), *key, *second)


def entry_changed(node: Node) -> None:
    """`bpftool map update` of a configured entry."""
    set_limit(node, "50 00", "07 00 00 00")


def entry_added(node: Node) -> None:
    """An entry that nobody configured."""
    set_limit(node, "bb 01", "01 00 00 00")


def entry_removed(node: Node) -> None:
    """A configured entry."""
    shell("bpftool", "map", "delete", "id", node.map_id(LIMITS), "key", "hex", "50", "00")


def set_limit(node: Node, key: str, value: str) -> None:
    """An entry, as somebody writes it: hexadecimal."""
    words = ("key", "hex", *key.split(), "value", "hex", *value.split())
    shell("bpftool", "map", "update", "id", node.map_id(LIMITS), *words)


def limits(node: Node) -> dict[int, int]:
    """Port to limit."""
    entries = node.executor.kernel.read_entries(int(node.map_id(LIMITS)))
    return {
        int.from_bytes(key, "little"): int.from_bytes(value, "little")
        for key, value in entries.items()
    }
