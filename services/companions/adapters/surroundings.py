# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What this machine offers companions, and what it cannot: found before anything is started."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.companions.adapters.accounts import account, held_capabilities
from services.companions.adapters.control_groups import ControlGroups, clear_group
from services.companions.adapters.executables import Executables
from services.companions.adapters.kernel_calls import BpfMaps
from services.companions.adapters.reaping import Reaper
from services.companions.adapters.sandbox import ROOM, Identity, Sandbox
from services.companions.capability_numbers import (
    capability_mask,
    missing_capabilities,
    unknown_capabilities,
)
from services.companions.group_layout import CONTROLLERS, bpf_mounts
from shared.contracts.companions import CompanionSpec, Controller
from shared.errors import FaultError, RefusedError

_MOUNTS: Final = Path("/proc/self/mountinfo")


class CannotRunHereError(RefusedError):
    """This node lacks something that the companion asks for."""


class MapMissingError(FaultError):
    """The kernel has no map of that id, or does not give it."""


class NoUserIdError(FaultError):
    """Every id of the range is taken."""


@dataclass(slots=True)
class Surroundings:
    """The machine, as far as runs need it."""

    groups: ControlGroups
    executables: Executables
    reaper: Reaper
    sockets: Path
    """Folder that only root enters."""
    may_lack: frozenset[str] = frozenset()
    """Limits without which companions run all the same where there is no controller."""
    _maps: BpfMaps | None = field(default=None, init=False)

    def furnish(self) -> None:
        """The folders that runs need are there.

        Raises:
            OSError: One cannot be made.
        """
        Path(ROOM).mkdir(mode=0o755, parents=True, exist_ok=True)
        self.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self.sockets.iterdir():
            left.unlink()

    async def clear_left(self, names: Iterable[str]) -> None:
        """Returns when nothing is left of these groups."""
        for name in names:
            await clear_group(self.groups.group(name))

    @property
    def missing_limits(self) -> tuple[Controller, ...]:
        """Those that nothing here can keep."""
        return tuple(name for name in CONTROLLERS if name not in self.groups.controllers)

    def check(self, spec: CompanionSpec) -> None:
        """Nothing, if the companion can run here as far as the node is concerned.

        Raises:
            CannotRunHereError: Naming all that is missing.
        """
        problems = [
            f"control groups of this node have no {name} controller"
            for name in self.missing_limits
            if name not in self.may_lack
        ]
        unknown = unknown_capabilities(spec.capabilities)
        problems += [f"there is no capability {name}" for name in unknown]
        missing = missing_capabilities(spec.capabilities, held_capabilities())
        problems += [f"the supervisor does not have {name} to pass on" for name in missing]
        if problems:
            raise CannotRunHereError("; ".join(problems))

    def identity(self, spec: CompanionSpec, user_id: int | None) -> Identity:
        """Whom the companion runs as.

        Raises:
            RefusedError: As that one it may not run.
            FaultError: There is nobody to run it as.
        """
        capabilities = capability_mask(spec.capabilities)
        if spec.user:
            return account(spec.user, capabilities=capabilities)
        if user_id is None:
            raise NoUserIdError("every user id of COMPANIONS_USER_IDS is taken")
        return Identity(user_id, (user_id,), capabilities)

    def problem(self, spec: CompanionSpec, user_ids: Collection[int]) -> str:
        """Why it cannot run here, as far as one sees without starting it; empty: it can."""
        try:
            self.check(spec)
            self.identity(spec, next(iter(user_ids), None))
            for command in (spec.start, spec.stop, spec.update):
                if command is not None:
                    self.executables.copy(command)
        except (RefusedError, FaultError) as error:
            return error.message
        return ""

    def sandbox(
        self,
        spec: CompanionSpec,
        identity: Identity,
        *,
        doors: tuple[Path, ...],
        streams: tuple[int, int, int],
        report: int,
        held: ExitStack,
    ) -> Sandbox:
        """What a process has to know to become this companion.

        `held` closes the maps' descriptors.

        Raises:
            MapMissingError: A map is not there.
        """
        maps, pinning = self.open_maps(spec, held)
        return Sandbox(
            identity=identity,
            doors=tuple(map(str, doors)),
            open_files=spec.limits.open_files,
            streams=streams,
            report=report,
            maps=maps,
            pinning=pinning,
            hidden=bpf_mounts(_MOUNTS.read_text()),
        )

    def open_maps(
        self, spec: CompanionSpec, held: ExitStack
    ) -> tuple[tuple[tuple[str, int], ...], BpfMaps | None]:
        """The maps by name, with what pins them; None: there are none.

        Args:
            spec: Names the maps.
            held: Closes them.

        Raises:
            MapMissingError: One is not there.
        """
        if not spec.maps:
            return (), None
        opened = []
        try:
            if self._maps is None:
                self._maps = BpfMaps()
            for name, number in sorted(spec.maps.items()):
                descriptor = self._maps.open(number)
                held.callback(os.close, descriptor)
                opened.append((name, descriptor))
        except OSError as error:
            raise MapMissingError(f"maps of the companion: {error.strerror or error}") from error
        return tuple(opened), self._maps
