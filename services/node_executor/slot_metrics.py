# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the programs of a chain did, read out of the one counter map of their hook point.

Pure.  Counters belong to a program instance for as long as it is on the hook point, whatever chain
it stands in; which of its verdicts let packets go on is judged by its `proceed_on` of now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from services.node_executor.linking import counters
from shared.contracts.inspection import ChainCounters, CpuCounters, SlotCounters
from shared.identifiers import Hook

SWITCHED_OFF: Final = "the chain is linked without counters (link.counters = false)"
METRIC_PREFIX: Final = "l3af."
"""No metric of a deployment has a dot, so none has the name of one of these."""


class Counted(NamedTuple):
    """A program instance with counters."""

    deployment: str
    slot: int
    proceed_on: tuple[str, ...]


def chain_counters(
    values: Sequence[bytes], hook: Hook, programs: Iterable[Counted], *, per_cpu: bool = False
) -> ChainCounters:
    """The counters of a chain, first program first.

    Args:
        values: The map's value on each processor, in the order of the processors.
        hook: Decides which verdicts there are.
        programs: Those of the chain, first to run first.
        per_cpu: Whether each processor is wanted too; one that saw no packet is left out.
    """
    counted = tuple(programs)
    slots = tuple(_slot(values, hook, program) for program in counted)
    cpus = []
    for cpu, value in enumerate(values if per_cpu else ()):
        own = tuple(_slot((value,), hook, program) for program in counted)
        if any(slot.packets_in for slot in own):
            missed = counters.read_missed((value,))
            cpus.append(CpuCounters(cpu=cpu, missed=missed, slots=own))
    return ChainCounters(slots=slots, missed=counters.read_missed(values), cpus=tuple(cpus))


def counter_metrics(interface: str, hook: Hook, counted: ChainCounters) -> dict[str, int]:
    """The same as metrics, by the names that docs/chains.md promises."""
    if counted.problem or not counted.slots:
        return {}
    found = {f"{interface}/{hook}/{METRIC_PREFIX}missed": counted.missed}
    for slot in counted.slots:
        prefix = f"{interface}/{hook}/{slot.deployment}/{METRIC_PREFIX}"
        found[f"{prefix}packets_in"] = slot.packets_in
        found[f"{prefix}went_on"] = slot.went_on
        for verdict, packets in slot.verdicts.items():
            found[f"{prefix}verdict.{verdict}"] = packets
        if slot.samples:
            found[f"{prefix}sampled_ns"] = slot.sampled_ns
            found[f"{prefix}samples"] = slot.samples
    return found


def _slot(values: Sequence[bytes], hook: Hook, program: Counted) -> SlotCounters:
    if not all(program.slot < counters.capacity_of(hook, len(value)) for value in values):
        return SlotCounters(deployment=program.deployment, slot=program.slot, packets_in=0)
    read = counters.read_slot(values, hook, program.slot)
    return SlotCounters(
        deployment=program.deployment,
        slot=program.slot,
        packets_in=read.packets,
        verdicts={name: packets for name, packets in read.verdicts.items() if packets},
        went_on=sum(read.verdicts[name] for name in set(program.proceed_on) & set(read.verdicts)),
        sampled_ns=read.measured_ns,
        samples=read.measured_packets,
    )
