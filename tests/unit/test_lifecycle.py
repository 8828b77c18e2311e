# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a process's exit status says, and what leaves a group of tasks."""

from __future__ import annotations

import asyncio

import pytest

from shared.adapters.exception_groups import plain_task_group
from shared.adapters.lifecycle import EXIT_BUG, EXIT_FAULT, EXIT_REFUSED, exit_status
from shared.errors import FaultError, RefusedError


async def fail(error: Exception) -> None:
    """Raise it."""
    raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FaultError("x"), EXIT_FAULT),
        (RefusedError("x"), EXIT_REFUSED),
        (ValueError("x"), EXIT_BUG),
        (ExceptionGroup("", [FaultError("x"), FaultError("y")]), EXIT_FAULT),
        (ExceptionGroup("", [FaultError("x"), ValueError("y")]), EXIT_BUG),
        (ExceptionGroup("", [ExceptionGroup("", [RefusedError("x")])]), EXIT_REFUSED),
    ],
)
def test_status_says_what_kind_of_failure_it_was(error: Exception, status: int) -> None:
    """A bug counts most, wherever in a group it is."""
    assert exit_status(error) == status


async def test_one_error_leaves_a_group_as_itself() -> None:
    """Its cause is kept, and nested groups make no difference."""
    error = RefusedError("no")
    error.__cause__ = ValueError("because")

    with pytest.raises(RefusedError) as raised:
        async with plain_task_group(), plain_task_group() as inner:
            inner.create_task(fail(error))

    assert raised.value is error
    assert isinstance(error.__cause__, ValueError)


async def fail_together(*errors: Exception) -> None:
    """A group whose tasks all fail at once."""
    async with plain_task_group() as tasks:
        for error in errors:
            tasks.create_task(fail(error))


async def test_of_several_faults_the_first_is_raised() -> None:
    """A caller that handles faults handles these."""
    with pytest.raises(FaultError, match="first"):
        await fail_together(FaultError("first"), FaultError("second"))


async def test_bug_beside_a_fault_is_not_hidden() -> None:
    """Several errors of which one is a bug leave together."""
    with pytest.raises(ExceptionGroup):
        await fail_together(FaultError("first"), ValueError("second"))


async def test_error_of_the_block_leaves_as_itself() -> None:
    """And the tasks are gone."""
    working: list[asyncio.Task[bool]] = []

    async def leave() -> None:
        async with plain_task_group() as tasks:
            working.append(tasks.create_task(asyncio.Event().wait()))
            raise KeyError

    with pytest.raises(KeyError):
        await leave()

    assert working[0].cancelled()
