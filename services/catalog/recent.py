# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What was used last, as much of it as has room.

Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

ValueT = TypeVar("ValueT")


class Recent(Generic[ValueT]):
    """Values by key, each with a weight; what was used longest ago makes room.

    What was put in last is there, whatever it weighs.
    """

    def __init__(self, limit: int) -> None:
        """Empty.

        Args:
            limit: What all weigh together at most.
        """
        self._limit: Final = limit
        self._kept: Final[OrderedDict[str, tuple[ValueT, int]]] = OrderedDict()
        self._weight = 0

    def __contains__(self, key: str) -> bool:
        """Whether it is there; that is no use of it."""
        return key in self._kept

    def get(self, key: str) -> ValueT | None:
        """The value, which is used by that; None: it is not there."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: str, value: ValueT, *, weight: int) -> None:
        """The value is there, instead of one that was."""
        self.drop(key)
        self._kept[key] = (value, weight)
        self._weight += weight
        while self._weight > self._limit and len(self._kept) > 1:
            _, (_, lighter) = self._kept.popitem(last=False)
            self._weight -= lighter

    def drop(self, key: str) -> None:
        """It is not there."""
        found = self._kept.pop(key, None)
        if found is not None:
            self._weight -= found[1]
