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
from shared.contracts.desired import DesiredChain, DesiredNode, DesiredProgram
from shared.contracts.interfaces import Interface
from shared.contracts.node import NodeRecord

KEPT: Final = 4096
"""Of each kind; when there are more, it begins anew."""

ValueT = TypeVar("ValueT")


class _Known(Generic[ValueT]):
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
        self._packages: Final[_Known[SignedPackage]] = _Known()

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
        return msgspec.structs.replace(record, chains=tuple(map(self._chain, record.chains)))

    def _chain(self, chain: DesiredChain) -> DesiredChain:
        return msgspec.structs.replace(chain, programs=tuple(map(self._program, chain.programs)))

    def _program(self, program: DesiredProgram) -> DesiredProgram:
        return msgspec.structs.replace(program, signed=self._packages.one(program.signed))
