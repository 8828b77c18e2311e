# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of running programs are read through the bus, by who may."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from cli.map import render_map
from shared.adapters.bus import connect
from shared.contracts.map_reading import READ_MAP, ReadMap
from shared.contracts.node import STAGE_CHAINS, StageChains
from shared.errors import RefusedError
from tests.support.configured_package import a_configured_program, configured
from tests.support.executors import Wire, a_chain, a_program
from tests.support.nested_package import CONFIG, TENANT, a_nested_program, nested
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet


async def test_a_chain_is_configured_and_refused_through_the_bus(fleet: Fleet, wire: Wire) -> None:
    """Constants, variables and entries by the signed package's formats; a trial names all paths."""
    package = configured()
    fleet.archives[package.signed.archive_sha256] = package.archive
    program = a_configured_program(
        config={"peers": {"02:00:00:00:00:01": "192.0.2.1"}},
        constants={"limit": 77},
        variables={"threshold": 7},
    )
    await fleet.observed(await fleet.desire(a_chain(wire.name, program)))
    wrong = a_configured_program(
        config={"peers": {"02:00:00:00:00:01": "192.0.2.256"}, "levels": {"9": "LET"}},
        variables={"threshold": "much"},
    )

    shown = {}
    async with connect(fleet.server.credentials("operator", "operator-1")) as bus:
        for name in ("peers", ".rodata", ".data"):
            request = ReadMap(interface=wire.name, hook="xdp", program="one", map=name)
            endpoint = READ_MAP.at(node=NODE)
            reply = await bus.request(endpoint, request, timeout_seconds=DEADLINE_SECONDS)
            shown[name] = {one.key: one.value for one in reply.entries}
    with pytest.raises(RefusedError) as refused:
        await fleet.scheduler.request(
            STAGE_CHAINS.at(node=NODE),
            StageChains(chains=(a_chain(wire.name, wrong),)),
            timeout_seconds=DEADLINE_SECONDS,
        )

    assert shown["peers"] == {"02:00:00:00:00:01": "192.0.2.1"}
    assert (shown[".rodata"]["0"]["limit"], shown[".data"]["0"]["threshold"]) == (77, 7)
    assert [reason.path for reason in refused.value.reasons] == [
        "one.config.levels.9",
        "one.config.peers.02:00:00:00:00:01",
        "one.variables.threshold",
    ]


async def test_operators_read_maps_and_viewers_do_not(fleet: Fleet, wire: Wire) -> None:
    """What is shown is what the kernel has; the refusals name what is there."""
    chain = a_chain(wire.name, a_program("one", config={"limits": {"80": 5}}))
    await fleet.observed(await fleet.desire(chain))
    request = ReadMap(interface=wire.name, hook="xdp", program="one", map="limits")
    endpoint = READ_MAP.at(node=NODE)

    async with connect(fleet.server.credentials("operator", "operator-1")) as bus:
        shown = await bus.request(endpoint, request, timeout_seconds=DEADLINE_SECONDS)
        missing = ReadMap(interface=wire.name, hook="xdp", program="one", map="limit")
        with pytest.raises(RefusedError) as refused:
            await bus.request(endpoint, missing, timeout_seconds=DEADLINE_SECONDS)
    async with connect(fleet.server.credentials("viewer", "viewer-1")) as bus:
        with pytest.raises(RefusedError) as forbidden:
            await bus.request(endpoint, request, timeout_seconds=DEADLINE_SECONDS)

    assert [(one.key, one.value) for one in shown.entries] == [("80", 5)]
    assert "limits" in str(refused.value.reasons[0].allowed)
    assert forbidden.value.refusal_code == "not_permitted"
    text = StringIO()
    Console(file=text, width=120).print(render_map(shown))
    assert "1 of at most 8 entries" in text.getvalue()


async def test_maps_of_maps_go_through_the_bus(fleet: Fleet, wire: Wire) -> None:
    """Signed package, fetched archive, formats of inner entries; all of it and one map of it."""
    package = nested()
    fleet.archives[package.signed.archive_sha256] = package.archive
    program = a_nested_program(config=CONFIG)
    await fleet.observed(await fleet.desire(a_chain(wire.name, program)))
    asked = {"interface": wire.name, "hook": "xdp", "program": "one", "map": "tenants"}

    async with connect(fleet.server.credentials("operator", "operator-1")) as bus:
        endpoint = READ_MAP.at(node=NODE)
        whole = await bus.request(endpoint, ReadMap(**asked), timeout_seconds=DEADLINE_SECONDS)  # type: ignore[arg-type]
        one = await bus.request(
            endpoint,
            ReadMap(**asked, within=TENANT),  # type: ignore[arg-type]
            timeout_seconds=DEADLINE_SECONDS,
        )

    assert {shown.key: shown.value for shown in whole.entries} == CONFIG["tenants"]
    assert {shown.key: shown.value for shown in one.entries} == CONFIG["tenants"][TENANT]
    text = StringIO()
    Console(file=text, width=120).print(render_map(one))
    assert f"tenants within {TENANT} (hash, 2 of at most 4 entries)" in text.getvalue()
