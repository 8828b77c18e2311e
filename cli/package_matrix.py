# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package matrix`: kernels and programs of one version, and what is waited for."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_statements import fact_table
from cli.rollout import SpaceOption
from shared.contracts.verification import (
    GET_MATRIX,
    GetMatrix,
    MatrixNode,
    ProgramVerified,
    VerificationMatrix,
)

_STYLES: Final = {"passed": "green", "released": "green", "failed": "red", "not-demanded": "dim"}
_LOADS: Final = "(loads)"
"""Instead of a test's name: the program was only loaded."""


def matrix(
    name: str,
    version: str = "",
    *,
    space: SpaceOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what the kernels of verifying nodes said of a version.

    Parameters
    ----------
    version
        Left out: the one that was published last.
    """
    wanted = GetMatrix(name=name, version=version, space=space)
    found = console.run(session.ask(GET_MATRIX, wanted, credentials), json=json)
    console.emit(found, render, json=json)


def render(found: VerificationMatrix) -> RenderableType:
    """For people: the gate, a line a node, then a line a test with a column a node."""
    parts: list[RenderableType] = [_gate(found)]
    if found.nodes:
        parts.append(_nodes(found.nodes))
    tried = [node for node in found.nodes if node.results]
    if tried:
        parts.append(_results(tried))
    parts += [
        Text(plain(f"{node.node}: {node.left_out} more results have no room here"))
        for node in tried
        if node.left_out
    ]
    return Group(*parts)


def _gate(found: VerificationMatrix) -> Table:
    awaits = found.gate.awaits if found.gate else ()
    rows: dict[str, str | Text] = {
        "package": f"{found.name} {found.version}",
        "gate": Text(found.state, style=_STYLES.get(found.state, "")),
        "released to": ", ".join(found.channels) or "no channel",
        "waits for": ", ".join(
            f"{channel} ({found.gate.kernels[channel]} kernels)" if found.gate else channel
            for channel in awaits
        ),
        "passed on": ", ".join(f"Linux {kernel}" for kernel in found.kernels),
        "still": "\n".join(found.waits_for),
    }
    return fact_table({label: text for label, text in rows.items() if text})


def _nodes(nodes: tuple[MatrixNode, ...]) -> Table:
    table = Table("node", "kernel", "machine", "verdict", "reported", "why")
    for node in nodes:
        table.add_row(
            plain(node.node),
            plain(node.kernel),
            plain(node.machine),
            Text(node.state, style=_STYLES.get(node.state, "")),
            plain(node.at),
            plain(node.why),
        )
    return table


def _results(nodes: list[MatrixNode]) -> Table:
    table = Table(
        "program", "hook", "test", *(plain(f"{node.node}: Linux {node.kernel}") for node in nodes)
    )
    cells = {
        node.node: {(one.program, one.hook, one.test): one for one in node.results}
        for node in nodes
    }
    rows = dict.fromkeys(key for found in cells.values() for key in found)
    for key in rows:
        program, hook, test = key
        table.add_row(
            plain(program),
            hook,
            plain(test) or _LOADS,
            *(_cell(cells[node.node].get(key)) for node in nodes),
        )
    return table


def _cell(result: ProgramVerified | None) -> Text:
    """The verdict, what the verifier walked, the time of a packet, and what was wrong."""
    if result is None:
        return Text("")
    said = ["passed" if result.has_passed else "failed"]
    if result.verified_instructions:
        said.append(f"{result.verified_instructions} instructions")
    if result.ns_per_packet:
        said.append(f"{result.ns_per_packet} ns")
    text = Text(", ".join(said), style="" if result.has_passed else "red")
    return text.append(plain(f"\n{result.problem}")) if result.problem else text
