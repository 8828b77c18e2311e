# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Equal facts of many records become one object: thousands of nodes have few kernels and packages.

What is read of each node's record is a copy of what other records say as well.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from shared.contracts.capabilities import Capabilities
from shared.contracts.catalog import SignedPackage
from shared.contracts.desired import Cause, DesiredNode, DesiredProgram
from shared.contracts.interfaces import Interface
from shared.contracts.node import NodeRecord, ObservedNode, ObservedProgram

KEPT: Final = 4096
"""Of each kind; when there are more, it begins anew."""

ValueT = TypeVar("ValueT")


class _Known(Generic[ValueT]):
    """Values that can be compared by their hash."""

    def __init__(self) -> None:
        self._values: Final[dict[ValueT, ValueT]] = {}

    def one(self, value: ValueT) -> ValueT:
        """The equal value that was seen first."""
        if len(self._values) >= KEPT:
            self._values.clear()
        return self._values.setdefault(value, value)


class SharedFacts:
    """Of one process."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._capabilities: Final[_Known[Capabilities]] = _Known()
        self._interfaces: Final[_Known[tuple[Interface, ...]]] = _Known()
        self._causes: Final[_Known[Cause]] = _Known()
        self._packages: Final[_Known[SignedPackage]] = _Known()
        self._observed: Final[_Known[ObservedProgram]] = _Known()
        self._programs: Final[dict[bytes, DesiredProgram]] = {}
        """By what they are written as: they hold what has no hash."""

    def node(self, record: NodeRecord) -> NodeRecord:
        """The same record."""
        found = record.capabilities
        return msgspec.structs.replace(
            record,
            capabilities=None if found is None else self._capabilities.one(found),
            interfaces=self._interfaces.one(record.interfaces),
        )

    def desired(self, record: DesiredNode) -> DesiredNode:
        """The same record."""
        chains = tuple(
            msgspec.structs.replace(
                chain,
                programs=tuple(map(self._program, chain.programs)),
                cause=self._causes.one(chain.cause),
            )
            for chain in record.chains
        )
        return msgspec.structs.replace(record, chains=chains)

    def observed(self, record: ObservedNode) -> ObservedNode:
        """The same record."""
        chains = tuple(
            msgspec.structs.replace(
                chain,
                programs=tuple(map(self._observed.one, chain.programs)),
                cause=None if chain.cause is None else self._causes.one(chain.cause),
            )
            for chain in record.chains
        )
        return msgspec.structs.replace(record, chains=chains)

    def _program(self, program: DesiredProgram) -> DesiredProgram:
        written = msgspec.json.encode(program)
        known = self._programs.get(written)
        if known is None:
            if len(self._programs) >= KEPT:
                self._programs.clear()
            signed = self._packages.one(program.signed)
            known = self._programs[written] = msgspec.structs.replace(program, signed=signed)
        return known
