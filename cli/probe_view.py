# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What people are shown of a probe: what it is attached to, and how often it ran."""

from __future__ import annotations

from collections.abc import Iterator

from cli.console import plain
from shared.contracts.node import ObservedChain
from shared.contracts.probes import ObservedProbe, ProbeTarget
from shared.probe_targets import describe_target


def target_text(place: str, target: ProbeTarget | None) -> str:
    """A place; of a probe also what is attached to there."""
    return place if target is None else f"{place} ({plain(describe_target(target))})"


def probe_lines(chain: ObservedChain) -> Iterator[str]:
    """What the kernel says of the probe that runs."""
    if chain.target is not None:
        yield f"attached to {plain(describe_target(chain.target))}"
    probe = chain.probe
    if probe is None:
        return
    if found := _found(probe):
        yield f"the kernel says: {found}"
    yield _runs(probe)
    if probe.missed:
        yield f"{probe.missed} events were missed"
    if probe.text_path:
        yield f"its text is read from {plain(probe.text_path)}"


def _found(probe: ObservedProbe) -> str:
    place = f"{probe.name}+{probe.offset:#x}" if probe.offset else probe.name
    cgroup = f"cgroup {probe.cgroup_id}" if probe.cgroup_id else ""
    link = f"{probe.link} link"
    words = (link, probe.target_type, place, cgroup)
    return plain(", ".join(word for word in words if word))


def _runs(probe: ObservedProbe) -> str:
    if probe.runs is None:
        return "runs are not counted: kernel.bpf_stats_enabled is off"
    mean = ""
    if probe.runs and probe.run_nanoseconds is not None:
        mean = f", {probe.run_nanoseconds / probe.runs:.0f} ns each"
    return f"{probe.runs} runs{mean}"
