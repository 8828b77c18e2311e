# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler that dies at any of its writes: the next one finishes what was accepted, once."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from shared.contracts.scheduler import ApplyDeployment, RemoveDeployment
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.mortal_scheduler import Life, dies, give, one_life, until_known
from tests.support.scheduler_neighbours import (
    a_catalog,
    a_test_node,
    until_running,
    until_settled,
)

WRITES_OF_A_COMMAND = 14
"""One at the start; pending, change, event, heads, done, delete; the node's desired record; for
the ending the same as for the command, but no change; and settling the record."""


@pytest.mark.parametrize("removes", [False, True], ids=["apply", "remove"])
@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
async def test_a_command_completes_once_whichever_write_the_scheduler_dies_at(
    buses: Buses, *, lands: bool, removes: bool
) -> None:
    """Killed at each write in turn, from the first of the start to the settling of the record."""
    operator = await buses.open("operator")
    catalog = await buses.open("service-catalog")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a_catalog(catalog, a_package()))
        await stack.enter_async_context(a_test_node(await buses.open("node", "n1")))
        deaths = 0
        for dies_at in range(1, 40):
            name = f"edge-{dies_at}"
            order = dies_at
            if removes:
                async with one_life(buses, Life(dies_at=0, lands=False)) as scheduler:
                    await until_known(operator)
                    await give(operator, ApplyDeployment(spec=a_spec(name, order=order)))
                    await until_running(operator, name)
                    await until_settled(scheduler)
                command: Any = RemoveDeployment(name=name, command_id=f"command-{dies_at}")
            else:
                spec = a_spec(name, order=order)
                command = ApplyDeployment(spec=spec, command_id=f"command-{dies_at}")

            died = await dies(buses, operator, command, Life(dies_at=dies_at, lands=lands))
            deaths += died

            async with one_life(buses, Life(dies_at=0, lands=False)) as scheduler:
                await until_known(operator)
                await give(operator, command)
                status = await until_running(operator, name)
                await until_settled(scheduler)
            assert status.removed is removes
            if not died:
                break

    assert deaths == WRITES_OF_A_COMMAND
    events = await stored_events(await buses.open("service-auditor"))
    steps = [
        (event.data.action, event.data.outcome, event.data.correlation)
        for event in events
        if event.data.correlation.startswith("command-")
    ]
    action = "deployment.remove" if removes else "deployment.apply"
    assert sorted(steps) == sorted(
        step
        for number in range(1, deaths + 2)
        for step in (
            (action, "accepted", f"command-{number}"),
            ("deployment.complete", "succeeded", f"command-{number}"),
        )
    )
    sequences = [event.sequence for event in events if event.emitter == "scheduler"]
    assert sequences == list(range(1, len(sequences) + 1))
