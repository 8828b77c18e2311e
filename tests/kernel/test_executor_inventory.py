# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a real executor publishes about its kernel, and the programs it lists."""

from __future__ import annotations

from shared.capability_lookup import program_type
from shared.contracts.ebpf import LIST_EBPF, EbpfListed, ListEbpf
from shared.contracts.node import NODES, NodeRecord
from shared.errors import FaultError
from tests.support.executors import Wire, a_chain, a_program
from tests.support.node_fleets import NODE, Fleet


async def _record(fleet: Fleet) -> NodeRecord:
    async def read() -> NodeRecord | None:
        entry = await fleet.scheduler.bucket(NODES).get(NODE)
        return entry.value if entry else None

    found = await fleet.until(read)
    assert isinstance(found, NodeRecord)
    return found


async def _listed(fleet: Fleet, request: ListEbpf) -> EbpfListed:
    async def ask() -> EbpfListed | None:
        try:
            return await fleet.viewer.request(LIST_EBPF.at(node=NODE), request)
        except FaultError:
            return None

    found = await fleet.until(ask)
    assert isinstance(found, EbpfListed)
    return found


async def test_a_node_registers_with_what_its_kernel_can_do(fleet: Fleet) -> None:
    """In its first record already, and the next start of the same boot does not ask again."""
    first = await _record(fleet)
    fleet.stop()
    fleet.start()
    await _listed(fleet, ListEbpf(limit=1))
    again = await _record(fleet)

    assert first.capabilities is not None
    assert program_type(first.capabilities, "xdp") is not None
    assert again.capabilities == first.capabilities
    assert fleet.log().count("capabilities_probed") == 1
    registered = [one for one in fleet.events if one.data.action == "node.register"]
    (digest,) = {one.data.details["capabilities_sha256"] for one in registered}
    assert len(digest) == 64


async def test_a_viewer_lists_the_programs_of_a_node(fleet: Fleet, wire: Wire) -> None:
    """The chain that runs is among them, attached and managed."""
    observed = await fleet.observed(await fleet.desire(a_chain(wire.name, a_program("one"))))
    program_id = observed.chains[0].program_id

    listed = await _listed(fleet, ListEbpf(after_id=program_id - 1, limit=1))
    foreign = await _listed(fleet, ListEbpf(after_id=program_id - 1, only_unmanaged=True))

    assert [one.id for one in listed.programs] == [program_id]
    assert listed.programs[0].role == f"{wire.name}/xdp current"
    assert listed.programs[0].attachments[0].target == f"{wire.name}/xdp"
    assert listed.managed_total >= 1
    assert program_id not in {one.id for one in foreign.programs}
