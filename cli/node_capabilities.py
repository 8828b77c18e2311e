# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node's kernel can do, in a few lines; `--json` has all of it."""

from __future__ import annotations

from typing import Final

from shared.capability_lookup import program_type
from shared.contracts.capabilities import Capabilities
from shared.contracts.interfaces import Interface
from shared.contracts.scheduler import NodeStatus
from shared.identifiers import NETWORK_HOOKS, Hook, is_probe
from shared.number_ranges import parse_ranges

_NETWORK_TYPES: Final = ("xdp", "sched_cls")
"""Those that chains are made of."""


def capability_rows(capabilities: Capabilities | None) -> dict[str, str]:
    """A heading and a line for each thing worth knowing."""
    if capabilities is None:
        return {"capabilities": "not known"}
    rows = {
        "kernel build": capabilities.kernel_build,
        "program types": _counted(
            len(capabilities.program_types), capabilities.missing_program_types
        ),
        "map types": f"all but {', '.join(capabilities.missing_map_types)}"
        if capabilities.missing_map_types
        else "all",
        "helpers": _helpers(capabilities),
        "kernel functions": str(len(capabilities.kernel_functions))
        if capabilities.kernel_functions_are_known
        else "not known",
        "cgroup": capabilities.cgroup or "none",
    }
    if capabilities.build_id:
        rows["kernel build"] += f" ({capabilities.build_id})"
    if capabilities.problem:
        rows["not asked"] = capabilities.problem
    return rows


def hook_points_row(node: NodeStatus) -> str:
    """How many of the places where a chain can be have one, and how many probes there are."""
    places = len(NETWORK_HOOKS) * len(node.record.interfaces)
    attached = [chain for chain in node.chains if chain.state == "attached"]
    probes = sum(is_probe(chain.hook) for chain in attached)
    words = f"{len(attached) - probes} of {places} with a chain"
    return f"{words}, {probes} probe{'s' if probes > 1 else ''}" if probes else words


def xdp_words(interface: Interface) -> str:
    """How XDP can run on the interface, and what its driver does beyond that."""
    if interface.xdp_features is None:
        return "not known"
    mode = "native" if "basic" in interface.xdp_features else "generic"
    return " ".join((mode, *(one for one in interface.xdp_features if one != "basic")))


def slot_words(node: NodeStatus, interface: Interface) -> str:
    """Who is where a chain goes on each hook of the interface: nobody, this node, or others."""
    return "; ".join(f"{hook} {_holders(node, interface.place, hook)}" for hook in NETWORK_HOOKS)


def _holders(node: NodeStatus, place: str, hook: Hook) -> str:
    ours = [
        f"ours ({chain.attachment})" if chain.attachment else "ours"
        for chain in node.chains
        if (chain.place, chain.hook, chain.state) == (place, hook, "attached")
    ]
    others = [
        f"{one.program_name or one.program_id}"
        + (f" and {one.programs - 1} more" if one.programs > 1 else "")
        + f" ({one.attachment}"
        + (", leaves room)" if one.attachment == "tcx" else ")")
        for one in node.record.taken
        if (one.place, one.hook) == (place, hook)
    ]
    return ", ".join([*ours, *others]) or "free"


def _counted(count: int, missing: tuple[str, ...]) -> str:
    return f"{count}, not {', '.join(missing)}" if missing else str(count)


def _helpers(capabilities: Capabilities) -> str:
    known = []
    for name in _NETWORK_TYPES:
        support = program_type(capabilities, name)
        if support is not None and support.helpers_are_known:
            known.append(f"{name} {len(parse_ranges(support.helpers))}")
    restricted = len(parse_ranges(capabilities.gpl_only_helpers))
    words = [f"{capabilities.helper_count}", *known, f"{restricted} for GPL-compatible programs"]
    return ", ".join(words)
