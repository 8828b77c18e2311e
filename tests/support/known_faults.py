# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How tables of known faults are written: what is put in, what the earlier daemon does, and we do.

The earlier daemon is l3afd; each of these faults was seen on it, unmodified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def table(faults: Mapping[str, Fault[ShowsT]]) -> pytest.MarkDecorator:
    """A test runs once for each row."""
    return pytest.mark.parametrize("fault", faults.values(), ids=faults.keys())
