# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Kernels of several ages as their nodes describe them, and programs with requirements."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.contracts.catalog import PackageVersion
from shared.contracts.node import NodeRecord
from shared.contracts.package_facts import ProgramFacts, ProgramRequirements
from tests.fleets import a_node_record, a_package

XDP_HELPERS = {
    "5.4.0": "1-3,5,7-8,12,14,23,25,28,35,44,51,54,65,69,84-86,99-100,105-106,109-111",
    "5.15.0": "1-3,5,7-8,12,14,23,25,28,35,44,51,54,65,69,84-86,99-100,105-118,120,123,130-134",
    "6.18.0": "1-3,5,7-8,12,14-17,22-23,25,28,35,44,51,54,65,69,84-89,99-120,123,130-141,163-211",
}
MISSING_MAPS = {
    "5.4.0": ("ringbuf", "inode_storage", "task_storage", "bloom_filter", "arena"),
    "5.15.0": ("bloom_filter", "user_ringbuf", "cgrp_storage", "arena"),
    "6.18.0": (),
}
FUNCTIONS = ("bpf_dynptr_from_xdp", "bpf_rcu_read_lock", "bpf_rcu_read_unlock")


def a_kernel(release: str = "5.4.0", **fields: Any) -> Capabilities:
    """What a kernel of that release answers, about XDP and TC."""
    defaults: dict[str, Any] = {
        "kernel_build": f"{release} #1 SMP",
        "has_types": release != "5.4.0",
        "program_types": (
            ProgramTypeSupport(name="xdp", helpers=XDP_HELPERS[release]),
            ProgramTypeSupport(name="sched_cls", helpers="1-211"),
        ),
        "missing_map_types": MISSING_MAPS[release],
        "helper_count": 211,
        "helpers_not_asked": "6,36,177",
        "gpl_only_helpers": "4,25,35,69,110-115",
        "kernel_functions": FUNCTIONS if release == "6.18.0" else (),
        "kernel_functions_are_known": release == "6.18.0",
    }
    return Capabilities(**{**defaults, **fields})


def a_node_with(
    name: str,
    release: str = "5.4.0",
    *,
    capabilities: Capabilities | None = None,
    features: dict[str, bool] | None = None,
) -> NodeRecord:
    """The inventory of a node with that kernel."""
    return msgspec.structs.replace(
        a_node_record(name),
        kernel=release,
        features=features or {"xdp": True, "tcx": True, "cls_bpf": True},
        capabilities=capabilities or a_kernel(release),
    )


def a_demanding_package(version: str = "1.0.0", **requirements: Any) -> PackageVersion:
    """`rate-limit` with a program that cannot do without this."""
    package = a_package(version=version)
    requires = ProgramRequirements(**{"licence": "GPL", **requirements})
    facts = ProgramFacts(
        function="limiter", section="xdp", instructions=2, helpers=(), requires=requires
    )
    elf = tuple(msgspec.structs.replace(one, programs=(facts,)) for one in package.elf)
    return msgspec.structs.replace(package, elf=elf)
