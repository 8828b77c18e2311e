# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel's switch for short waits: on for one change, and never left on."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.node_executor.adapters.grace_periods import ExpeditedGracePeriods


def a_switch(folder: Path, value: str) -> Path:
    """A file in place of the kernel's."""
    switch = folder / "switch"
    switch.write_text(value)
    return switch


def test_is_on_within_the_block_and_off_after_a_failure(tmp_path: Path) -> None:
    """The switch goes back to off even if the change fails."""
    switch = a_switch(tmp_path, "0\n")
    short_waits = ExpeditedGracePeriods(tmp_path / "marker", switch=switch)

    def fail() -> None:
        with short_waits():
            assert switch.read_text() == "1"
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()

    assert switch.read_text() == "0"
    assert not (tmp_path / "marker").exists()


def test_stays_on_where_somebody_else_turned_it_on(tmp_path: Path) -> None:
    """An operator's choice is not undone."""
    switch = a_switch(tmp_path, "1\n")

    with ExpeditedGracePeriods(tmp_path / "marker", switch=switch)():
        pass

    assert switch.read_text() == "1\n"


def test_is_not_touched_if_not_allowed(tmp_path: Path) -> None:
    """A node whose tasks bear no interrupt keeps its long waits."""
    switch = a_switch(tmp_path, "0\n")

    with ExpeditedGracePeriods(tmp_path / "marker", is_allowed=False, switch=switch)():
        assert switch.read_text() == "0\n"


def test_a_killed_process_leaves_it_on_only_until_the_next_start(tmp_path: Path) -> None:
    """The marker tells the next start that the switch is its own."""
    switch = a_switch(tmp_path, "1\n")
    (tmp_path / "marker").touch()

    ExpeditedGracePeriods(tmp_path / "marker", switch=switch)

    assert switch.read_text() == "0"
    assert not (tmp_path / "marker").exists()


def test_a_switch_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    """A container without the kernel's file just waits longer."""
    with ExpeditedGracePeriods(tmp_path / "marker", switch=tmp_path / "none")():
        pass

    assert not (tmp_path / "marker").exists()
