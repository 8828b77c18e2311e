# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the environment may say to a process of simulated nodes.

Pure: `shared.config.load_config` fills it from variables that begin with `SIMULATION_`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.config import LogLevel
from shared.contracts.base import Message


class SimulationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process of a fleet."""

    credentials_dir: Path
    """Has a credentials directory for each node of the fleet, by its name."""
    progress_file: Path
    """Says how far it is, as `FleetProgress`."""
    part: Annotated[int, Meta(ge=0)] = 0
    """Which of the fleet's processes this is, from 0."""
    parts: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many there are; each has every so-manieth node."""
    seed: int = 0
    failure_rate: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    """Share of the calls to kernels that fail."""
    latency_ms: Annotated[float, Meta(ge=0, le=10_000)] = 0.0
    """How long a step that blocks takes on average."""
    vanish_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of the nodes that go away once, when SIGUSR1 comes."""
    away_seconds: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """For how long on average."""
    period_seconds: Annotated[float, Meta(ge=1, le=3600)] = 15.0
    """As NODE_EXECUTOR_PERIOD_SECONDS."""
    log_level: LogLevel = "error"


class FleetProgress(Message, frozen=True, kw_only=True):
    """How far a process of simulated nodes is."""

    nodes: int
    registered: int
    vanishing: int = 0
    """That go away when they are told to."""
    away: int = 0
    """That went, whether they are back or not."""
    restarted: int = 0
    """Of these: whose executor started anew meanwhile."""
    returned: int = 0
    """Of these: that are connected again."""
