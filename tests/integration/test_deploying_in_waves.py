# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af deploy` of what reaches its nodes in waves: how it is seen through, and how it ends."""

from __future__ import annotations

from pathlib import Path

from shared.errors import Refusal
from tests.fleets import a_spec
from tests.integration.conftest import Buses
from tests.support.command_line import run_l3af
from tests.support.scheduler_neighbours import until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

REFUSED = Refusal(code="verifier_rejected", message="the verifier refused limiter")
DOCUMENT = """\
name = "edge"
package = "rate-limit"
version = "{version}"
hook = "xdp"
interfaces = ["eth0"]
[rollout]
strategy = "canary"
gate = "{gate}"
"""


def _document(folder: Path, version: str, gate: str = "automatic") -> str:
    file = folder / "edge.toml"
    file.write_text(DOCUMENT.format(version=version, gate=gate))
    return str(file)


async def test_a_rollout_is_seen_through_to_its_end(
    system: System, buses: Buses, tmp_path: Path
) -> None:
    """Status 0 of what goes well, 2 of what went back, 3 of what waits for people; with reasons."""
    await system.catalog()
    nodes = [await system.node(name) for name in ("n1", "n2", "n3")]
    await system.apply(a_spec(version="1.0.0"))
    await until_running(system.operator, "edge")
    who = buses.server.credentials("operator", "somebody")

    good = await run_l3af("deploy", _document(tmp_path, "1.1.0"), credentials=who)
    assert (good.status, "edge revision 2 runs" in good.output) == (0, True), good
    assert "edge revision 2: complete" in good.message

    nodes[0].refusal, nodes[0].refused_version = REFUSED, "1.0.0"
    bad = await run_l3af("deploy", _document(tmp_path, "1.0.0"), "--json", credentials=who)
    assert bad.status == 2
    assert "edge revision 3 was rolled-back, revision 2 is back: refused on n1" in bad.message
    assert '"path":"nodes.n1.eth0"' in bad.message

    nodes[0].refusal = None
    file = _document(tmp_path, "1.0.0", "manual")
    waits = await run_l3af("deploy", file, "--timeout", "8", credentials=who)
    assert waits.status == 3
    assert "waiting, wave 2 of 2: it waits for an operator" in waits.message
    seen = await run_l3af("status", "edge", "--watch", "--looks", "1", credentials=who)
    lines = [line.split()[:4] for line in seen.output.splitlines()]
    assert ["1", "1", "1", "1"] in lines, seen
    assert ["2", "2", "0", "waiting"] in lines, seen
