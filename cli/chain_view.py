# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the chains of a node are shown to people: what is linked, and what its programs counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import plain
from cli.probe_view import probe_lines
from shared.contracts.drift import ObservedDrift
from shared.contracts.inspection import SlotCounters
from shared.contracts.node import (
    ChainShown,
    ChainsShown,
    HookNeighbour,
    MetricValue,
    ObservedChain,
    ObservedProgram,
)
from shared.identifiers import is_probe

MAX_MAPS: Final = 64
"""Distinct maps of one kernel program."""
RESTRICTED: Final = (
    "not all of it is shown: a program of its chain is in a space that you do not see"
)

Rates = Mapping[tuple[str, str, str], float]
"""(interface, hook, deployment) to packets a second."""


def render_chains(shown: ChainsShown, rates: Rates | None = None) -> RenderableType:
    """A block for each hook point; `rates` adds a column."""
    if not shown.chains:
        return Text(f"{shown.node}: no hook is managed")
    return Group(*(_render_chain(shown.node, one, rates) for one in shown.chains))


def drift_line(one: ObservedDrift) -> str:
    """What somebody else changed, who they are as far as it is known, and what is done about it."""
    found = one.found
    name = f" '{found['program_name']}'" if found.get("program_name") else ""
    parts = [f"program {found['program_id']}{name}"] if found.get("program_id") else []
    parts += [f"{found['entries']} entries"] if "entries" in found else []
    parts += [", ".join(map(str, found[key])) for key in ("pins", "programs") if found.get(key)]
    parts += (
        [f"held by {', '.join(map(str, found['processes']))}"] if found.get("processes") else []
    )
    return plain(f"drift: {one.kind}, {'; '.join([one.subject, *parts])} ({one.done})")


def packet_rates(before: ChainsShown, after: ChainsShown, *, seconds: float) -> Rates:
    """Packets a second of every program that was there both times; a new count starts at 0."""
    was = dict(_packets(before))
    return {
        key: (packets - was[key]) / seconds
        for key, packets in _packets(after)
        if key in was and packets >= was[key] and seconds > 0
    }


def _packets(shown: ChainsShown) -> Iterable[tuple[tuple[str, str, str], int]]:
    for one in shown.chains:
        for slot in one.counters.slots:
            yield (one.chain.place, one.chain.hook, slot.deployment), slot.packets_in


def _render_chain(node: str, shown: ChainShown, rates: Rates | None) -> RenderableType:
    chain = shown.chain
    parts: list[RenderableType] = [
        Text(f"{node} {chain.place}/{chain.hook}: {_state(chain)}", style="bold"),
        Text(f"  {_generation(shown)}{f', link {chain.link_id}' if chain.link_id else ''}"),
    ]
    parts += [Text(f"  {line}") for line in probe_lines(chain)]
    if chain.attachment_reason:
        parts.append(Text(f"  {plain(chain.attachment_reason)}", style="dim"))
    parts += _neighbours(chain)
    parts += [Text(f"  {drift_line(one)}", style="red") for one in chain.drift]
    parts += [
        Text(f"  {plain(one.deployment)}: {plain(one.unverified)}", style="bold red")
        for one in chain.programs
        if one.unverified
    ]
    if chain.restricted:
        parts.append(Text(f"  {RESTRICTED}", style="dim"))
    elif chain.program_id:
        parts.append(_segments(chain))
    if chain.programs:
        parts.append(_programs(shown, rates))
        parts += [
            Text(f"  {one.deployment} is linked {one.mode}: {plain(one.reason)}", style="dim")
            for one in chain.programs
            if one.mode != "inline" and one.reason
        ]
        parts += _counter_remarks(shown)
    if chain.refusal is not None:
        parts.append(Text(f"  refused: {plain(chain.refusal.message)}", style="red"))
        parts += [
            Text(f"    {plain(reason.path)}: {plain(reason.rule)}", style="red")
            for reason in chain.refusal.reasons
        ]
    if shown.counters.cpus:
        parts.append(_per_cpu(shown))
    if shown.metrics:
        parts.append(_metrics(shown))
    parts.append(Text(""))
    return Group(*parts)


def _state(chain: ObservedChain) -> str:
    attachment = chain.attachment or chain.xdp_mode
    return f"{chain.state}, {attachment}" if attachment else chain.state


def _generation(shown: ChainShown) -> str:
    text = f"generation {shown.chain.generation}"
    if shown.previous_generation:
        text += f" (generation {shown.previous_generation} is kept"
        until = shown.previous_kept_until
        text += f" until {until})" if until else " to go back to)"
    return text


def _neighbours(chain: ObservedChain) -> list[Text]:
    lines = [
        *(("before it runs", one) for one in chain.runs_after),
        *(("after it runs", one) for one in chain.runs_before),
        *([("it displaced", chain.displaced)] if chain.displaced is not None else []),
    ]
    return [Text(f"  {what} {_neighbour(one)} of another owner") for what, one in lines]


