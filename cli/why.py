# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af why`: which deployments and rules made the chains of an interface what they are."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from cli.chain_places import HookOption
from cli.chain_view import program_text
from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, run
from cli.node_overlay_view import setting_line
from cli.session import connected
from shared.contracts.chain_reasons import (
    WHY_CHAINS,
    ChainReasons,
    HookReasons,
    ProgramReasons,
    WhyChains,
)
from shared.identifiers import split_place
from shared.validation import convert_document


def why(
    node: NodeArgument,
    interface: str,
    /,
    *,
    hook: HookOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Which deployments and rules made the chains of an interface what they are.

    Parameters
    ----------
    interface
        Its name; in a named network namespace NETNS/INTERFACE.
    """

    async def asked() -> ChainReasons:
        name, netns = split_place(interface)
        fields = {"node": node, "interface": name, "netns": netns, "hook": hook}
        request = convert_document(fields, WhyChains, what="why")
        async with connected(credentials) as bus:
            return await bus.request(WHY_CHAINS, request)

    emit(run(asked(), json=json), render_reasons, json=json)


def render_reasons(found: ChainReasons) -> RenderableType:
    """A block for each chain, a line for each deployment that is in none."""
    parts: list[RenderableType] = []
    for one in found.hooks:
        parts.append(Text(f"{found.node} {found.place}/{one.hook}", style="bold"))
        parts += [Text(line) for program in one.programs for line in _program_lines(program)]
        parts += [Text(f"  {line}", style="dim") for line in _link_lines(one)]
    if not parts:
        parts.append(Text(f"{found.node} {found.place}: no deployment is here"))
    parts += [
        Text(f"not here: {one.deployment} ({one.hook}): {plain(one.why)}", style="dim")
        for one in found.absent
    ]
    return Group(*parts)


def _program_lines(program: ProgramReasons) -> Iterator[str]:
    name = program_text(program.deployment, restricted=program.restricted)
    if program.restricted:
        yield f"  {program.order} {name}"
        return
    archive = program.archive_sha256[:16]
    yield (
        f"  {program.order} {name} revision {program.revision}: "
        f"{program.package} {program.version}, archive {archive}"
    )
    said = {
        "place": "; ".join(program.place),
        "rollout": program.rollout,
        "node": "; ".join(program.node) or "every node is meant",
        "interface": program.interface,
        "by": " ".join(part for part in (program.by, program.at) if part),
        "because": program.reason,
        "owner": program.owner,
        "until": program.expiry,
    }
    yield from (f"     {word:<10} {plain(text)}" for word, text in said.items() if text)
    for one in program.settings:
        yield f"     {'set':<10} {plain(setting_line(one))}"


def _link_lines(found: HookReasons) -> Iterator[str]:
    for one in found.link_reasons:
        value = getattr(found.link, one.option)
        yield f"link.{one.option} = {value}: {', '.join(one.deployments)}"
