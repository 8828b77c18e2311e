# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who runs a package, and what a revocation would do, asked of a running scheduler."""

from __future__ import annotations

import asyncio

from shared.contracts.usage import (
    FIND_IMPACT,
    FIND_USERS,
    GET_USAGE,
    FindImpact,
    FindUsers,
    GetUsage,
)
from tests.fleets import a_package, a_spec
from tests.support.scheduler_neighbours import WAIT_SECONDS, a_catalog, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

OLD, NEW = a_package(version="1.0.0"), a_package(version="1.1.0")


async def test_the_scheduler_says_who_runs_what_and_what_would_replace_it(system: System) -> None:
    """A version does not replace itself, and the catalog hears numbers alone."""
    catalog = await system.buses.open("service-catalog")
    await system.stack.enter_async_context(a_catalog(catalog, OLD, NEW))
    await system.node("n1", "eth0")
    await system.apply(a_spec(version="*", on_revoked="replace:*"))
    await until_running(system.operator, "edge")

    users = await system.operator.request(FIND_USERS, FindUsers(name="rate-limit"))
    impact = await system.operator.request(
        FIND_IMPACT, FindImpact(name="rate-limit", version="1.1.0")
    )
    async with asyncio.timeout(WAIT_SECONDS):
        usage = await catalog.request(GET_USAGE, GetUsage())

    assert [(one.node, one.running, one.told) for one in users.places] == [("n1", "1.1.0", "1.1.0")]
    (one,) = impact.deployments
    assert (one.does, one.replacement, one.nodes) == ("replace", "1.0.0", ("n1",))
    assert [(one.package, one.version, one.nodes) for one in usage.uses] == [
        ("rate-limit", "1.1.0", 1)
    ]