def _neighbour(one: HookNeighbour) -> str:
    name = f" {plain(one.program_name)}" if one.program_name else ""
    return f"program {one.program_id}{name}"


def _segments(chain: ObservedChain) -> Table:
    table = _table(
        *("segment", "program", "tag", "verified", "jited bytes", f"maps of {MAX_MAPS}"),
        *("licence", "GPL"),
    )
    for number, one in enumerate(chain.segments):
        table.add_row(
            str(number),
            str(one.program_id),
            one.tag,
            str(one.verified_instructions),
            str(one.jited_bytes),
            str(one.maps_used),
            plain(one.licence),
            _yes(one.gpl_compatible),
        )
    if not chain.segments:  # of a node that runs an earlier release
        table.add_row(
            "0",
            str(chain.program_id),
            chain.program_tag,
            str(chain.verified_instructions),
            str(chain.jited_bytes),
            str(len(chain.map_ids)),
            "",
            _yes(chain.gpl_compatible),
        )
    return table


def _programs(shown: ChainShown, rates: Rates | None) -> Table:
    chain = shown.chain
    counted = {slot.deployment: slot for slot in shown.counters.slots}
    has_times = any(slot.samples for slot in counted.values())
    headings = ["order", "deployment", "revision", "package", "linked", "segment", "instructions"]
    if is_probe(chain.hook):  # it has its hook to itself
        headings = ["deployment", "revision", "package", "instructions"]
    if counted:
        headings += ["packets in", "went on", "verdicts"]
        headings += ["packets/s"] if rates is not None else []
        headings += ["ns"] if has_times else []
    table = _table(*headings)
    for program in chain.programs:
        row = _program_row(program)
        if is_probe(chain.hook):
            row = [*row[1:4], row[-1]]
        slot = counted.get(program.deployment)
        if counted:
            row += _counter_row(slot)
            if rates is not None:
                rate = rates.get((chain.place, chain.hook, program.deployment))
                row.append("" if rate is None else f"{rate:.0f}")
            row += [_mean_ns(slot)] if has_times else []
        table.add_row(*row)
    return table


def program_text(deployment: str, *, restricted: bool) -> str:
    """A place in a chain: whose it is, or that it is in a space that one does not see."""
    return "restricted" if restricted else deployment


def _program_row(program: ObservedProgram) -> list[str]:
    if program.restricted:
        return [str(program.order), program_text("", restricted=True), "", "", "", "", ""]
    return [
        str(program.order),
        program.deployment,
        str(program.revision),
        f"{program.package} {program.version}",
        program.mode,
        str(program.segment),
        str(program.instructions),
    ]


def order_text(order: int, *, has_packages: bool) -> str:
    """A place in a chain, and whose word it is if not the deployment's."""
    return f"{order} (package)" if has_packages else str(order)


def _counter_row(slot: SlotCounters | None) -> list[str]:
    if slot is None:
        return ["", "", ""]
    verdicts = " ".join(f"{name} {packets}" for name, packets in slot.verdicts.items())
    return [str(slot.packets_in), _share(slot), verdicts]


def _share(slot: SlotCounters) -> str:
    return f"{100 * slot.went_on / slot.packets_in:.1f} %" if slot.packets_in else "-"


def _mean_ns(slot: SlotCounters | None) -> str:
    return f"{slot.sampled_ns / slot.samples:.1f}" if slot is not None and slot.samples else ""


def _counter_remarks(shown: ChainShown) -> list[Text]:
    counters = shown.counters
    remarks = []
    if counters.problem:
        remarks.append(Text(f"  not counted: {plain(counters.problem)}", style="yellow"))
    if counters.missed:
        remarks.append(
            Text(
                f"  {counters.missed} packets were dropped because the next segment was missing",
                style="red",
            )
        )
    return remarks


def _per_cpu(shown: ChainShown) -> Table:
    table = _table("processor", "deployment", "packets in", "went on", "verdicts")
    for cpu in shown.counters.cpus:
        for number, slot in enumerate(cpu.slots):
            table.add_row(str(cpu.cpu) if number == 0 else "", slot.deployment, *_counter_row(slot))
    return table


def _metrics(shown: ChainShown) -> Table:
    table = _table("deployment", "metric", "value", "of", "map", "key")
    for metric in shown.metrics:
        for key, value in _metric_values(metric):
            row = (metric.metric, plain(value), metric.aggregation, metric.map, plain(key))
            table.add_row(metric.deployment, *row)
    return table


def _metric_values(metric: MetricValue) -> list[tuple[str, str]]:
    """Key and value of each row; one row with why there is none."""
    if metric.problem:
        return [(metric.key, metric.problem)]
    if metric.series:
        return [(key, _number(value)) for key, value in metric.series.items()]
    if metric.buckets:
        return [(f"<= {one.upper_bound}", _number(one.count)) for one in metric.buckets]
    return [(metric.key, "too early" if metric.value is None else _number(metric.value))]


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, header_style="bold")
    return table


def _yes(statement: bool) -> str:  # noqa: FBT001 because it renders one
    return "yes" if statement else "no"
