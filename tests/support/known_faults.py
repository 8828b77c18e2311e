# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How tables of known faults are written: what is put in, what the earlier daemon does, and we do.

The earlier daemon is l3afd; each of these faults was seen on it, unmodified.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

ShowsT = TypeVar("ShowsT", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Fault(Generic[ShowsT]):
    """One row."""

    given: str
    """The input."""
    l3afd: str
    """What the earlier daemon does with it."""
    here: str
    """What is done here."""
    shows: ShowsT
    """Does it on a real kernel and asserts what is done here."""


def xdp_program(interface: str, *, within: Sequence[str] = ()) -> int:
    """The program that `ip` sees on the interface; 0: none.

    Args:
        interface: Its name.
        within: Words that run a command where the interface is.
    """
    words = [*within, "ip", "-json", "link", "show", "dev", interface]
    shown = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    program_id: int = shown[0].get("xdp", {}).get("prog", {}).get("id", 0)
    return program_id


def table(faults: Mapping[str, Fault[ShowsT]]) -> pytest.MarkDecorator:
    """A test runs once for each row."""
    return pytest.mark.parametrize("fault", faults.values(), ids=faults.keys())
