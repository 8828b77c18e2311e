# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who sees a deployment, what they are told of others beside it, and to whom events go.

Pure.

Rules:
 * A deployment is seen by the members of its space, and by everybody once that is open.  A space
   that is not known is open to nobody.
 * What is said of a command may be read by all who see the command's space, so it speaks of nothing
   that not all of these see; what is said to a caller, of nothing that the caller does not see.
 * What is not seen is not named.  That something is there cannot be hidden: it takes a place on a
   hook point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Final

import msgspec

from shared.contracts.desired import DesiredChain
from shared.contracts.errors import ErrorCode
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.node import ObservedChain
from shared.deployment_keys import space_of
from shared.errors import Reason, RefusedError
from shared.redaction import redacted_chain
from shared.visibility import Spaces, is_open

UNSEEN: Final = "a restricted deployment"


class UnknownSpaceError(RefusedError):
    """There is no such space, or the caller does not see it: that is one answer."""

    code: ClassVar[ErrorCode] = "not_found"

    def __init__(self) -> None:
        """The name is not repeated: who is told of the refusal may be others."""
        reason = Reason(path="spec.space", rule="there is no such space")
        super().__init__("there is no such space", [reason])


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody sees."""

    spaces: frozenset[Audience] = frozenset({PUBLIC})
    is_whole: bool = False
    """Whether it is everything, as the scheduler itself has it."""

    def sees(self, space: Audience) -> bool:
        """Whether what is in the space is seen."""
        return self.is_whole or space in self.spaces

    def sees_deployment(self, key: str) -> bool:
        """Whether the deployment is seen."""
        return self.sees(space_of(key))

    def named(self, key: str) -> str:
        """The deployment's key, if it is seen."""
        return key if self.sees_deployment(key) else UNSEEN

    def listed(self, keys: Iterable[str]) -> list[str]:
        """The deployments, those that are seen by their keys."""
        return sorted({self.named(key) for key in keys})

    def sees_chain(self, seen: ObservedChain | None, desired: DesiredChain | None) -> bool:
        """Whether all of a hook point is seen: what shall be there, and what was read back."""
        if desired is not None and not self.sees(desired.audience):
            return False
        return all(self.sees_deployment(one.deployment) for one in (seen.programs if seen else ()))

    def chain(self, seen: ObservedChain, desired: DesiredChain | None) -> ObservedChain:
        """What was read back of a hook point, as far as it is seen."""
        if not self.sees_chain(seen, desired):
            return redacted_chain(seen, self.sees)
        if seen.cause is None or self.sees(seen.cause.audience):
            return seen
        return msgspec.structs.replace(seen, cause=None)


EVERYTHING: Final = Sight(is_whole=True)
EVERYBODYS: Final = Sight()
"""What everybody sees."""


@dataclass(frozen=True, slots=True)
class Audiences:
    """Which spaces are open at one moment, and who sees the others."""

    opened: frozenset[Audience] = frozenset({PUBLIC})
    members: Mapping[Audience, tuple[str, ...]] = field(default_factory=dict)
    """Of those that are not."""

    def of(self, space: Audience) -> Audience:
        """To whom it is told what happens to a deployment of this space."""
        return PUBLIC if space in self.opened else space

    def seen_in(self, space: Audience) -> Sight:
        """What all see who see this space."""
        return Sight(self.opened | {space})

    def seen_by(self, name: str) -> Sight:
        """What the principal of that name sees."""
        own = {space for space, members in self.members.items() if name in members}
        return Sight(self.opened | own)


def audiences_at(spaces: Spaces, *, now: datetime) -> Audiences:
    """What is so at a moment."""
    opened = {audience for audience in spaces if is_open(audience, spaces, now=now)}
    return Audiences(
        opened=frozenset(opened | {PUBLIC}),
        members={key: one.members for key, one in spaces.items() if key not in opened},
    )
